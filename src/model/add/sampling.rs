//! Encoders that draw random numbers, and where in their graph the mean of what they draw is.
//!
//! Invariant: a value is taken for the mean only if noise of mean zero is added to it, and nothing but constants
//! is done to the sum; whatever can't be followed is refused.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::error::{Error, Result};
use crate::model::onnx::foreign::Contents;
use crate::model::onnx::proto::{Model, Node};
use crate::model::onnx::shown;

/// Operators that give something else each time. `Dropout` may, which a trial shows.
const RANDOM: [&str; 6] = [
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
];

/// How chance goes through a graph.
pub(super) struct Flow<'a> {
    /// The first random operator, if there is one.
    random: Option<&'a str>,
    /// Values that depend on a random number.
    tainted: HashSet<&'a str>,
    /// Values that depend on the graph's input.
    live: HashSet<&'a str>,
    /// What computes a value.
    producers: HashMap<&'a str, &'a Node>,
}

/// The value inside a graph that a sample was drawn around.
#[derive(Debug, PartialEq)]
pub(super) struct Mean {
    pub(super) value: String,
    /// Whether the sample was scaled or shifted by constants afterwards, which the mean isn't.
    pub(super) scaled_later: bool,
}

fn is_random(node: &Node) -> bool {
    let standard = matches!(node.domain.as_str(), "" | "ai.onnx" | "com.microsoft");
    standard && RANDOM.contains(&node.op_type.as_str())
}

impl<'a> Flow<'a> {
    /// Of the graph of `model`, whose one input is `input`.
    pub(super) fn of(model: &'a Model, input: &'a str) -> Self {
        let in_functions = Contents::of_functions(model);
        let random_function = in_functions.nodes.iter().find(|node| is_random(node));
        let functions: HashSet<(&str, &str)> = model
            .functions
            .iter()
            .map(|function| (function.domain.as_str(), function.name.as_str()))
            .collect();
        let mut random = None;
        let mut consumers: HashMap<&str, Vec<&Node>> = HashMap::new();
        let mut producers = HashMap::new();
        let mut sources = Vec::new();
        for node in model.graph.iter().flat_map(|graph| &graph.nodes) {
            let inside = Contents::of_node(node).nodes;
            let mut draws = inside.iter().find(|node| is_random(node)).copied();
            // Which function calls which is not followed: if one draws, a call of any may.
            let calls =
                |node: &&Node| functions.contains(&(node.domain.as_str(), node.op_type.as_str()));
            if draws.is_none() && inside.iter().any(calls) {
                draws = random_function.copied();
            }
            if let Some(draws) = draws {
                random = random.or(Some(draws.op_type.as_str()));
                sources.extend(node.outputs.iter().map(String::as_str));
            }
            // A subgraph sees the values around it without naming them as inputs.
            for used in inside.iter().flat_map(|node| &node.inputs) {
                consumers.entry(used).or_default().push(node);
            }
            for output in &node.outputs {
                producers.insert(output.as_str(), node);
            }
        }
        Self {
            random,
            tainted: reached(sources, &consumers),
            live: reached(vec![input], &consumers),
            producers,
        }
    }

    /// The random operator, if the graph has one.
    pub(super) fn random(&self) -> Option<&'a str> {
        self.random
    }

    /// Whether `value` is something else each time.
    pub(super) fn is_tainted(&self, value: &str) -> bool {
        self.tainted.contains(value)
    }

    /// The mean of the samples in `output`.
    ///
    /// # Errors
    /// `InvalidInput` with the reason why it can't be told.
    pub(super) fn mean_of(&self, output: &str) -> Result<Mean> {
        let mut value = output;
        let mut scaled_later = false;
        // Each step goes to another node, unless the graph runs in a circle.
        for _ in 0..=self.producers.len() {
            let Some(node) = self.producers.get(value) else {
                return Err(lost("a value that nothing computes"));
            };
            if !is_standard(node) {
                return Err(lost(&node.op_type));
            }
            match (node.op_type.as_str(), &node.inputs[..]) {
                ("Cast" | "Identity", [from]) => value = from,
                ("Add" | "Sub" | "Mul" | "Div", [a, b]) => {
                    let chance = [a, b].map(|input| self.tainted.contains(input.as_str()));
                    let (drawn, other) = match chance {
                        [true, false] => (a, b),
                        [false, true] => (b, a),
                        _ => return Err(lost(&node.op_type)),
                    };
                    let turned = drawn == b && matches!(node.op_type.as_str(), "Sub" | "Div");
                    if !self.live.contains(other.as_str()) && !turned {
                        scaled_later = true;
                        value = drawn;
                        continue;
                    }
                    // In a difference, the noise is what is subtracted.
                    let adds = node.op_type == "Add" || node.op_type == "Sub" && drawn == b;
                    if adds && self.live.contains(other.as_str()) && self.is_centred_noise(drawn) {
                        return Ok(Mean {
                            value: other.clone(),
                            scaled_later,
                        });
                    }
                    return Err(lost(&node.op_type));
                }
                _ => return Err(lost(&node.op_type)),
            }
        }
        Err(lost("a circle"))
    }

    /// Whether `value` is normal noise around zero, times what doesn't depend on chance.
    fn is_centred_noise(&self, value: &str) -> bool {
        let mut value = value;
        for _ in 0..=self.producers.len() {
            let Some(node) = self.producers.get(value).filter(|node| is_standard(node)) else {
                return false;
            };
            let chance = |input: &String| self.tainted.contains(input.as_str());
            match (node.op_type.as_str(), &node.inputs[..]) {
                ("RandomNormal" | "RandomNormalLike", _) => {
                    let mean = node.attributes.iter().find(|one| one.name == "mean");
                    return mean.and_then(|mean| mean.float).unwrap_or(0.0) == 0.0;
                }
                ("Cast" | "Identity" | "Neg", [from]) => value = from,
                ("Mul" | "Div", [a, b]) if chance(a) && !chance(b) => value = a,
                ("Mul", [a, b]) if chance(b) && !chance(a) => value = b,
                _ => return false,
            }
        }
        false
    }
}

