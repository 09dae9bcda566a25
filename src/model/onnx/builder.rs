//! Writes an ONNX graph node by node; its weights stay in the safetensors file beside it.
//!
//! Invariant: every weight is used with the shape the architecture gives it, or the graph isn't written.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::extent::{self, Needs};
use super::layers::{NORMS, NORMS_USED, OWN_NORMS};
use super::proto::{
    self, Attribute, Entry, Graph, Model, Node, OperatorSet, Tensor, ValueInfo, element, kind,
};
use crate::error::{Error, Result};
use crate::model::Precision;
use crate::model::weights::{Element, Tensors};

/// ONNX IR version and operator set: ONNX Runtime 1.17 and later know them.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 18;

/// The side of the image that operations are counted for.
const COUNTED_SIDE: f64 = 512.0;

/// A tensor in the graph: `channels` x H/`step` x W/`step` for an image of H x W pixels.
#[derive(Debug, Clone)]
pub(in crate::model) struct Value {
    pub(super) name: String,
    pub(in crate::model) channels: u64,
    pub(super) step: u64,
    /// Of a part of the channels: where it begins, and how many there are in all.
    pub(super) part: Option<(u64, u64)>,
}

impl Value {
    /// Channels in all, also of a part.
    pub(in crate::model) fn whole(&self) -> u64 {
        self.part.map_or(self.channels, |(_, whole)| whole)
    }
}

/// Which graph of an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct Form {
    pub(in crate::model) precision: Precision,
    /// Whether it is for tiles: norms can be given their statistics.
    pub(in crate::model) tile: bool,
}

/// A graph as it grows.
pub(in crate::model) struct Builder<'a> {
    weights: &'a Tensors,
    form: Form,
    /// The statistics of each norm, of a graph for tiles.
    pub(super) norms: Vec<String>,
    /// Groups of all norms so far.
    pub(super) groups: u64,
    /// Values a pixel, and step, of what convolutions make.
    extents: BTreeMap<String, (f64, u64)>,
    nodes: Vec<Node>,
    initializers: Vec<Tensor>,
    /// Names of initializers already there, and what they stand for in the graph.
    known: BTreeMap<String, String>,
    used: BTreeSet<String>,
    parameters: u64,
    operations: f64,
    names: u64,
}

/// A finished graph and what was counted on the way.
pub(in crate::model) struct Written {
    /// The bytes of the ONNX file.
    pub(in crate::model) bytes: Vec<u8>,
    /// Names of the weights it uses.
    pub(in crate::model) used: BTreeSet<String>,
    /// Number of weights.
    pub(in crate::model) parameters: u64,
    /// 10^9 operations for a 512x512 image, two for each multiply-add.
    pub(in crate::model) gflop_512: f64,
    /// What running it takes.
    pub(in crate::model) needs: Needs,
    /// Whether it has norms.
    pub(in crate::model) has_norms: bool,
}

impl<'a> Builder<'a> {
    pub(in crate::model) fn new(weights: &'a Tensors, form: Form) -> Self {
        Self {
            weights,
            form,
            norms: Vec::new(),
            groups: 0,
            extents: BTreeMap::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            known: BTreeMap::new(),
            used: BTreeSet::new(),
            parameters: 0,
            operations: 0.0,
            names: 0,
        }
    }

    pub(super) fn is_for_tiles(&self) -> bool {
        self.form.tile
    }

    /// Says how many values `name` holds: `channels` for each cell of `step` pixels a side.
    pub(super) fn extent(&mut self, name: &str, channels: u64, step: u64) {
        let values = channels as f64 / (step * step) as f64;
        self.extents.insert(name.to_owned(), (values, step));
    }

    /// What `write` writes, as a graph of its own whose one output, of type f32, is the name it returns.
    pub(super) fn branch(
        &mut self,
        dims: &[&str],
        write: impl FnOnce(&mut Self) -> String,
    ) -> Graph {
        let outside = std::mem::take(&mut self.nodes);
        let output = write(self);
        let nodes = std::mem::replace(&mut self.nodes, outside);
        Graph {
            nodes,
            name: self.fresh("branch"),
            outputs: vec![ValueInfo::tensor(&output, element::F32, dims)],
            ..Graph::default()
        }
    }

    /// The element type that this graph computes in.
    pub(super) fn compute(&self) -> i32 {
        match self.form.precision {
            Precision::F32 => element::F32,
            Precision::F16 => element::F16,
        }
    }

    /// Counts `multiply_adds` for each cell of `value`.
    pub(super) fn count(&mut self, value: &Value, multiply_adds: f64) {
        self.operations += 2.0 * multiply_adds * cells(value);
    }

