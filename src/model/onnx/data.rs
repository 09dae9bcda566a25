//! Whether the tensors of an ONNX file have the values that their shapes promise, and which files hold them.
//!
//! Invariant: a tensor that passes has exactly the bytes that its dimensions and its type come to, inside the
//! file or in a plainly named file beside it.

use super::foreign::Contents;
use super::proto::{Bytes, EXTERNAL, SparseTensor, Tensor};
use super::shown;
use crate::error::{Error, Result};
use crate::model::spec::is_plain;

/// More values than any weight has.
const MAX_VALUES: u64 = 1 << 40;

/// A sparse tensor is made whole when it is loaded, however few values it names.
const MAX_SPARSE_VALUES: u64 = 1 << 28;

/// Bytes of a tensor that lie in another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) struct External {
    /// The file's name, without a folder.
    pub(in crate::model) file: String,
    pub(in crate::model) offset: u64,
    pub(in crate::model) length: u64,
    /// What messages call the tensor.
    pub(in crate::model) tensor: String,
}

/// How the values of a type are kept: bits of each, and the field for those that aren't raw bytes.
struct Kept {
    bits: u64,
    field: Field,
}

#[derive(Clone, Copy, PartialEq)]
enum Field {
    /// 32-bit floats, so many for each value.
    Floats(u64),
    Doubles(u64),
    /// A number of 32 bits for each value, or for as many as fit in a byte.
    Int32,
    Int64,
    Uint64,
    Text,
}

fn kept(data_type: i32) -> Option<Kept> {
    let (bits, field) = match data_type {
        1 => (32, Field::Floats(1)),
        2 | 3 | 9 | 17..=20 | 24 => (8, Field::Int32),
        4 | 5 | 10 | 16 => (16, Field::Int32),
        6 => (32, Field::Int32),
        7 => (64, Field::Int64),
        8 => (0, Field::Text),
        11 => (64, Field::Doubles(1)),
        12 => (32, Field::Uint64),
        13 => (64, Field::Uint64),
        14 => (64, Field::Floats(2)),
        15 => (128, Field::Doubles(2)),
        21..=23 => (4, Field::Int32),
        25 | 26 => (2, Field::Int32),
        _ => return None,
    };
    Some(Kept { bits, field })
}

/// Checks every tensor, and returns where the values of those are that lie in other files.
///
/// # Errors
/// `InvalidInput`, naming the tensor.
pub(in crate::model) fn check(contents: &Contents<'_>) -> Result<Vec<External>> {
    for sparse in &contents.sparse {
        check_sparse(sparse)?;
    }
    let found = contents.tensors.iter().map(|tensor| check_tensor(tensor));
    found.filter_map(Result::transpose).collect()
}

/// Number of values of a tensor of floats, which are its weights; `None` for other types.
pub(in crate::model) fn parameters(tensor: &Tensor) -> Option<u64> {
    match tensor.data_type {
        1 | 10 | 11 | 16 => values(&tensor.dims),
        _ => None,
    }
}

fn values(dims: &[i64]) -> Option<u64> {
    let product = dims.iter().try_fold(1u64, |product, side| {
        product.checked_mul(u64::try_from(*side).ok()?)
    });
    product.filter(|values| *values <= MAX_VALUES)
}

fn check_sparse(sparse: &SparseTensor) -> Result<()> {
    if values(&sparse.dims).is_some_and(|values| values <= MAX_SPARSE_VALUES) {
        return Ok(());
    }
    let name = sparse.values.as_ref().map_or("", |values| &values.name);
    Err(Error::invalid(format!(
        "its sparse tensor {} has the impossible dimensions {}",
        shown(name),
        shown_dims(&sparse.dims)
    )))
}