fn is_standard(node: &Node) -> bool {
    matches!(node.domain.as_str(), "" | "ai.onnx")
}

/// What can be reached from `sources` along the graph.
fn reached<'a>(
    sources: Vec<&'a str>,
    consumers: &HashMap<&'a str, Vec<&'a Node>>,
) -> HashSet<&'a str> {
    let mut found: HashSet<&str> = sources.iter().copied().collect();
    let mut next: VecDeque<&str> = sources.into();
    while let Some(value) = next.pop_front() {
        let outputs = consumers.get(value).into_iter().flatten();
        for output in outputs.flat_map(|node| &node.outputs) {
            if found.insert(output) {
                next.push_back(output);
            }
        }
    }
    found
}

fn lost(at: &str) -> Error {
    Error::invalid(format!(
        "where its mean is can't be followed beyond {}",
        shown(at)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::proto::{Attribute, Graph};

    fn node(op_type: &str, inputs: &[&str], output: &str) -> Node {
        Node {
            op_type: op_type.into(),
            inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
            outputs: vec![output.into()],
            ..Node::default()
        }
    }

    /// The mean of `out`, where noise is `noise`, pictures are `x`, and `mean` and `std` are made of them.
    fn mean(nodes: &[Node]) -> Result<Mean> {
        let mut all = vec![
            node("Conv", &["x"], "mean"),
            node("Exp", &["mean"], "std"),
            node("RandomNormalLike", &["mean"], "noise"),
        ];
        all.extend_from_slice(nodes);
        let model = Model {
            graph: Some(Graph {
                nodes: all,
                ..Graph::default()
            }),
            ..Model::default()
        };
        Flow::of(&model, "x").mean_of("out")
    }

    #[test]
    fn noise_is_followed_through_what_keeps_it_centred() {
        let plain = [
            node("Mul", &["std", "noise"], "z"),
            node("Add", &["mean", "z"], "out"),
        ];
        let found = mean(&plain).unwrap();
        assert_eq!((found.value.as_str(), found.scaled_later), ("mean", false));
        let long = [
            node("Cast", &["noise"], "a"),
            node("Neg", &["a"], "b"),
            node("Div", &["b", "std"], "c"),
            node("Identity", &["c"], "d"),
            node("Sub", &["mean", "d"], "e"),
            node("Cast", &["e"], "f"),
            node("Constant", &[], "k"),
            node("Sub", &["f", "k"], "g"),
            node("Mul", &["k", "g"], "out"),
        ];
        let found = mean(&long).unwrap();
        assert_eq!((found.value.as_str(), found.scaled_later), ("mean", true));
    }

    #[test]
    fn what_is_no_mean_is_not_taken_for_one() {
        let mut shifted = node("RandomNormal", &[], "other");
        shifted.attributes.push(Attribute {
            name: "mean".into(),
            float: Some(1.0),
            ..Attribute::default()
        });
        let add = |a: &str, b: &str| node("Add", &[a, b], "out");
        for nodes in [
            vec![shifted, add("mean", "other")],
            vec![node("Exp", &["noise"], "z"), add("mean", "z")],
            vec![node("Mul", &["noise", "noise"], "z"), add("mean", "z")],
            vec![add("noise", "noise")],
            vec![node("Sub", &["noise", "mean"], "out")],
            vec![node("Mul", &["mean", "noise"], "out")],
            vec![node("Div", &["mean", "noise"], "out")],
            vec![node("Constant", &[], "k"), add("k", "noise")],
            vec![add("mean", "noise"), node("Add", &["out", "mean"], "out")],
            vec![node("Identity", &["noise", "out"], "out")],
            vec![
                node("Add", &["out", "k"], "z"),
                node("Add", &["z", "noise"], "out"),
            ],
        ] {
            assert!(mean(&nodes).is_err(), "{nodes:?}");
        }
    }
}
