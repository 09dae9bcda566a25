//! The directories of a TIFF, which EXIF has too: fields by tag (TIFF 6.0, section 2; BigTIFF).
//!
//! Invariant: nothing outside the bytes is read or believed; a field whose value lies outside is not there.

/// A TIFF's bytes, from its header on.
#[derive(Clone, Copy)]
pub(super) struct Tiff<'a> {
    bytes: &'a [u8],
    little: bool,
    /// Offsets and counts of 8 bytes, not 4.
    big: bool,
}

/// One entry of a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) tag: u16,
    pub(super) kind: u16,
    pub(super) count: u64,
    /// Where in the bytes the entry's value field lies, which holds the value or its offset.
    pub(super) slot: usize,
    /// The value, where it lies inside the bytes.
    value: Option<&'a [u8]>,
    little: bool,
}

/// A type of fields.
pub(super) const ASCII: u16 = 2;

impl<'a> Tiff<'a> {
    /// Nothing if the bytes don't begin as a TIFF does.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (little, big) = match bytes.get(..4)? {
            b"II*\0" => (true, false),
            b"MM\0*" => (false, false),
            b"II+\0" => (true, true),
            b"MM\0+" => (false, true),
            _ => return None,
        };
        Some(Self { bytes, little, big })
    }

    /// The fields of the first directory.
    pub(super) fn first(self) -> impl Iterator<Item = Field<'a>> {
        let at = self.offset(if self.big { 8 } else { 4 });
        self.fields(at.unwrap_or(self.bytes.len()))
    }

    /// The fields of the directory at an offset, up to the first that isn't whole.
    pub(super) fn fields(self, at: usize) -> impl Iterator<Item = Field<'a>> {
        let (start, count) = self.extent(at).unwrap_or_default();
        let size = self.entry_size();
        (0..count).map_while(move |i| self.field(start + i * size))
    }

    /// Whether a second directory, another image, follows the first.
    pub(super) fn has_second(self) -> bool {
        let next = || {
            let (start, count) = self.extent(self.offset(if self.big { 8 } else { 4 })?)?;
            self.offset(start.checked_add(count.checked_mul(self.entry_size())?)?)
        };
        next().is_some_and(|offset| offset != 0)
    }

    /// Where the entries of the directory at an offset start, and how many there are.
    fn extent(self, at: usize) -> Option<(usize, usize)> {
        let width = if self.big { 8 } else { 2 };
        let count = usize::try_from(self.number(at, width)?).ok()?;
        Some((at.checked_add(width)?, count))
    }

    fn entry_size(self) -> usize {
        if self.big { 20 } else { 12 }
    }

    fn field(self, at: usize) -> Option<Field<'a>> {
        let width = if self.big { 8 } else { 4 };
        let tag = self.number(at, 2)? as u16;
        let kind = self.number(at + 2, 2)? as u16;
        let count = self.number(at + 4, width)?;
        let slot = at + 4 + width;
        let inline = self.bytes.get(slot..slot.checked_add(width)?)?;
        let value = || {
            let length = usize::try_from(count.checked_mul(size_of(kind)?)?).ok()?;
            match inline.get(..length) {
                Some(value) => Some(value),
                None => self.bytes.get(self.offset(slot)?..)?.get(..length),
            }
        };
        Some(Field {
            tag,
            kind,
            count,
            slot,
            value: value(),
            little: self.little,
        })
    }

    fn offset(self, at: usize) -> Option<usize> {
        usize::try_from(self.number(at, if self.big { 8 } else { 4 })?).ok()
    }

    fn number(self, at: usize, width: usize) -> Option<u64> {
        Some(number(
            self.bytes.get(at..at.checked_add(width)?)?,
            self.little,
        ))
    }
}

impl<'a> Field<'a> {
    /// The first number of a field of whole numbers.
    pub(super) fn number(&self) -> Option<u64> {
        self.numbers().first().copied()
    }

