//! Typed, length-prefixed fields: the part of headers that later versions may add to.
//!
//! Invariant: a reader meets every field; one it doesn't know is kept if optional and refused if
//! required. A field is a tag (u16), a length (u32) and that many bytes, little-endian; bit 15 of
//! the tag says "required".

use crate::error::{Error, ErrorKind, Result};

/// The bit of a tag that says: a reader who doesn't know this field must not read the rest.
pub(crate) const REQUIRED: u16 = 0x8000;

const PREFIX: usize = 6;

/// Appends one field. Values are far below 4 GiB everywhere fields are used.
pub(crate) fn push(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    let length = u32::try_from(value.len()).expect("a field is shorter than 4 GiB");
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(value);
}

/// The fields in `bytes`, in their order. What follows a malformed field isn't looked at.
pub(crate) fn iter(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let field = split_first(bytes);
        bytes = field.map_or(&[], |(_, _, rest)| rest);
        Some(
            field
                .map(|(tag, value, _)| (tag, value))
                .ok_or_else(|| Error::corrupted("a header field ends after its header does")),
        )
    })
}

fn split_first(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (prefix, rest) = bytes.split_at_checked(PREFIX)?;
    let tag = u16::from_le_bytes([prefix[0], prefix[1]]);
    let length = u32::from_le_bytes([prefix[2], prefix[3], prefix[4], prefix[5]]);
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((tag, value, rest))
}

/// The error for a required field that this version doesn't know.
pub(crate) fn unknown_required(what: &str, tag: u16) -> Error {
    Error::new(
        ErrorKind::UnsupportedVersion,
        format!("{what} has the required field {tag:#06x}, which this version doesn't know"),
    )
}

/// A field's value as exactly `N` bytes.
pub(crate) fn array<const N: usize>(name: &str, value: &[u8]) -> Result<[u8; N]> {
    value.try_into().map_err(|_| {
        Error::corrupted(format!(
            "the field `{name}` has {} bytes instead of {N}",
            value.len()
        ))
    })
}

/// A field's value as `N` little-endian numbers of 32 bits.
pub(crate) fn u32s<const N: usize>(name: &str, value: &[u8]) -> Result<[u32; N]> {
    let (words, rest) = value.as_chunks::<4>();
    let words: Option<[[u8; 4]; N]> = words.try_into().ok();
    match words {
        Some(words) if rest.is_empty() => Ok(words.map(u32::from_le_bytes)),
        _ => Err(Error::corrupted(format!(
            "the field `{name}` has {} bytes instead of {}",
            value.len(),
            4 * N
        ))),
    }
}

/// A field's value as text.
pub(crate) fn text(name: &str, value: &[u8]) -> Result<String> {
    String::from_utf8(value.to_vec())
        .map_err(|e| Error::corrupted(format!("the field `{name}` is no UTF-8")).with_source(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_their_order() {
        let mut bytes = Vec::new();
        push(&mut bytes, 7, b"seven");
        push(&mut bytes, REQUIRED | 1, b"");
        let fields: Vec<_> = iter(&bytes).map(Result::unwrap).collect();
        assert_eq!(fields, [(7, &b"seven"[..]), (0x8001, &b""[..])]);
    }

    #[test]
    fn every_truncation_is_an_error_and_ends_the_fields() {
        let mut bytes = Vec::new();
        push(&mut bytes, 1, b"one");
        for length in 1..bytes.len() {
            let fields: Vec<_> = iter(&bytes[..length]).collect();
            assert_eq!(fields.len(), 1);
            assert!(fields[0].is_err(), "cut to {length}");
        }
    }

    #[test]
    fn a_value_of_another_size_names_the_field() {
        let error = u32s::<2>("image size", &[0; 7]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the field `image size` has 7 bytes instead of 8"
        );
    }
}
