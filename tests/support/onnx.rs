//! As much of the ONNX format as the tests of the built-in graphs need, by its public field numbers.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::HashMap;

use prost::Message;

#[derive(Message)]
struct Model {
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
}

#[derive(Message)]
pub(crate) struct Graph {
    #[prost(message, repeated, tag = "1")]
    nodes: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) initializers: Vec<Tensor>,
}

#[derive(Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    outputs: Vec<String>,
    #[prost(string, tag = "4")]
    kind: String,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<Attribute>,
}

#[derive(Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "3")]
    int: i64,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
}

#[derive(Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(crate) raw: Vec<u8>,
}

impl Tensor {
    /// What a learned tensor's type is called in a fingerprint; `None` of the constants in f32.
    pub(crate) fn learned(&self) -> Option<&'static [u8]> {
        match self.data_type {
            3 => Some(b"i8"),
            10 => Some(b"f16"),
            _ => None,
        }
    }

    pub(crate) fn values(&self) -> i64 {
        self.dims.iter().product()
    }
}

impl Node {
    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
    }
}

impl Graph {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        Model::decode(bytes).unwrap().graph.unwrap()
    }

    /// 10^9 operations of all convolutions, two for each multiply-add, for an `input` of the given
    /// name and shape.
    pub(crate) fn gflop(&self, input: &str, shape: [i64; 4]) -> f64 {
        let weights: HashMap<_, _> = self
            .initializers
            .iter()
            .map(|t| (t.name.as_str(), t))
            .collect();
        let mut casts = HashMap::new();
        let mut shapes: HashMap<&str, [i64; 4]> = HashMap::from([(input, shape)]);
        let mut operations = 0;
        for node in &self.nodes {
            let (first, output) = (node.inputs[0].as_str(), node.outputs[0].as_str());
            if let Some(weight) = weights.get(first).filter(|_| node.kind == "Cast") {
                casts.insert(output, *weight);
                continue;
            }
            if let Some(levels) = casts.get(first).filter(|_| node.kind == "Mul") {
                casts.insert(output, levels);
                continue;
            }
            let [n, a, b, c] = shapes[first];
            let block = node
                .attribute("blocksize")
                .map_or(1, |attribute| attribute.int);
            let result = match node.kind.as_str() {
                "Cast" | "Div" | "Sub" | "Relu" | "Add" | "Mul" | "Clip" | "Round" => [n, a, b, c],
                "Transpose" => {
                    let order = &node.attribute("perm").unwrap().ints;
                    std::array::from_fn(|axis| shapes[first][order[axis] as usize])
                }
                "SpaceToDepth" => [n, a * block * block, b / block, c / block],
                "DepthToSpace" => [n, a / (block * block), b * block, c * block],
                "Conv" => {
                    let weight = casts[node.inputs[1].as_str()];
                    let strides = &node.attribute("strides").unwrap().ints;
                    let (rows, columns) = (b / strides[0], c / strides[1]);
                    operations += 2 * weight.values() * rows * columns;
                    [n, weight.dims[0], rows, columns]
                }
                other => panic!("this count knows no {other}"),
            };
            shapes.insert(output, result);
        }
        operations as f64 / 1e9
    }
}
