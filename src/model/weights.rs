//! Tensors in safetensors files: read one by one, and gathered into the one file a model folder holds.
//!
//! Invariant: a table only lists tensors that lie wholly inside their file, and no more is allocated than one
//! tensor takes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde_json::{Map, json};

use crate::error::{Error, Result};
use crate::fs;

/// A header longer than this is refused; a Stable Diffusion checkpoint has 0.1 MB.
const MAX_HEADER: u64 = 32 << 20;

/// The data of a file written here begin at a multiple of this, for readers that map the file.
const ALIGNMENT: usize = 64;

/// How much is copied at a time.
const CHUNK: u64 = 8 << 20;

/// A tensor in a file.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    file: Arc<OpenFile>,
    pub(super) element: Element,
    pub(super) dims: Vec<u64>,
    /// Where its bytes begin in the file.
    pub(super) offset: u64,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: File,
}

/// What a tensor's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
    Bf16,
    /// Something that no weight is kept in here: a step counter, 8-bit weights.
    Other(Dtype),
}

impl Element {
    fn name(self) -> String {
        match self {
            Element::F32 => "F32".into(),
            Element::F16 => "F16".into(),
            Element::Bf16 => "BF16".into(),
            Element::Other(dtype) => dtype.to_string(),
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Element::F32 => 4,
            Element::F16 | Element::Bf16 => 2,
            Element::Other(dtype) => dtype.bitsize() as u64 / 8,
        }
    }
}

/// Tensors by name.
pub(super) type Tensors = BTreeMap<String, Tensor>;

impl Tensor {
    /// Number of values.
    pub(super) fn len(&self) -> u64 {
        self.dims.iter().product()
    }

    fn byte_len(&self) -> u64 {
        self.len() * self.element.bytes()
    }

    /// The file it lies in.
    pub(super) fn path(&self) -> &Path {
        &self.file.path
    }

    /// Hands its bytes to `take`, a piece at a time.
    fn for_each_chunk(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let end = self.offset + self.byte_len();
        let mut at = self.offset;
        let mut buffer = vec![0; self.byte_len().min(CHUNK) as usize];
        while at < end {
            let part = &mut buffer[..(end - at).min(CHUNK) as usize];
            fs::read_exact_at(&self.file.file, &self.file.path, part, at)?;
            take(part)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Hands its values, as little-endian f32, to `take`, a piece at a time.
    ///
    /// # Errors
    /// `InvalidInput` if it holds no floating-point values of 16 or 32 bits, or one that isn't
    /// finite.
    pub(super) fn for_each_f32(&self, name: &str, mut take: impl FnMut(&[u8])) -> Result<()> {
        let wide = |chunk: &[u8], value: fn([u8; 2]) -> f32| -> Vec<f32> {
            let (pairs, _) = chunk.as_chunks::<2>();
            pairs.iter().map(|pair| value(*pair)).collect()
        };
        self.for_each_chunk(|chunk| {
            let values = match self.element {
                Element::F32 => {
                    let (quads, _) = chunk.as_chunks::<4>();
                    quads.iter().map(|quad| f32::from_le_bytes(*quad)).collect()
                }
                Element::F16 => wide(chunk, |b| half::f16::from_le_bytes(b).to_f32()),
                Element::Bf16 => wide(chunk, |b| half::bf16::from_le_bytes(b).to_f32()),
                Element::Other(_) => return Err(self.unusable(name)),
            };
            if values.iter().any(|value: &f32| !value.is_finite()) {
                return Err(Error::invalid(format!(
                    "the tensor `{name}` in {} holds values that are not finite",
                    self.path().display()
                )));
            }
            let bytes: Vec<[u8; 4]> = values.iter().map(|value| value.to_le_bytes()).collect();
            take(bytes.as_flattened());
            Ok(())
        })
    }

    /// Refuses a tensor whose values no graph can use.
    pub(super) fn unusable(&self, name: &str) -> Error {
        Error::invalid(format!(
            "the tensor `{name}` in {} is {}: weights are read as F32, F16 or BF16",
            self.path().display(),
            self.element.name()
        ))
    }
}

/// Reads the header of a safetensors file.
///
/// # Errors
/// `Io`; `InvalidInput` if it is none, is cut off, or its header contradicts itself.
pub(super) fn read(path: &Path) -> Result<Tensors> {
    let invalid = |what: String| Error::invalid(format!("{} {what}", path.display()));
    let file = fs::open(path)?;
    let length = fs::len(&file, path)?;
    let mut head = [0; 8];
    if length < 8 {
        return Err(invalid(format!(
            "is no safetensors file: it has {length} bytes"
        )));
    }
    fs::read_exact_at(&file, path, &mut head, 0)?;
    let header_len = u64::from_le_bytes(head);
    let data = header_len
        .checked_add(8)
        .filter(|data| header_len <= MAX_HEADER && *data <= length)
        .ok_or_else(|| {
            invalid(format!(
                "is no safetensors file, or is cut off: it announces a header of {header_len} bytes and has {length}"
            ))
        })?;
    let mut header = vec![0; header_len as usize];
    fs::read_exact_at(&file, path, &mut header, 8)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| {
        invalid("has a header that is no safetensors header".into()).with_source(error)
    })?;
    let announced = data + metadata.data_len() as u64;
    if announced != length {
        return Err(invalid(format!(
            "is cut off or damaged: its header announces {announced} bytes, and it has {length}"
        )));
    }
    let file = Arc::new(OpenFile {
        path: path.to_owned(),
        file,
    });
    let tensor = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let tensor = Tensor {
            file: Arc::clone(&file),
            element: match info.dtype {
                Dtype::F32 => Element::F32,
                Dtype::F16 => Element::F16,
                Dtype::BF16 => Element::Bf16,
                other => Element::Other(other),
            },
            dims: info.shape.iter().map(|side| *side as u64).collect(),
            offset: data + info.data_offsets.0 as u64,
        };
        (name, tensor)
    };
    Ok(metadata.tensors().into_iter().map(tensor).collect())
}

