//! The boxes that an AVIF file is made of (ISO/IEC 14496-12, section 4.2): typed, with a length, nested.
//!
//! Invariant: nothing is read outside the box it belongs to, and what ends early is `None`.

/// What is left to be read of a box.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

/// The type of a box.
pub(super) type Kind = [u8; 4];

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `length` bytes, at most 8, the most significant first; of none it is 0.
    pub(super) fn number(&mut self, length: usize) -> Option<u64> {
        let digits = self.take(length)?.iter();
        Some(digits.fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(self.number(2)? as u16)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(self.number(4)? as u32)
    }

    pub(super) fn kind(&mut self) -> Option<Kind> {
        self.take(4)?.try_into().ok()
    }

    /// The version and the flags with which a full box begins.
    pub(super) fn version(&mut self) -> Option<(u8, u32)> {
        let both = self.u32()?;
        Some(((both >> 24) as u8, both & 0x00ff_ffff))
    }

    /// The boxes in what is left. One that is cut short is `None`, and the last.
    pub(super) fn boxes(self) -> impl Iterator<Item = Option<(Kind, Cursor<'a>)>> {
        let mut rest = Some(self).filter(|cursor| !cursor.0.is_empty());
        std::iter::from_fn(move || {
            let mut cursor = rest?;
            let found = cursor.next_box();
            rest = Some(cursor).filter(|cursor| found.is_some() && !cursor.0.is_empty());
            Some(found)
        })
    }

    /// The boxes in what is left, if all of them are whole.
    pub(super) fn whole_boxes(self) -> Option<Vec<(Kind, Cursor<'a>)>> {
        self.boxes().collect()
    }

    fn next_box(&mut self) -> Option<(Kind, Cursor<'a>)> {
        let (mut length, kind) = (u64::from(self.u32()?), self.kind()?);
        let mut header = 8;
        if length == 1 {
            length = self.number(8)?;
            header = 16;
        }
        let body = match length {
            // To the end of the file.
            0 => self.0.len(),
            _ => usize::try_from(length.checked_sub(header)?).ok()?,
        };
        Some((kind, Cursor(self.take(body)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(bytes: &[u8]) -> Option<Vec<(Kind, usize)>> {
        let whole = Cursor(bytes).whole_boxes()?;
        Some(
            whole
                .iter()
                .map(|(kind, body)| (*kind, body.0.len()))
                .collect(),
        )
    }

    #[test]
    fn boxes_follow_one_another_with_short_long_and_open_lengths() {
        let bytes = b"\0\0\0\x09ftypX\0\0\0\x01free\0\0\0\0\0\0\0\x12..\0\0\0\0mdatabc";
        let expected = [(*b"ftyp", 1), (*b"free", 2), (*b"mdat", 3)];
        assert_eq!(kinds(bytes).unwrap(), expected);
        assert_eq!(kinds(b""), Some(vec![]));
    }

    #[test]
    fn a_box_that_is_cut_short_or_shorter_than_its_header_is_none() {
        for bytes in [
            &b"\0\0\0\x0aftypX"[..],
            b"\0\0\0\x07ftyp",
            b"\0\0\0",
            b"\0\0\0\x01free\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let after_a_whole_one = [b"\0\0\0\x08skip", bytes].concat();
            assert_eq!(kinds(&after_a_whole_one), None);
            let mut found = Cursor(&after_a_whole_one).boxes();
            assert!(found.next().unwrap().is_some());
            assert!(found.next().unwrap().is_none());
            assert!(found.next().is_none());
        }
    }

    #[test]
    fn numbers_are_big_endian_and_of_any_length() {
        let mut cursor = Cursor(&[1, 2, 3, 4, 5, 6]);
        assert_eq!(cursor.number(3), Some(0x01_02_03));
        assert_eq!(cursor.number(0), Some(0));
        assert_eq!(cursor.u16(), Some(0x0405));
        assert_eq!(cursor.u16(), None);
        assert_eq!(cursor.u8(), Some(6));
    }
}
