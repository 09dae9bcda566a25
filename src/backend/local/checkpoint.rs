//! How far into the log the index reaches, and the file that vouches for it after a close in order.
//!
//! Invariant: the file `closed` is there only while no writer has the store open, and was written
//! after the index was on the medium: an index that says the same needn't be looked through. Under
//! the name `opened` it no longer vouches for the index, but still for operations in the log.

use std::path::Path;

use twox_hash::XxHash3_64;

use super::disk::Medium;
use super::segment::StoreId;
use crate::error::{Error, Result};

/// The file's name in the store's folder, and its name while a writer is at work.
pub(super) const CLOSED: &str = "closed";
pub(super) const OPENED: &str = "opened";

/// Where the log stands after some operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// Where the next batch begins, as long as the segment isn't sealed.
    pub(super) segment: u32,
    pub(super) offset: u64,
    /// The last operation before it.
    pub(super) sequence: u64,
    /// The last operation that was on the medium.
    pub(super) synced: u64,
    /// Where that operation's frame begins, and the hash of its entry: tells this log from another
    /// one of the same store, such as a backup that was put back and written to.
    pub(super) last_offset: u64,
    pub(super) last_hash: u64,
}

/// What the index says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) store: StoreId,
    pub(super) position: Position,
    /// The number of the newest compacted segment that the index knows; 0 for none.
    pub(super) compacted: u32,
    /// Keys in the index.
    pub(super) keys: u64,
    /// Sum of the hashes of all entries.
    pub(super) digest: u64,
}

const LEN: usize = 16 + 4 + 4 + 7 * 8;

impl Checkpoint {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let position = self.position;
        let mut out = Vec::with_capacity(LEN);
        out.extend_from_slice(&self.store);
        out.extend_from_slice(&position.segment.to_le_bytes());
        out.extend_from_slice(&self.compacted.to_le_bytes());
        for number in [
            position.offset,
            position.sequence,
            position.synced,
            position.last_offset,
            position.last_hash,
            self.keys,
            self.digest,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    /// `None` where the bytes are no checkpoint: then the index is made anew.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let (store, rest) = bytes.split_first_chunk::<16>()?;
        let (segment, rest) = rest.split_first_chunk::<4>()?;
        let (compacted, rest) = rest.split_first_chunk::<4>()?;
        let (numbers, _) = rest.as_chunks::<8>();
        let number = |at: usize| u64::from_le_bytes(numbers[at]);
        Some(Self {
            store: *store,
            position: Position {
                segment: u32::from_le_bytes(*segment),
                offset: number(0),
                sequence: number(1),
                synced: number(2),
                last_offset: number(3),
                last_hash: number(4),
            },
            compacted: u32::from_le_bytes(*compacted),
            keys: number(5),
            digest: number(6),
        })
    }
}

/// What is known of a store from its last close in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LastClose {
    /// What the index said, if no writer was at work since.
    pub(super) closed: Option<Checkpoint>,
    /// The last operation that was on the medium.
    pub(super) synced: u64,
}

/// Reads what the last close of `store` in `folder` left.
pub(super) fn last_close(medium: &Medium, folder: &Path, store: StoreId) -> Result<LastClose> {
    let ours = |c: &Checkpoint| c.store == store;
    let closed = closed_at(medium, folder)?.filter(ours);
    let opened = opened_at(medium, folder)?.filter(ours);
    let synced = closed.iter().chain(&opened).map(|c| c.position.synced);
    Ok(LastClose {
        closed,
        synced: synced.max().unwrap_or(0),
    })
}

/// What `closed` says; `None` also where it fails its checksum.
pub(super) fn closed_at(medium: &Medium, folder: &Path) -> Result<Option<Checkpoint>> {
    let bytes = medium.read(&folder.join(CLOSED))?;
    Ok(bytes.and_then(|bytes| checked(&bytes)))
}

/// What `opened` says; `None` also where it fails its checksum.
pub(super) fn opened_at(medium: &Medium, folder: &Path) -> Result<Option<Checkpoint>> {
    let bytes = medium.read(&folder.join(OPENED))?;
    Ok(bytes.and_then(|bytes| checked(&bytes)))
}

fn checked(bytes: &[u8]) -> Option<Checkpoint> {
    let (content, checksum) = bytes.split_last_chunk::<8>()?;
    let fits = XxHash3_64::oneshot(content) == u64::from_le_bytes(*checksum);
    Checkpoint::from_bytes(content).filter(|_| fits)
}

/// Says that the store in `folder` was closed in order at `checkpoint`.
pub(super) fn write_closed(medium: &Medium, folder: &Path, checkpoint: &Checkpoint) -> Result<()> {
    let mut bytes = checkpoint.to_bytes();
    bytes.extend_from_slice(&XxHash3_64::oneshot(&bytes).to_le_bytes());
    medium.write_atomic(&folder.join(CLOSED), &bytes)?;
    medium.remove(&folder.join(OPENED))
}

/// Says, durably, that a writer is at work in `folder`, before anything changes.
pub(super) fn mark_opened(medium: &Medium, folder: &Path, last: &LastClose) -> Result<()> {
    for left in medium.unfinished(folder, CLOSED)? {
        medium.remove(&left)?;
    }
    if last.closed.is_some() {
        return medium.rename(&folder.join(CLOSED), &folder.join(OPENED));
    }
    Ok(())
}

/// # Errors
/// `Corrupted` if the log ends before `synced`, the last operation known to have been on the
/// medium: then acknowledged records are gone, or so damaged that no frame is to be seen.
pub(super) fn check_log_reaches(log_ends: u64, synced: u64) -> Result<()> {
    if synced <= log_ends {
        return Ok(());
    }
    Err(Error::corrupted(format!(
        "the log ends at operation {log_ends}, but {synced} were acknowledged: segments are damaged, \
         lost or put back from an older copy"
    ))
    .with_hint(
        "latentdb verify says where; latentdb repair saves what is left",
    ))
}
