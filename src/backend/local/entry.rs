//! An entry of the index: where the newest frame of a key lies, and its facts, as bytes.
//!
//! Invariant: its hash covers the key and every byte of the entry, so that the sum over all entries
//! tells one index from another. Layout, little-endian:
//!
//! ```text
//! segment u32 | offset u64 | frame length u64 | sequence number u64 | facts
//! ```

use twox_hash::XxHash3_64;

use super::footer::Latest;
use super::frame::Kind;
use super::segment::Location;
use crate::error::{Error, Result};

const PREFIX: usize = 28;

/// The hash of what the index says of `key`.
pub(super) fn entry_hash(key: &[u8], latest: &Latest) -> u64 {
    hash(key, &write_entry(latest))
}

pub(super) fn hash(key: &[u8], entry: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(key), entry)
}

pub(super) fn write_entry(latest: &Latest) -> Vec<u8> {
    let location = &latest.location;
    let mut out = Vec::with_capacity(PREFIX + latest.facts.len());
    out.extend_from_slice(&location.segment.to_le_bytes());
    out.extend_from_slice(&location.offset.to_le_bytes());
    out.extend_from_slice(&location.frame_len.to_le_bytes());
    out.extend_from_slice(&location.sequence.to_le_bytes());
    out.extend_from_slice(&latest.facts);
    out
}

pub(super) fn read_entry(bytes: &[u8]) -> Result<Latest> {
    let damaged = || Error::corrupted("an entry of the index is damaged");
    let (prefix, facts) = bytes.split_first_chunk::<PREFIX>().ok_or_else(damaged)?;
    let [s0, s1, s2, s3, rest @ ..] = *prefix;
    let (numbers, _) = rest.as_chunks::<8>();
    Ok(Latest {
        kind: Kind::Put,
        location: Location {
            segment: u32::from_le_bytes([s0, s1, s2, s3]),
            offset: u64::from_le_bytes(numbers[0]),
            frame_len: u64::from_le_bytes(numbers[1]),
            sequence: u64::from_le_bytes(numbers[2]),
        },
        facts: facts.to_vec(),
    })
}
