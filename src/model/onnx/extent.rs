//! What running a graph takes in memory, and how far its result looks, read off its nodes.
//!
//! Invariant: tensors are counted from the node that makes them to the last one that reads them, as an allocator
//! without a plan does.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::{LATENT, PIXELS};
use super::proto::{Attribute, Node, element};
use super::unet::{NOISY, OUTPUT};

/// A tensor for an image of one pixel, if there were such.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Values for each pixel of the image.
    pub(super) values: f64,
    /// Pixels that one of its places covers along a side.
    pub(super) step: u64,
    /// Bytes of a value.
    bytes: f64,
    /// Pixels beyond a place that its values depend on; `None` for all of them.
    reach: Option<u64>,
}

impl Extent {
    fn size(&self) -> f64 {
        self.values * self.bytes
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct Needs {
    /// Bytes for each pixel at the worst moment.
    pub(in crate::model) bytes_per_pixel: u64,
    /// Pixels beyond a place that the result depends on there; `None` for the whole image.
    pub(in crate::model) reach: Option<u32>,
}

/// What is taken at the peak against the tensors that must be there then: convolutions work on copies, and freed memory has
/// gaps. Measured 1.24 to 1.49, and mostly below this (docs/tiles.md); with more, Stable Diffusion at 1024x1024 would no
/// longer fit the default of `--memory`, which it does.
const HEADROOM: f64 = 1.4;

/// Operators that write their result over an input of the same size that nobody else reads.
const IN_PLACE: [&str; 8] = [
    "Add", "Sub", "Mul", "Relu", "Sigmoid", "Tanh", "Clip", "Round",
];

/// Operators whose result is their input under another name.
const VIEWS: [&str; 3] = ["Reshape", "Unsqueeze", "Identity"];

/// Reads the needs off `nodes`. `known` are the values and the step of what can't be read off them: results of
/// convolutions and of resampling, and the latent; a value is `bytes` long where nothing else is said.
pub(super) fn needs(nodes: &[Node], known: &BTreeMap<String, (f64, u64)>, bytes: f64) -> Needs {
    let owners = owners(nodes);
    let owner = |name: &'_ str| owners.get(name).copied();
    let mut last_read: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        for input in inputs(node) {
            last_read.insert(owner(input).unwrap_or(input), at);
        }
    }
    let input = |(values, step), bytes| Extent {
        values,
        step,
        bytes,
        reach: Some(0),
    };
    let latent = known.get(LATENT).copied().unwrap_or((0.0, 1));
    let mut extents = BTreeMap::from([
        (PIXELS, input((3.0, 1), 1.0)),
        (LATENT, input(latent, 2.0)),
        (NOISY, input((3.0, 1), 4.0)),
    ]);
    let (mut live, mut most): (BTreeSet<&str>, f64) = (BTreeSet::new(), 0.0);
    let mut reach = Some(0);
    for (at, node) in nodes.iter().enumerate() {
        let Some(output) = node.outputs.first() else {
            continue;
        };
        let made = result(node, &extents, known.get(output), bytes);
        let size = |name: &str| extents.get(name).map_or(0.0, Extent::size);
        if owner(output).is_none() {
            let before: f64 = live.iter().map(|name| size(name)).sum();
            let is_free = |name: &str| live.contains(name) && last_read.get(name) == Some(&at);
            let overwrites = IN_PLACE.contains(&&*node.op_type)
                && inputs(node)
                    .map(|name| owner(name).unwrap_or(name))
                    .any(|name| is_free(name) && size(name) >= made.size());
            most = most.max(before + if overwrites { 0.0 } else { made.size() });
            live.insert(output);
        }
        extents.insert(output, made);
        live.retain(|name| last_read.get(name).is_some_and(|last| *last > at));
        if [PIXELS, LATENT, OUTPUT].contains(&output.as_str()) {
            reach = made.reach;
        }
    }
    Needs {
        bytes_per_pixel: (HEADROOM * most).ceil() as u64,
        reach: reach.and_then(|reach| u32::try_from(reach).ok()),
    }
}

/// The tensors in whose memory the views among the results of `nodes` lie.
fn owners(nodes: &[Node]) -> BTreeMap<&str, &str> {
    let mut owners = BTreeMap::new();
    for node in nodes.iter().filter(|node| VIEWS.contains(&&*node.op_type)) {
        if let (Some(output), Some(input)) = (node.outputs.first(), node.inputs.first()) {
            let of = owners
                .get(input.as_str())
                .copied()
                .unwrap_or(input.as_str());
            owners.insert(output.as_str(), of);
        }
    }
    owners
}

/// What a node reads, also in a body of its own.
fn inputs(node: &Node) -> impl Iterator<Item = &str> {
    let bodies = node.attributes.iter().filter_map(|a| a.graph.as_ref());
    let inside = bodies.flat_map(|body| body.nodes.iter().flat_map(|node| &node.inputs));
    node.inputs.iter().chain(inside).map(String::as_str)
}

/// What comes out of `node`.
fn result(
    node: &Node,
    extents: &BTreeMap<&str, Extent>,
    known: Option<&(f64, u64)>,
    bytes: f64,
) -> Extent {
    let inputs: Vec<Extent> = inputs(node)
        .filter_map(|input| extents.get(input).copied())
        .collect();
    let nothing = Extent {
        values: 0.0,
        step: 1,
        bytes,
        reach: Some(0),
    };
    let larger = |a: Extent, b: Extent| if b.values > a.values { b } else { a };
    let largest = inputs.iter().copied().reduce(larger);
    let mut out = largest.unwrap_or(nothing);
    let mut reaches = inputs.iter().map(|input| input.reach);
    out.reach = reaches.try_fold(0, |all: u64, one| Some(all.max(one?)));
    match node.op_type.as_str() {
        "Conv" => {
            // A kernel without a said shape is 1x1.
            let kernel = attribute(node, "kernel_shape").and_then(|a| a.ints.first());
            let beyond = kernel.map_or(0, |side| side.unsigned_abs() / 2);
            out.reach = out.reach.map(|reach| reach + beyond * out.step);
            (out.values, out.step) = known.copied().unwrap_or((out.values, out.step));
        }
        "Concat" => out.values = inputs.iter().map(|input| input.values).sum(),
        "AveragePool" | "Resize" => {
            (out.values, out.step) = known.copied().unwrap_or((out.values, out.step));
        }
        "DepthToSpace" => {
            let block = attribute(node, "blocksize").and_then(|a| a.int);
            out.step /= block.unwrap_or(1).unsigned_abs().max(1);
        }
        "Cast" => {
            let to = attribute(node, "to")
                .and_then(|a| a.int)
                .unwrap_or_default();
            out.bytes = match i32::try_from(to) {
                Ok(element::U8) => 1.0,
                Ok(element::F16) => 2.0,
                _ => 4.0,
            };
        }
        "Shape" => out = nothing,
        "ReduceMean" | "ReduceSumSquare" | "ReduceSum" => (out.values, out.reach) = (0.0, None),
        "InstanceNormalization" | "Scan" => out.reach = None,
        _ => {}
    }
    out
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attributes
        .iter()
        .find(|attribute| attribute.name == name)
}
