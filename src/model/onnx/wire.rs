//! A look over the bytes of an ONNX file before anything is made of them.
//!
//! Invariant: a file that passes has so few fields, and nests them so little, that reading it takes a bounded
//! amount of memory beyond its own bytes. Two bytes can stand for an empty node, which takes hundreds.

use crate::error::{Error, ErrorKind, Result};

/// An exported autoencoder has ten thousand fields; with the traces that torch leaves in it a hundred thousand.
pub(super) const MAX_FIELDS: u64 = 1 << 20;

/// `prost` refuses what is nested deeper than 100 messages; each subgraph takes three.
pub(super) const MAX_DEPTH: u32 = 90;

/// The messages that hold other messages.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Training,
    Graph,
    Function,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TensorType,
    /// One whose own messages, if it has any, hold no others: their fields are counted with it.
    Flat,
}

impl Kind {
    /// The message in `field`; `None` if that is text, bytes or numbers.
    fn inside(self, field: u64) -> Option<Kind> {
        Some(match (self, field) {
            (Kind::Model, 7) | (Kind::Training, 1 | 2) | (Kind::Attribute, 6 | 11) => Kind::Graph,
            (Kind::Model, 20) => Kind::Training,
            (Kind::Model, 25) => Kind::Function,
            (Kind::Graph, 1) | (Kind::Function, 7) => Kind::Node,
            (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) | (Kind::SparseTensor, 1 | 2) => {
                Kind::Tensor
            }
            (Kind::Graph, 11..=13) | (Kind::Function, 12) => Kind::ValueInfo,
            (Kind::Graph, 15) | (Kind::Attribute, 22 | 23) => Kind::SparseTensor,
            (Kind::Node, 5) | (Kind::Function, 11) => Kind::Attribute,
            (Kind::ValueInfo, 2) | (Kind::Attribute, 14 | 15) => Kind::Type,
            (Kind::Type, 1) => Kind::TensorType,
            (Kind::TensorType, 2)
            | (Kind::Model, 8 | 14)
            | (Kind::Graph, 14 | 16)
            | (Kind::Function, 9 | 14)
            | (Kind::Node, 9)
            | (Kind::ValueInfo, 4)
            | (Kind::Tensor, 13 | 16) => Kind::Flat,
            _ => return None,
        })
    }

    /// Whether `field` holds numbers of one byte or more that are read as eight bytes each.
    fn is_numbers(self, field: u64) -> bool {
        matches!(
            (self, field),
            (Kind::Tensor, 1 | 7 | 11) | (Kind::Attribute, 7 | 8) | (Kind::SparseTensor, 3)
        )
    }
}

/// Refuses what is no ONNX file by its outermost structure, and what would take too much memory to read.
pub(super) fn check(bytes: &[u8]) -> Result<()> {
    Scan { fields: 0 }.message(Kind::Model, bytes, 0)
}

struct Scan {
    fields: u64,
}

impl Scan {
    fn message(&mut self, kind: Kind, bytes: &[u8], depth: u32) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!(
                "it nests graphs and types more than {MAX_DEPTH} messages deep"
            )));
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            let field = key >> 3;
            self.count(1)?;
            match key & 7 {
                0 => {
                    varint(&mut rest)?;
                }
                1 => {
                    take(&mut rest, 8)?;
                }
                2 => {
                    let length = varint(&mut rest)?;
                    let part = take(&mut rest, length)?;
                    match kind.inside(field) {
                        Some(Kind::Flat) => self.count(part.len() as u64 / 2)?,
                        Some(inner) => self.message(inner, part, depth + 1)?,
                        None if kind.is_numbers(field) => self.count(part.len() as u64)?,
                        None => {}
                    }
                }
                5 => {
                    take(&mut rest, 4)?;
                }
                _ => return Err(cut_off()),
            }
        }
        Ok(())
    }

    fn count(&mut self, fields: u64) -> Result<()> {
        self.fields += fields;
        if self.fields > MAX_FIELDS {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!(
                    "it has more than {MAX_FIELDS} fields beside its weights: no autoencoder has"
                ),
            ));
        }
        Ok(())
    }
}

fn cut_off() -> Error {
    Error::invalid("its fields don't end where they should")
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8]> {
    let length = usize::try_from(length).map_err(|_| cut_off())?;
    let (part, after) = rest.split_at_checked(length).ok_or_else(cut_off)?;
    *rest = after;
    Ok(part)
}

fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = *take(rest, 1)? else {
            return Err(cut_off());
        };
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(cut_off())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::proto::{Attribute, Graph, Model, Node};
    use super::*;

    fn nested(subgraphs: usize) -> Model {
        let mut graph = Graph::default();
        for _ in 0..subgraphs {
            let attribute = Attribute {
                graph: Some(Box::new(graph)),
                ..Attribute::default()
            };
            let node = Node {
                attributes: vec![attribute],
                ..Node::default()
            };
            graph = Graph {
                nodes: vec![node],
                ..Graph::default()
            };
        }
        Model {
            graph: Some(graph),
            ..Model::default()
        }
    }

    #[test]
    fn what_passes_is_not_too_deep_for_the_reader() {
        let deepest = (1..60)
            .take_while(|n| check(&nested(*n).encode_to_vec()).is_ok())
            .last();
        let deepest = deepest.unwrap();
        assert!((20..40).contains(&deepest), "{deepest}");
        Model::decode(&nested(deepest).encode_to_vec()[..]).unwrap();
        let error = check(&nested(deepest + 1).encode_to_vec()).unwrap_err();
        assert!(error.to_string().contains("deep"), "{error}");
        // A graph in an attribute in a node in a graph, from the inside out.
        let mut bytes = Vec::new();
        for field in [0x32, 0x2a, 0x0a].repeat(2000).into_iter().chain([0x3a]) {
            let mut outer = vec![field];
            prost::encoding::encode_varint(bytes.len() as u64, &mut outer);
            outer.extend(bytes);
            bytes = outer;
        }
        assert!(check(&bytes).is_err());
    }

    #[test]
    fn bytes_that_stand_for_too_many_objects_are_refused() {
        let nodes = |count: usize| {
            let graph = [0x0a, 0x00].repeat(count);
            let mut bytes = vec![0x3a];
            prost::encoding::encode_varint(graph.len() as u64, &mut bytes);
            bytes.extend(graph);
            bytes
        };
        assert!(check(&nodes(1000)).is_ok());
        let error = check(&nodes(MAX_FIELDS as usize)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn a_field_that_is_cut_off_is_noticed() {
        for bytes in [
            &[0x3a, 5, 0x0a][..],
            &[0x3a],
            &[0xff; 11],
            &[0x08],
            &[0x09, 0],
            &[
                0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            &[0x0b],
        ] {
            assert!(check(bytes).is_err(), "{bytes:?}");
        }
        assert!(check(&[]).is_ok());
    }
}
