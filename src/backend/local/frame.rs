//! A frame: one operation as it lies in a segment.
//!
//! Invariant: every byte is under a checksum seeded with the segment and the offset, so a frame is
//! valid only where it was written. Layout, little-endian:
//!
//! ```text
//! magic "LDBF" | kind u8 | flags u8 | key length u16 | facts length u16 | reserved u16
//! unsynced frames before u32 | body length u64 | sequence number u64
//! key | facts | XXH3-64 of all before | body | XXH3-64 of the body
//! ```
//!
//! Sequence numbers count operations from 1 through the whole log. A batch counts only if its last
//! frame is there. Each frame says how many before it were not yet known to be on the medium when
//! it was written: so a torn write can be told from damage to what had been synced.

use twox_hash::XxHash3_64;

use crate::backend::{MAX_FACTS_BYTES, MAX_KEY_BYTES};

pub(super) const MAGIC: [u8; 4] = *b"LDBF";
const PREFIX: usize = 32;
pub(super) const CHECKSUM: usize = 8;
/// The longest head: a scan that holds this many bytes can check any.
pub(super) const MAX_HEAD: usize = PREFIX + MAX_KEY_BYTES + MAX_FACTS_BYTES + CHECKSUM;

/// The frame is the last of its batch.
const FLAG_LAST: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Put = 1,
    Delete = 2,
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Kind::Put),
            2 => Some(Kind::Delete),
            _ => None,
        }
    }
}

/// Everything of a frame but its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    /// Frames before this one that were not yet known to be on the medium.
    pub(super) unsynced: u32,
    pub(super) last: bool,
    pub(super) sequence: u64,
    pub(super) key: Vec<u8>,
    pub(super) facts: Vec<u8>,
    pub(super) body_len: u64,
}

impl Head {
    /// Bytes before the body.
    pub(super) fn len(&self) -> u64 {
        (PREFIX + self.key.len() + self.facts.len() + CHECKSUM) as u64
    }

    /// The first operation that was not yet known to be on the medium when this frame was written.
    pub(super) fn first_unsynced(&self) -> u64 {
        self.sequence.saturating_sub(self.unsynced.into())
    }

    /// Bytes of the whole frame; `None` if the body's length is absurd.
    pub(super) fn frame_len(&self) -> Option<u64> {
        Self::frame_len_of(self.key.len(), self.facts.len(), self.body_len)
    }

    /// Bytes of a frame with a key, facts and a body of these lengths.
    pub(super) fn frame_len_of(key: usize, facts: usize, body: u64) -> Option<u64> {
        body.checked_add((PREFIX + key + facts + 2 * CHECKSUM) as u64)
    }

    /// Appends the frame with `body`, which is to lie at the offset that `seed` was made for.
    pub(super) fn write(&self, seed: u64, body: &[u8], out: &mut Vec<u8>) {
        debug_assert_eq!(self.body_len, body.len() as u64);
        self.write_head(seed, out);
        out.extend_from_slice(body);
        out.extend_from_slice(&checksum(seed, body));
    }

    /// Appends what comes before the body.
    pub(super) fn write_head(&self, seed: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.push(self.kind as u8);
        out.push(if self.last { FLAG_LAST } else { 0 });
        out.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.facts.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.unsynced.to_le_bytes());
        out.extend_from_slice(&self.body_len.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.facts);
        let checksum = checksum(seed, &out[start..]);
        out.extend_from_slice(&checksum);
    }

    /// The head at the beginning of `bytes`, if one that was written for `seed` lies there.
    pub(super) fn read(seed: u64, bytes: &[u8]) -> Option<Self> {
        HeadView::read(seed, bytes).map(|head| Self {
            kind: head.kind,
            unsynced: head.unsynced,
            last: head.last,
            sequence: head.sequence,
            key: head.key.to_vec(),
            facts: head.facts.to_vec(),
            body_len: head.body_len,
        })
    }
}