    /// Appends a node and returns its one output.
    pub(super) fn node(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        let output = self.fresh(op_type);
        self.node_to(op_type, inputs, attributes, &output);
        output
    }

    /// Appends a node whose output is called `output`.
    pub(super) fn node_to(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
        output: &str,
    ) {
        self.nodes.push(node(op_type, inputs, attributes, output));
    }

    fn fresh(&mut self, stem: &str) -> String {
        self.names += 1;
        format!("{stem}_{}", self.names)
    }

    /// The weight `name`, whose shape must be `dims`, in the precision of the graph.
    pub(super) fn weight(&mut self, name: &str, dims: &[u64]) -> Result<String> {
        self.weight_as(name, dims, dims)
    }

    /// The weight `name` of shape `dims`, seen as `seen`: fewer of its first rows, or other sides
    /// of the same product.
    pub(super) fn weight_as(&mut self, name: &str, dims: &[u64], seen: &[u64]) -> Result<String> {
        let tensor = self
            .weights
            .get(name)
            .ok_or_else(|| Error::invalid(format!("the weights have no tensor `{name}`")))?;
        if tensor.dims != dims {
            return Err(Error::invalid(format!(
                "the tensor `{name}` has the shape {:?} where the architecture wants {dims:?}",
                tensor.dims
            )));
        }
        let (data_type, bytes) = match tensor.element {
            Element::F32 => (element::F32, 4),
            Element::F16 => (element::F16, 2),
            Element::Bf16 => (element::BF16, 2),
            Element::Other(_) => return Err(tensor.unusable(name)),
        };
        let key = format!("{name} {seen:?}");
        if let Some(found) = self.known.get(&key) {
            return Ok(found.clone());
        }
        let values: u64 = seen.iter().product();
        let location = tensor.path().file_name().unwrap_or_default();
        let entry = |key: &str, value: String| Entry {
            key: key.to_owned(),
            value,
        };
        self.initializers.push(Tensor {
            dims: seen.iter().map(|side| side.cast_signed()).collect(),
            data_type,
            name: key.clone(),
            external_data: vec![
                entry("location", location.to_string_lossy().into_owned()),
                entry("offset", tensor.offset.to_string()),
                entry("length", (values * bytes).to_string()),
            ],
            data_location: proto::EXTERNAL,
            ..Tensor::default()
        });
        if self.used.insert(name.to_owned()) {
            self.parameters += values;
        }
        // Folded into a constant when the graph is loaded.
        let value = self.cast(&key, data_type, self.compute());
        self.known.insert(key, value.clone());
        Ok(value)
    }

    /// From `start` to before `end` along `axis`. Of weights it is computed once, when the graph is
    /// loaded.
    pub(super) fn slice(&mut self, name: &str, axis: i64, start: u64, end: u64) -> String {
        let start = self.int_constant(&[start.cast_signed()]);
        let end = self.int_constant(&[end.cast_signed()]);
        let axis = self.int_constant(&[axis]);
        self.node("Slice", &[name, &start, &end, &axis], vec![])
    }

    /// What of a weight belongs to `x`, whose channels are along `axis`.
    pub(super) fn part_of(&mut self, weight: String, axis: i64, x: &Value) -> String {
        match x.part {
            Some((start, _)) => self.slice(&weight, axis, start, start + x.channels),
            None => weight,
        }
    }

    /// `name` as another element type, if it isn't of that already.
    pub(super) fn cast(&mut self, name: &str, from: i32, to: i32) -> String {
        if from == to {
            return name.to_owned();
        }
        self.node("Cast", &[name], vec![int("to", i64::from(to))])
    }

    /// A constant of whole numbers, one-dimensional.
    pub(super) fn int_constant(&mut self, values: &[i64]) -> String {
        let raw = values.iter().flat_map(|value| value.to_le_bytes());
        let (dims, raw) = (vec![values.len().cast_signed() as i64], raw.collect());
        self.constant(format!("{values:?}"), element::I64, dims, raw)
    }

    /// The number `value` in the precision of the graph.
    pub(super) fn number(&mut self, value: f32) -> String {
        let raw = self.raw(value);
        self.constant(format!("{value:?}"), self.compute(), Vec::new(), raw)
    }

    /// The number `value` in f32, whatever the precision of the graph.
    pub(super) fn f32_number(&mut self, value: f32) -> String {
        let raw = value.to_le_bytes().to_vec();
        self.constant(format!("{value:?} in f32"), element::F32, Vec::new(), raw)
    }

