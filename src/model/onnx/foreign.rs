//! ONNX files that were written elsewhere: read without trust, and given another output without being rewritten.
//!
//! Invariant: a file is only ever added to; what the schema here doesn't know stays in it byte for byte.

use prost::Message;

use super::proto::{
    Attribute, Bytes, Dimension, Extent, Graph, Model, Node, Shape, SparseTensor, Tensor,
    TensorType, ValueInfo, ValueType,
};
use super::wire;
use crate::error::{Error, Result};

/// Operators of these domains are part of ONNX Runtime; others come in libraries, which are never loaded.
const DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// Reads an ONNX file; the values of its tensors stay where they are in `bytes`.
///
/// # Errors
/// `InvalidInput` for what is none, is cut off or nested too deeply; `LimitExceeded` for one that would take much
/// more memory than its size.
pub(in crate::model) fn read(bytes: Bytes) -> Result<Model> {
    wire::check(&bytes)?;
    let model = Model::decode(bytes)
        .map_err(|e| Error::invalid("its fields are not those of an ONNX model").with_source(e))?;
    match &model.graph {
        Some(graph) if !graph.nodes.is_empty() => Ok(model),
        _ => Err(Error::invalid("it holds no graph")),
    }
}

/// What makes the value `name` an output when it is appended to a file: protobuf readers join the graphs of
/// both parts. `element` and `channels` describe `[batch, channels, rows, columns]`; without them the type is
/// left to ONNX Runtime.
pub(in crate::model) fn more_output(name: &str, described: Option<(i32, u32)>) -> Vec<u8> {
    let unknown = Dimension { extent: None };
    let value_type = described.map(|(element, channels)| ValueType {
        tensor: Some(TensorType {
            element,
            shape: Some(Shape {
                dims: vec![
                    unknown.clone(),
                    Dimension {
                        extent: Some(Extent::Value(channels.into())),
                    },
                    unknown.clone(),
                    unknown,
                ],
            }),
        }),
    });
    let output = ValueInfo {
        name: name.to_owned(),
        value_type,
    };
    let graph = Graph {
        outputs: vec![output],
        ..Graph::default()
    };
    let model = Model {
        graph: Some(graph),
        ..Model::default()
    };
    model.encode_to_vec()
}

/// Everything in a model, however deep it lies.
#[derive(Default)]
pub(in crate::model) struct Contents<'a> {
    pub(in crate::model) nodes: Vec<&'a Node>,
    pub(in crate::model) tensors: Vec<&'a Tensor>,
    pub(in crate::model) sparse: Vec<&'a SparseTensor>,
}

impl<'a> Contents<'a> {
    /// Of the whole file: graph, functions, and what is kept for training.
    pub(in crate::model) fn of(model: &'a Model) -> Self {
        let mut found = Self::default();
        let training = model.training.iter();
        let training = training.flat_map(|one| [&one.initialization, &one.algorithm]);
        for graph in training.chain([&model.graph]).flatten() {
            found.graph(graph);
        }
        found.functions(model);
        found
    }

    /// Of the functions that a model defines for itself.
    pub(in crate::model) fn of_functions(model: &'a Model) -> Self {
        let mut found = Self::default();
        found.functions(model);
        found
    }

    /// Of the subgraphs of one node, that node included.
    pub(in crate::model) fn of_node(node: &'a Node) -> Self {
        let mut found = Self::default();
        found.nodes(std::slice::from_ref(node));
        found
    }

    fn functions(&mut self, model: &'a Model) {
        for function in &model.functions {
            self.nodes(&function.nodes);
            self.attributes(&function.attribute_defaults);
        }
    }

    fn graph(&mut self, graph: &'a Graph) {
        self.tensors.extend(&graph.initializers);
        for sparse in &graph.sparse_initializers {
            self.sparse(sparse);
        }
        self.nodes(&graph.nodes);
    }

    fn nodes(&mut self, nodes: &'a [Node]) {
        for node in nodes {
            self.nodes.push(node);
            self.attributes(&node.attributes);
        }
    }

    fn attributes(&mut self, attributes: &'a [Attribute]) {
        for attribute in attributes {
            self.tensors.extend(attribute.tensor.as_deref());
            self.tensors.extend(&attribute.tensors);
            let sparse = attribute.sparse_tensor.as_deref().into_iter();
            for sparse in sparse.chain(&attribute.sparse_tensors) {
                self.sparse(sparse);
            }
            let graphs = attribute.graph.as_deref().into_iter();
            for graph in graphs.chain(&attribute.graphs) {
                self.graph(graph);
            }
        }
    }

    fn sparse(&mut self, sparse: &'a SparseTensor) {
        self.sparse.push(sparse);
        self.tensors.extend(&sparse.values);
        self.tensors.extend(&sparse.indices);
    }
}

/// Refuses operators that ONNX Runtime has only together with somebody's library.
pub(in crate::model) fn check_operators(model: &Model, contents: &Contents<'_>) -> Result<()> {
    let own: std::collections::HashSet<(&str, &str)> = model
        .functions
        .iter()
        .map(|function| (function.domain.as_str(), function.name.as_str()))
        .collect();
    let foreign = contents.nodes.iter().find(|node| {
        !DOMAINS.contains(&node.domain.as_str())
            && !own.contains(&(node.domain.as_str(), node.op_type.as_str()))
    });
    match foreign {
        None => Ok(()),
        Some(node) => Err(Error::invalid(format!(
            "it uses the operator {} of the domain {}: operators that come in libraries of their own are not loaded",
            super::shown(&node.op_type),
            super::shown(&node.domain)
        ))),
    }
}