fn check_tensor(tensor: &Tensor) -> Result<Option<External>> {
    let wrong = |what: String| Error::invalid(format!("its tensor {} {what}", shown(&tensor.name)));
    let values = values(&tensor.dims).ok_or_else(|| {
        wrong(format!(
            "has the impossible dimensions {}",
            shown_dims(&tensor.dims)
        ))
    })?;
    let kept = kept(tensor.data_type)
        .ok_or_else(|| wrong(format!("is of the unknown type {}", tensor.data_type)))?;
    let bytes = (values * kept.bits).div_ceil(8);
    let disagree = |found: u64, what: &str, wanted: u64| {
        wrong(format!(
            "has {found} {what}, and its dimensions {} come to {wanted}",
            shown_dims(&tensor.dims)
        ))
    };
    if tensor.data_location == EXTERNAL {
        if kept.field == Field::Text {
            return Err(wrong("is text in another file".into()));
        }
        let external = external(tensor, bytes)?;
        if external.length != bytes {
            return Err(disagree(external.length, "bytes", bytes));
        }
        return Ok(Some(external));
    }
    if tensor.data_location != 0 || !tensor.external_data.is_empty() {
        return Err(wrong("doesn't say clearly where its values are".into()));
    }
    let raw = tensor.raw_data.len() as u64;
    if raw > 0 {
        let whole = kept.field != Field::Text && raw == bytes;
        return whole
            .then_some(None)
            .ok_or_else(|| disagree(raw, "bytes", bytes));
    }
    let (found, wanted) = match kept.field {
        Field::Floats(each) => (sum(&tensor.float_data) / 4, values * each),
        Field::Doubles(each) => (sum(&tensor.double_data) / 8, values * each),
        Field::Int32 => {
            let together = 8 / kept.bits.min(8);
            (varints(&tensor.int32_data), values.div_ceil(together))
        }
        Field::Int64 => (varints(&tensor.int64_data), values),
        Field::Uint64 => (varints(&tensor.uint64_data), values),
        Field::Text => (tensor.string_data.len() as u64, values),
    };
    if found != wanted {
        return Err(disagree(found, "values", wanted));
    }
    Ok(None)
}

fn sum(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

/// Numbers of variable length end with the byte whose highest bit is clear.
fn varints(parts: &[Bytes]) -> u64 {
    let ends = |part: &Bytes| part.iter().filter(|byte| **byte < 0x80).count() as u64;
    parts.iter().map(ends).sum()
}

/// Where the values of `tensor` are; `bytes` of them where it doesn't say.
fn external(tensor: &Tensor, bytes: u64) -> Result<External> {
    let wrong = |what: String| Error::invalid(format!("its tensor {} {what}", shown(&tensor.name)));
    let entry = |key: &str| -> Result<Option<&str>> {
        let mut found = tensor.external_data.iter().filter(|one| one.key == key);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(wrong(format!("says twice what its {key} is"))),
            (first, _) => Ok(first.map(|one| one.value.as_str())),
        }
    };
    let number = |key: &str| -> Result<Option<u64>> {
        let text = entry(key)?;
        let parse = |text: &str| {
            let number = text.parse::<u64>().ok();
            number.ok_or_else(|| wrong(format!("has the impossible {key} {}", shown(text))))
        };
        text.map(parse).transpose()
    };
    let file = entry("location")?
        .ok_or_else(|| wrong("lies in another file, and doesn't say in which".into()))?;
    if !is_plain(file) {
        return Err(wrong(format!(
            "lies in {}: only files in the folder of the ONNX file are read",
            shown(file)
        ))
        .with_hint("save the file anew with its weights inside, or in one file beside it: onnx.save(onnx.load(IN), OUT)"));
    }
    Ok(External {
        file: file.to_owned(),
        offset: number("offset")?.unwrap_or(0),
        length: number("length")?.unwrap_or(bytes),
        tensor: named(tensor),
    })
}

/// Constants inside a graph have no names of their own.
fn named(tensor: &Tensor) -> String {
    match tensor.name.as_str() {
        "" => "a tensor without a name".to_owned(),
        name => format!("its tensor {}", shown(name)),
    }
}

fn shown_dims(dims: &[i64]) -> String {
    match dims.len() {
        0..=8 => format!("{dims:?}"),
        n => format!("{:?} and {} more", &dims[..8], n - 8),
    }
}
