//! The header of a segment whose own header is damaged.
//!
//! Invariant: a header is believed only if the checksum of a frame, which begins with the header's,
//! says so; or, where there is no frame, if one flipped bit explains what is there.

use twox_hash::XxHash3_64;

use super::blocks::Blocks;
use super::sweep::find_magic;
use crate::backend::local::disk::MediumFile;
use crate::backend::local::frame::{self, Head};
use crate::backend::local::segment::{Compacted, Header, StoreId};
use crate::error::Result;

/// Places that begin like a frame and are tried.
const TRIES: usize = 256;

/// What is known from elsewhere of a segment with a damaged header.
pub(super) struct Hints {
    pub(super) number: u32,
    pub(super) store: Option<StoreId>,
    /// Operations that other segments end before.
    pub(super) firsts: Vec<u64>,
}

/// The header that `file` must have had; `None` if that can't be told.
pub(super) fn recover(file: &MediumFile, hints: &Hints) -> Result<Option<Header>> {
    let size = file.len()?;
    let mut blocks = Blocks::new(file, size);
    let begin: Vec<u8> = blocks.at(0, 128).iter().take(128).copied().collect();
    let near = near(&begin);
    let mut guesses = near.clone();
    guesses.extend(made_up(hints));
    let mut from = 0;
    for _ in 0..TRIES {
        let Some(offset) = find_magic(&mut blocks, from..size, &mut |_| ()) else {
            break;
        };
        let bytes = blocks.at(offset, frame::MAX_HEAD as u64);
        let fits =
            |header: &&Header| Head::read(header.seed().wrapping_add(offset), bytes).is_some();
        if let Some(header) = guesses.iter().find(fits) {
            return Ok(Some(*header));
        }
        from = offset + 1;
    }
    let empty = |header: &&Header| header.to_bytes().len() as u64 == size;
    Ok(near.iter().find(empty).copied())
}

/// Headers that differ from `begin` in one bit, or in the checksum.
fn near(begin: &[u8]) -> Vec<Header> {
    let model = Header {
        store: [0; 16],
        number: 1,
        first_sequence: 1,
        compacted: None,
    };
    let compacted = Compacted {
        last_sequence: 1,
        frames: 0,
        retained: 0,
    };
    let longer = Header {
        compacted: Some(compacted),
        ..model
    };
    let mut found = Vec::new();
    for model in [model, longer] {
        let length = model.to_bytes().len();
        let Some(bytes) = begin.get(..length) else {
            continue;
        };
        let (content, checksum) = bytes.split_at(length - frame::CHECKSUM);
        let read = |content: &[u8]| {
            let sum = XxHash3_64::oneshot(content).to_le_bytes();
            let header = Header::read(&[content, &sum].concat(), "").ok()??.0;
            (header.to_bytes() == [content, &sum].concat()).then_some(header)
        };
        found.extend(read(content));
        let mut content = content.to_vec();
        for bit in 0..content.len() * 8 {
            content[bit / 8] ^= 1 << (bit % 8);
            if XxHash3_64::oneshot(&content).to_le_bytes() == checksum {
                found.extend(read(&content));
            }
            content[bit / 8] ^= 1 << (bit % 8);
        }
    }
    found
}

/// Headers as the writer would have made them.
fn made_up(hints: &Hints) -> impl Iterator<Item = Header> {
    let header = |(first_sequence, store)| Header {
        store,
        number: hints.number,
        first_sequence,
        compacted: None,
    };
    let firsts = hints.firsts.iter().copied();
    firsts.zip(hints.store.iter().copied().cycle()).map(header)
}