/// Writes `tensors` into one new safetensors file, synced, and returns them as they lie there.
///
/// Written here, because the crate wants every tensor in memory, and promises no order.
///
/// # Errors
/// `Io` and `Full`, naming the file that can't be read or written.
pub(super) fn write(path: &Path, tensors: &Tensors) -> Result<Tensors> {
    // The wide ones first, so that each lies at a multiple of its own size.
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|(name, tensor)| (std::cmp::Reverse(tensor.element.bytes()), *name));
    let mut header = Map::new();
    let mut at = 0;
    for (name, tensor) in &order {
        let end = at + tensor.byte_len();
        let info = json!({
            "dtype": tensor.element.name(), "shape": tensor.dims, "data_offsets": [at, end],
        });
        header.insert((*name).clone(), info);
        at = end;
    }
    let mut header = json!(header).to_string();
    let padded = (8 + header.len()).next_multiple_of(ALIGNMENT) - 8;
    header.extend(std::iter::repeat_n(' ', padded - header.len()));

    let failed = |e| Error::io("write", path, e);
    let file = File::create_new(path).map_err(failed)?;
    let mut out = BufWriter::new(file);
    let prefix = (header.len() as u64).to_le_bytes();
    out.write_all(&prefix).map_err(failed)?;
    out.write_all(header.as_bytes()).map_err(failed)?;
    for (_, tensor) in &order {
        tensor.for_each_chunk(|chunk| out.write_all(chunk).map_err(failed))?;
    }
    let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
    file.sync_all().map_err(failed)?;
    read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn read_bytes(bytes: &[u8]) -> Result<Tensors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    const HEADER: &str = r#"{"b":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},"a":{"dtype":"F32","shape":[2],"data_offsets":[6,14]}}"#;

    #[test]
    fn tensors_survive_being_gathered_into_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from.safetensors");
        let data: Vec<u8> = (0..14).collect();
        std::fs::write(&from, file(HEADER, &data)).unwrap();
        let to = folder.path().join("to.safetensors");
        let tensors = write(&to, &read(&from).unwrap()).unwrap();
        let whole = std::fs::read(&to).unwrap();
        let at = |name: &str| tensors[name].offset as usize;
        assert_eq!(whole[at("b")..][..6], data[..6]);
        assert_eq!(whole[at("a")..][..8], data[6..]);
        assert_eq!(at("a") % ALIGNMENT, 0, "the f32 tensor comes first");
        let others = safetensors::SafeTensors::deserialize(&whole).unwrap();
        assert_eq!(others.tensor("b").unwrap().data(), &data[..6]);
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let whole = file(HEADER, &[0; 14]);
        assert!(read_bytes(&whole).is_ok());
        for length in 0..whole.len() {
            let error = read_bytes(&whole[..length]).unwrap_err();
            assert!(error.to_string().contains("a.safetensors"), "{error}");
        }
        let mut longer = whole;
        longer.push(0);
        assert!(read_bytes(&longer).is_err());
    }

    #[test]
    fn headers_that_lie_are_refused_without_being_believed() {
        let mut absurd = u64::MAX.to_le_bytes().to_vec();
        absurd.extend([b'{'; 100]);
        assert!(read_bytes(&absurd).is_err());
        for header in [
            "{}x",
            "[]",
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            r#"{"a":{"dtype":"F32","shape":[18446744073709551615,4],"data_offsets":[0,4]}}"#,
            r#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#,
        ] {
            assert!(read_bytes(&file(header, &[0; 4])).is_err(), "{header}");
        }
    }

    #[test]
    fn values_of_every_float_become_f32_and_others_are_refused() {
        let header = r#"{"f":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[2,4]},"i":{"dtype":"I64","shape":[1],"data_offsets":[4,12]}}"#;
        let mut data = half::f16::from_f32(1.5).to_le_bytes().to_vec();
        data.extend(half::bf16::from_f32(-2.0).to_le_bytes());
        data.extend([0; 8]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        std::fs::write(&path, file(header, &data)).unwrap();
        let tensors = read(&path).unwrap();
        let values = |name: &str| {
            let mut found = Vec::new();
            let result = tensors[name].for_each_f32(name, |bytes| found.extend_from_slice(bytes));
            result.map(|()| found)
        };
        assert_eq!(values("f").unwrap(), 1.5f32.to_le_bytes());
        assert_eq!(values("b").unwrap(), (-2f32).to_le_bytes());
        assert!(values("i").unwrap_err().to_string().contains("is I64"));
    }
}