    /// The numbers of a field of whole ones.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let size = match self.kind {
            1 | 3 | 4 | 13 | 16 | 18 => size_of(self.kind).unwrap_or(1),
            _ => return Vec::new(),
        };
        let value = self.value.unwrap_or_default().chunks_exact(size as usize);
        value.map(|digits| number(digits, self.little)).collect()
    }

    /// The fractions of a field of unsigned ones.
    pub(super) fn fractions(&self) -> Vec<f64> {
        let value = self.value.filter(|_| self.kind == 5).unwrap_or_default();
        let part = |digits: &[u8]| number(digits, self.little) as f64;
        let fraction = |pair: &[u8; 8]| part(&pair[..4]) / part(&pair[4..]);
        value.as_chunks().0.iter().map(fraction).collect()
    }

    /// The text of a field of text, up to its first zero byte, without blanks around it.
    pub(super) fn text(&self) -> Option<String> {
        let bytes = self.value.filter(|_| self.kind == ASCII)?;
        let text = bytes.split(|&byte| byte == 0).next()?;
        let text = String::from_utf8_lossy(text).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// The value as it lies in the file.
    pub(super) fn bytes(&self) -> Option<&'a [u8]> {
        self.value
    }
}

/// Bytes of one number of a type, or nothing if the type is unknown.
fn size_of(kind: u16) -> Option<u64> {
    Some(match kind {
        1 | ASCII | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => return None,
    })
}

fn number(digits: &[u8], little: bool) -> u64 {
    let push = |number, &byte| number << 8 | u64::from(byte);
    if little {
        digits.iter().rev().fold(0, push)
    } else {
        digits.iter().fold(0, push)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ImageFormat, WriteOptions, write_image};
    use super::*;
    use crate::pixels::Pixels;

    #[test]
    fn a_link_to_a_second_directory_is_seen() {
        let pixels = Pixels::from_rgb(1, 1, vec![1, 2, 3]).unwrap();
        let mut tiff = write_image(&pixels, ImageFormat::Tiff, &WriteOptions::default()).unwrap();
        assert!(!Tiff::new(&tiff).unwrap().has_second());
        let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
        let link = directory + 2 + 12 * usize::from(tiff[directory]);
        tiff[link] = 8;
        assert!(Tiff::new(&tiff).unwrap().has_second());
        let none = b"MM\0*\0\0\0\x08\0\0\0\0\0\x09";
        assert!(Tiff::new(none).unwrap().has_second());
        let outside = b"II*\0\xff\xff\xff\xff";
        assert!(!Tiff::new(outside).unwrap().has_second());
    }

    /// One field of two shorts, inline in the ordinary form and in that of 8-byte offsets, and one of three.
    #[test]
    fn values_are_found_inline_and_behind_offsets_in_both_byte_orders() {
        let little = b"II*\0\x08\0\0\0\x02\0\
            \x01\0\x03\0\x02\0\0\0\x05\0\x06\0\
            \x02\0\x03\0\x03\0\0\0\x26\0\0\0\
            \0\0\0\0\x07\0\x08\0\x09\0";
        let big = b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x01\
            \0\x01\0\x03\0\0\0\0\0\0\0\x02\0\x05\0\x06\0\0\0\0";
        let numbers = |bytes| {
            let fields = Tiff::new(bytes).unwrap().first();
            fields.map(|field| field.numbers()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&little[..]), [vec![5, 6], vec![7, 8, 9]]);
        assert_eq!(numbers(&big[..]), [vec![5, 6]]);
        assert_eq!(numbers(&little[..little.len() - 1]), [vec![5, 6], vec![]]);
    }

    #[test]
    fn counts_and_offsets_of_any_size_lead_nowhere() {
        let mut bytes = b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0".to_vec();
        bytes.extend([0xff; 40]);
        let tiff = Tiff::new(&bytes).unwrap();
        assert!(tiff.first().all(|field| field.numbers().is_empty()));
        assert!(!tiff.has_second());
    }
}