    /// `count` times `value`, in the precision of the graph.
    pub(super) fn repeated(&mut self, value: f32, count: u64) -> String {
        let raw = self.raw(value).repeat(count as usize);
        let name = format!("{count} x {value:?}");
        self.constant(name, self.compute(), vec![count.cast_signed()], raw)
    }

    /// `values` by channel, in the precision of the graph: `[1, channels, 1, 1]`.
    pub(super) fn by_channel(&mut self, values: &[f32]) -> String {
        let raw = values.iter().flat_map(|value| self.raw(*value)).collect();
        let dims = vec![1, values.len().cast_signed() as i64, 1, 1];
        self.constant(format!("{values:?} by channel"), self.compute(), dims, raw)
    }

    /// `values` in f32, whatever the precision of the graph.
    pub(super) fn f32_constant(&mut self, values: &[f32]) -> String {
        let raw = values.iter().flat_map(|value| value.to_le_bytes());
        let (dims, raw) = (vec![values.len().cast_signed() as i64], raw.collect());
        self.constant(format!("{values:?} in f32"), element::F32, dims, raw)
    }

    fn raw(&self, value: f32) -> Vec<u8> {
        match self.form.precision {
            Precision::F32 => value.to_le_bytes().to_vec(),
            Precision::F16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
        }
    }

    fn constant(&mut self, name: String, data_type: i32, dims: Vec<i64>, raw: Vec<u8>) -> String {
        if !self.known.contains_key(&name) {
            self.initializers.push(Tensor {
                dims,
                data_type,
                name: name.clone(),
                raw_data: raw.into(),
                ..Tensor::default()
            });
            self.known.insert(name.clone(), name.clone());
        }
        name
    }

    /// The finished file.
    pub(super) fn finish(
        mut self,
        name: &str,
        mut inputs: Vec<ValueInfo>,
        mut outputs: Vec<ValueInfo>,
    ) -> Written {
        let bytes = match self.form.precision {
            Precision::F32 => 4.0,
            Precision::F16 => 2.0,
        };
        let needs = extent::needs(&self.nodes, &self.extents, bytes);
        if self.form.tile {
            let all = std::mem::take(&mut self.norms);
            let all: Vec<_> = all.iter().map(String::as_str).collect();
            self.node_to("Concat", &all, vec![int("axis", 1)], NORMS_USED);
            let statistics = |name| ValueInfo::tensor(name, element::F32, &["2", "groups"]);
            inputs.push(statistics(NORMS));
            inputs.push(ValueInfo::tensor(OWN_NORMS, element::BOOL, &["1"]));
            outputs.push(statistics(NORMS_USED));
        }
        let graph = Graph {
            nodes: self.nodes,
            name: name.to_owned(),
            initializers: self.initializers,
            inputs,
            outputs,
            sparse_initializers: Vec::new(),
        };
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(graph),
            opset_import: vec![OperatorSet {
                domain: String::new(),
                version: OPSET,
            }],
            ..Model::default()
        };
        Written {
            bytes: model.encode_to_vec(),
            used: self.used,
            parameters: self.parameters,
            gflop_512: self.operations / 1e9,
            needs,
            has_norms: self.groups > 0,
        }
    }
}

/// Cells of `value` for the image that operations are counted for.
pub(super) fn cells(value: &Value) -> f64 {
    (COUNTED_SIDE / value.step as f64).powi(2)
}

pub(super) fn node(
    op_type: &str,
    inputs: &[&str],
    attributes: Vec<Attribute>,
    output: &str,
) -> Node {
    Node {
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        outputs: vec![output.to_owned()],
        name: output.to_owned(),
        op_type: op_type.to_owned(),
        attributes,
        domain: String::new(),
    }
}

pub(super) fn int(name: &str, value: i64) -> Attribute {
    Attribute {
        name: name.to_owned(),
        int: Some(value),
        kind: kind::INT,
        ..Attribute::default()
    }
}

pub(super) fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute {
        name: name.to_owned(),
        ints: values.to_vec(),
        kind: kind::INTS,
        ..Attribute::default()
    }
}

pub(super) fn float(name: &str, value: f32) -> Attribute {
    Attribute {
        name: name.to_owned(),
        float: Some(value),
        kind: kind::FLOAT,
        ..Attribute::default()
    }
}

pub(super) fn string(name: &str, value: &str) -> Attribute {
    Attribute {
        name: name.to_owned(),
        string: Some(value.as_bytes().to_vec()),
        kind: kind::STRING,
        ..Attribute::default()
    }
}

pub(super) fn graph(name: &str, value: Graph) -> Attribute {
    Attribute {
        name: name.to_owned(),
        graph: Some(Box::new(value)),
        kind: kind::GRAPH,
        ..Attribute::default()
    }
}