/// A head where it was read, without copies of key and facts.
pub(super) struct HeadView<'a> {
    kind: Kind,
    unsynced: u32,
    last: bool,
    pub(super) sequence: u64,
    pub(super) key: &'a [u8],
    facts: &'a [u8],
    body_len: u64,
}

impl<'a> HeadView<'a> {
    /// As [`Head::read`].
    pub(super) fn read(seed: u64, bytes: &'a [u8]) -> Option<Self> {
        let prefix = bytes.first_chunk::<PREFIX>()?;
        if !prefix.starts_with(&MAGIC) {
            return None;
        }
        let number16 = |at: usize| u16::from_le_bytes([prefix[at], prefix[at + 1]]) as usize;
        let number64 = |at: usize| prefix[at..].first_chunk().map(|b| u64::from_le_bytes(*b));
        let (key, facts) = (number16(6), number16(8));
        if !(1..=MAX_KEY_BYTES).contains(&key) || facts > MAX_FACTS_BYTES {
            return None;
        }
        let end = PREFIX + key + facts;
        let checksum = bytes.get(end..end + CHECKSUM)?;
        if self::checksum(seed, &bytes[..end]) != checksum {
            return None;
        }
        Some(Self {
            kind: Kind::from_byte(prefix[4])?,
            unsynced: u32::from_le_bytes(*prefix[12..].first_chunk()?),
            last: prefix[5] & FLAG_LAST != 0,
            sequence: number64(24)?,
            key: &bytes[PREFIX..PREFIX + key],
            facts: &bytes[PREFIX + key..end],
            body_len: number64(16)?,
        })
    }

    /// As [`Head::len`].
    pub(super) fn len(&self) -> usize {
        PREFIX + self.key.len() + self.facts.len() + CHECKSUM
    }

    /// As [`Head::frame_len`].
    pub(super) fn frame_len(&self) -> Option<u64> {
        Head::frame_len_of(self.key.len(), self.facts.len(), self.body_len)
    }
}

/// What lies behind a head, and behind a body.
pub(super) fn checksum(seed: u64, bytes: &[u8]) -> [u8; CHECKSUM] {
    XxHash3_64::oneshot_with_seed(seed, bytes).to_le_bytes()
}

/// The body in `bytes`, which hold body and checksum, if it is the one that was written.
pub(super) fn checked_body(seed: u64, bytes: &[u8]) -> Option<&[u8]> {
    let (body, written) = bytes.split_last_chunk()?;
    (checksum(seed, body) == *written).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(body: &[u8]) -> Head {
        Head {
            kind: Kind::Put,
            unsynced: 3,
            last: true,
            sequence: 42,
            key: b"key".to_vec(),
            facts: b"facts".to_vec(),
            body_len: body.len() as u64,
        }
    }

    #[test]
    fn a_frame_comes_back_where_it_was_written_and_nowhere_else() {
        let (head, mut bytes) = (head(b"body"), Vec::new());
        head.write(7, b"body", &mut bytes);
        assert_eq!(bytes.len() as u64, head.frame_len().unwrap());
        assert_eq!(Head::read(7, &bytes).as_ref(), Some(&head));
        assert_eq!(
            checked_body(7, &bytes[head.len() as usize..]),
            Some(&b"body"[..])
        );
        assert_eq!(Head::read(8, &bytes), None);
        assert_eq!(checked_body(8, &bytes[head.len() as usize..]), None);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_noticed() {
        let (head, mut bytes) = (head(b"body"), Vec::new());
        head.write(7, b"body", &mut bytes);
        let valid = |bytes: &[u8]| {
            Head::read(7, bytes).is_some_and(|h| {
                bytes.len() as u64 == h.frame_len().unwrap()
                    && checked_body(7, &bytes[h.len() as usize..]).is_some()
            })
        };
        assert!(valid(&bytes));
        for at in 0..bytes.len() {
            assert!(!valid(&bytes[..at]), "cut to {at}");
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(!valid(&damaged), "bit {bit} of byte {at}");
            }
        }
    }
}
