//! The part of the ONNX file format that graphs are written with and looked at through.
//!
//! Invariant: field numbers and types are those of onnx.proto (IR version 10). What this part doesn't know is
//! skipped on reading, so a file that was read here is never written back.

use prost::Message;
/// Bytes that share the memory of the file they were read from.
pub(in crate::model) use prost::bytes::Bytes;

/// `TensorProto.DataType`.
pub(in crate::model) mod element {
    pub(in crate::model) const F32: i32 = 1;
    pub(in crate::model) const U8: i32 = 2;
    pub(in crate::model) const I64: i32 = 7;
    pub(in crate::model) const BOOL: i32 = 9;
    pub(in crate::model) const F16: i32 = 10;
    pub(in crate::model) const BF16: i32 = 16;
}

/// `AttributeProto.AttributeType`.
pub(super) mod kind {
    pub(in crate::model) const FLOAT: i32 = 1;
    pub(in crate::model) const INT: i32 = 2;
    pub(in crate::model) const STRING: i32 = 3;
    pub(in crate::model) const GRAPH: i32 = 5;
    pub(in crate::model) const INTS: i32 = 7;
}

/// `TensorProto.DataLocation`.
pub(super) const EXTERNAL: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct Model {
    #[prost(int64, tag = "1")]
    pub(in crate::model) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(in crate::model) producer_name: String,
    #[prost(string, tag = "3")]
    pub(in crate::model) producer_version: String,
    #[prost(message, optional, tag = "7")]
    pub(in crate::model) graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub(in crate::model) opset_import: Vec<OperatorSet>,
    #[prost(message, repeated, tag = "20")]
    pub(in crate::model) training: Vec<Training>,
    #[prost(message, repeated, tag = "25")]
    pub(in crate::model) functions: Vec<Function>,
}

/// `TrainingInfoProto`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct Training {
    #[prost(message, optional, tag = "1")]
    pub(in crate::model) initialization: Option<Graph>,
    #[prost(message, optional, tag = "2")]
    pub(in crate::model) algorithm: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub(in crate::model) domain: String,
    #[prost(int64, tag = "2")]
    pub(in crate::model) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::model) nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(in crate::model) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(in crate::model) initializers: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(in crate::model) inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(in crate::model) outputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "15")]
    pub(in crate::model) sparse_initializers: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct Function {
    #[prost(string, tag = "1")]
    pub(in crate::model) name: String,
    #[prost(message, repeated, tag = "7")]
    pub(in crate::model) nodes: Vec<Node>,
    #[prost(string, tag = "10")]
    pub(in crate::model) domain: String,
    #[prost(message, repeated, tag = "11")]
    pub(in crate::model) attribute_defaults: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(in crate::model) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(in crate::model) outputs: Vec<String>,
    #[prost(string, tag = "3")]
    pub(in crate::model) name: String,
    #[prost(string, tag = "4")]
    pub(in crate::model) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(in crate::model) attributes: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(in crate::model) domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct Attribute {
    #[prost(string, tag = "1")]
    pub(in crate::model) name: String,
    #[prost(float, optional, tag = "2")]
    pub(in crate::model) float: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(in crate::model) int: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(in crate::model) string: Option<Vec<u8>>,
    #[prost(message, optional, boxed, tag = "5")]
    pub(in crate::model) tensor: Option<Box<Tensor>>,
    #[prost(message, optional, boxed, tag = "6")]
    pub(in crate::model) graph: Option<Box<Graph>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub(in crate::model) ints: Vec<i64>,
    #[prost(message, repeated, tag = "10")]
    pub(in crate::model) tensors: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(in crate::model) graphs: Vec<Graph>,
    #[prost(int32, tag = "20")]
    pub(in crate::model) kind: i32,
    #[prost(message, optional, boxed, tag = "22")]
    pub(in crate::model) sparse_tensor: Option<Box<SparseTensor>>,
    #[prost(message, repeated, tag = "23")]
    pub(in crate::model) sparse_tensors: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub(in crate::model) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(in crate::model) data_type: i32,
    // Packed numbers, kept as the bytes they are: as numbers they could take eight times the memory.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub(in crate::model) float_data: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub(in crate::model) int32_data: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(in crate::model) string_data: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub(in crate::model) int64_data: Vec<Bytes>,
    #[prost(string, tag = "8")]
    pub(in crate::model) name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub(in crate::model) raw_data: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "10")]
    pub(in crate::model) double_data: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "11")]
    pub(in crate::model) uint64_data: Vec<Bytes>,
    #[prost(message, repeated, tag = "13")]
    pub(in crate::model) external_data: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub(in crate::model) data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct SparseTensor {
    #[prost(message, optional, tag = "1")]
    pub(in crate::model) values: Option<Tensor>,
    #[prost(message, optional, tag = "2")]
    pub(in crate::model) indices: Option<Tensor>,
    #[prost(int64, repeated, packed = "false", tag = "3")]
    pub(in crate::model) dims: Vec<i64>,
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct Entry {
    #[prost(string, tag = "1")]
    pub(in crate::model) key: String,
    #[prost(string, tag = "2")]
    pub(in crate::model) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub(in crate::model) name: String,
    #[prost(message, optional, tag = "2")]
    pub(in crate::model) value_type: Option<ValueType>,
}

/// `TypeProto`, as far as it describes tensors.
#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct ValueType {
    #[prost(message, optional, tag = "1")]
    pub(in crate::model) tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(in crate::model) element: i32,
    #[prost(message, optional, tag = "2")]
    pub(in crate::model) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::model) dims: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::model) struct Dimension {
    #[prost(oneof = "Extent", tags = "1, 2")]
    pub(in crate::model) extent: Option<Extent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(in crate::model) enum Extent {
    #[prost(int64, tag = "1")]
    Value(i64),
    #[prost(string, tag = "2")]
    Parameter(String),
}

impl ValueInfo {
    /// A tensor whose dimensions are numbers where they can be read as such, else names.
    pub(in crate::model) fn tensor(name: &str, element: i32, dims: &[&str]) -> Self {
        let dimension = |text: &&str| {
            let extent = match text.parse() {
                Ok(number) => Extent::Value(number),
                Err(_) => Extent::Parameter((*text).to_owned()),
            };
            Dimension {
                extent: Some(extent),
            }
        };
        let shape = Shape {
            dims: dims.iter().map(dimension).collect(),
        };
        Self {
            name: name.to_owned(),
            value_type: Some(ValueType {
                tensor: Some(TensorType {
                    element,
                    shape: Some(shape),
                }),
            }),
        }
    }
}
