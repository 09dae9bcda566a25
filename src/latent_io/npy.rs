//! npy: a magic, a version, and a header that is a Python dictionary, as in `numpy.lib.format`.

use super::{Element, Factors, FactorsOf, LatentFile, LatentFormat, le_bytes, parse};
use crate::error::{Error, Result};
use crate::latent::{Latent, LatentShape};

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// The values begin at a multiple of this.
const ALIGNMENT: usize = 64;

/// An array as it lies in a file.
pub(super) struct Array<'a> {
    pub(super) shape: Vec<usize>,
    /// `NumPy`'s name of the type of its values, such as `<f4`.
    pub(super) dtype: &'a str,
    pub(super) data: &'a [u8],
}

impl<'a> Array<'a> {
    /// The array in `bytes`. Whether its values are as many as its shape says is for the reader of the values to see.
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self> {
        let (header, data) = split(bytes)?;
        let shape = field(header, "shape")?;
        let shape = shape.strip_prefix('(').and_then(|s| s.split_once(')'));
        let shape: Option<Vec<usize>> = shape.and_then(|(shape, _)| {
            let numbers = shape.split(',').map(str::trim).filter(|n| !n.is_empty());
            numbers.map(|n| n.parse().ok()).collect()
        });
        let shape = shape.ok_or_else(|| damaged("has a shape that is no tuple of numbers"))?;

        let dtype = field(header, "descr")?.strip_prefix('\'');
        let dtype = dtype.and_then(|s| s.split_once('\''));
        let dtype = dtype.map_or("a record", |(dtype, _)| dtype);
        if !field(header, "fortran_order")?.starts_with("False") {
            return Err(Error::invalid(
                "the npy values lie in Fortran order: save numpy.ascontiguousarray of them",
            ));
        }
        Ok(Self { shape, dtype, data })
    }

    /// The latent that it is.
    pub(super) fn latent(&self, factors: Option<Factors>) -> Result<Latent> {
        let element = match self.dtype {
            "<f2" => Element::F16,
            "<f4" => Element::F32,
            other => {
                return Err(Error::invalid(format!(
                    "the npy values are of type {other}: known are <f2 and <f4"
                )));
            }
        };
        parse(&self.shape, element, self.data, factors)
    }
}

pub(super) fn read(bytes: &[u8], factors: &FactorsOf<'_>) -> Result<LatentFile> {
    let latent = Array::new(bytes)?.latent(factors(LatentFormat::Npy, None)?)?;
    Ok(LatentFile {
        latent,
        latent_space: None,
        encoder: None,
        size: None,
        alpha: None,
    })
}

/// The header's text and the values' bytes.
fn split(bytes: &[u8]) -> Result<(&str, &[u8])> {
    let short = || damaged("ends early");
    let after = bytes.strip_prefix(MAGIC);
    let after = after.ok_or_else(|| Error::invalid("the bytes are no npy file"))?;
    let [major, minor, rest @ ..] = after else {
        return Err(short());
    };
    let digits = match major {
        1 => 2,
        2 | 3 => 4,
        _ => {
            return Err(Error::invalid(format!(
                "npy version {major}.{minor}: known are 1 to 3"
            )));
        }
    };
    let (length, rest) = rest.split_at_checked(digits).ok_or_else(short)?;
    let push = |number, &byte| number << 8 | usize::from(byte);
    let length = length.iter().rev().fold(0, push);
    let (header, data) = rest.split_at_checked(length).ok_or_else(short)?;
    let header = std::str::from_utf8(header).map_err(|_| damaged("is no text"))?;
    Ok((header, data))
}

/// What follows `'key':` in the header.
fn field<'a>(header: &'a str, key: &str) -> Result<&'a str> {
    let value = header.split_once(&format!("'{key}'"));
    let value = value.and_then(|(_, rest)| rest.trim_start().strip_prefix(':'));
    value
        .map(str::trim_start)
        .ok_or_else(|| damaged(&format!("has no `{key}`")))
}

fn damaged(how: &str) -> Error {
    Error::invalid(format!("the npy header {how}"))
}

pub(super) fn write(latent: &Latent) -> Vec<u8> {
    let LatentShape {
        channels,
        height,
        width,
    } = latent.shape();
    let shape = format!("({channels}, {height}, {width})");
    array("<f2", &shape, le_bytes(latent))
}

/// An npy file of the values that lie in `data`; `dtype` and `shape` as `NumPy` writes them.
pub(super) fn array(dtype: &str, shape: &str, data: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
    let prefix = MAGIC.len() + 4;
    let length = (prefix + header.len() + 1).next_multiple_of(ALIGNMENT) - prefix;
    header.extend(std::iter::repeat_n(' ', length - header.len() - 1));
    header.push('\n');

    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(header.into_bytes());
    bytes.extend(data);
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::tests::{file, refusal};
    use super::super::{read_latent, write_latent};
    use super::*;
    use std::path::Path;

    /// An npy file of the given version with this header and `data` zero bytes.
    fn npy(version: u8, header: &str, data: usize) -> Vec<u8> {
        let length = (header.len() as u32).to_le_bytes();
        let length = if version == 1 { &length[..2] } else { &length };
        let zeros = vec![0; data];
        [MAGIC, &[version, 0], length, header.as_bytes(), &zeros].concat()
    }

    fn header(descr: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n")
    }

    #[test]
    fn the_header_is_numpys_and_values_are_aligned() {
        let written = write_latent(&file(), LatentFormat::Npy).unwrap();
        let (header, values) = written.split_at(128);
        assert!(header.starts_with(b"\x93NUMPY\x01\0\x76\0{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2, 3), }   "));
        assert_eq!(header.last(), Some(&b'\n'));
        assert_eq!(values[..6], [0, 0, 0, 0x34, 0, 0x38]);
    }

    #[test]
    fn versions_one_to_three_are_read() {
        let header = header("'<f4'", "False", "(1, 2, 2, 3)");
        for version in 1..=3 {
            let read = read_latent(&npy(version, &header, 48), "a").unwrap();
            assert_eq!(read.latent.shape().to_string(), "2x2x3");
        }
        assert!(refusal(&npy(4, &header, 48)).contains("npy version 4.0"));
    }

    #[test]
    fn other_types_and_orders_are_refused_by_name() {
        for (descr, part) in [
            ("'<f8'", "type <f8"),
            ("'>f2'", "type >f2"),
            ("'|O'", "type |O"),
            ("[('a', '<f2')]", "type a record"),
        ] {
            let reason = refusal(&npy(1, &header(descr, "False", "(2, 2, 3)"), 24));
            assert!(reason.contains(part), "{reason}");
        }
        let reason = refusal(&npy(1, &header("'<f2'", "True", "(2, 2, 3)"), 24));
        assert!(reason.contains("Fortran"), "{reason}");
    }

    #[test]
    fn headers_that_make_no_sense_are_refused() {
        for (header, part) in [
            (header("'<f2'", "False", "(2, x, 3)"), "tuple"),
            (header("'<f2'", "False", "2, 2, 3"), "tuple"),
            (header("'<f2'", "False", "(99999999999999999999,)"), "tuple"),
            (header("'<f2'", "False", "(12,)"), "[12]"),
            (
                header("'<f2'", "False", "(4000000000, 4000000000, 4000000000)"),
                "4000000000",
            ),
            (header("'<f2'", "False", "(2, 2, 4)"), "takes 32 bytes"),
            ("{'descr': '<f2'}".to_owned(), "no `shape`"),
        ] {
            let reason = refusal(&npy(1, &header, 24));
            assert!(reason.contains(part), "{reason}");
        }
        let mut bytes = npy(1, &header("'<f2'", "False", "(2, 2, 3)"), 24);
        bytes[20] = 0xff;
        assert!(refusal(&bytes).contains("no text"));
    }

    #[test]
    fn numpys_own_files_are_read() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/latents/sd"));
        if !folder.is_dir() {
            // Not eprintln: what a passing test prints through it is hidden.
            let line = format!("SKIPPED: no latents at {}\n", folder.display());
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
            return;
        }
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let read = read_latent(&bytes, &path.to_string_lossy()).unwrap();
            let shape = read.latent.shape().to_string();
            assert!(["4x64x96", "4x96x64"].contains(&&*shape), "{shape}");
        }
    }
}
