//! The index by key: a sled tree of small entries, always replaceable by a walk over the log.
//!
//! Invariant: what it holds is exactly what the log says up to its checkpoint, because both are
//! written in one atomic sled batch; a panic inside sled becomes an error. The only user of `sled`.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::footer::Latest;
use super::frame::Kind;
use super::segment::{Location, StoreId};
use crate::error::{Error, ErrorKind, Result};

/// Entries stand under their key behind this byte, the checkpoint under another.
const ENTRY: u8 = b'e';
const CHECKPOINT: &[u8] = b"c";
const ENTRY_PREFIX: usize = 28;
const CHECKPOINT_LEN: usize = 16 + 4 + 8 + 8 + 8 + 1;

/// Bounds sled's page cache; entries of a million records fit.
const CACHE_BYTES: u64 = 64 << 20;

/// sled gives its lock up a moment after it was dropped.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// How far into the log the index reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) store: StoreId,
    /// Where the next batch begins.
    pub(super) segment: u32,
    pub(super) offset: u64,
    /// The last sequence number that is in the index.
    pub(super) sequence: u64,
    /// Keys in the index.
    pub(super) keys: u64,
    /// The index was closed in order, so `keys` needn't be counted again.
    pub(super) clean: bool,
}

pub(super) struct Index {
    tree: sled::Tree,
    db: sled::Db,
    checkpoint: Mutex<Option<Checkpoint>>,
}

/// Runs a call of sled; its errors and its panics become ours.
fn guarded<T>(doing: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            Err(Error::new(ErrorKind::Io, format!("the index can't {doing}")).with_source(error))
        }
        Err(_) => Err(Error::new(
            ErrorKind::Io,
            format!("the index stopped with a panic when asked to {doing}"),
        )),
    }
}

impl Index {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES);
        let deadline = Instant::now() + LOCK_PATIENCE;
        let db = loop {
            match guarded("open", || config.open()) {
                Err(error) if is_lock(&error) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => break other?,
            }
        };
        let tree = guarded("open its tree", || db.open_tree("index"))?;
        let checkpoint = guarded("read its checkpoint", || tree.get(CHECKPOINT))?;
        let checkpoint = checkpoint.and_then(|bytes| read_checkpoint(&bytes));
        Ok(Self {
            tree,
            db,
            checkpoint: Mutex::new(checkpoint),
        })
    }

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        *self
            .checkpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries really there, counted one by one.
    pub(super) fn count(&self) -> Result<u64> {
        guarded(
            "count",
            || Ok(self.tree.scan_prefix([ENTRY]).count() as u64),
        )
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Latest>> {
        let value = guarded("read", || self.tree.get(entry_key(key)))?;
        value.map(|bytes| read_entry(&bytes)).transpose()
    }

    /// Applies what the log says next and moves the checkpoint, in one atomic step.
    ///
    /// `reached` is the checkpoint after it, but for `keys` and `clean`.
    pub(super) fn apply(&self, news: &[(Vec<u8>, Latest)], reached: Checkpoint) -> Result<()> {
        let mut checkpoint = self
            .checkpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut keys = checkpoint.map_or(0, |c| c.keys);
        let mut batch = sled::Batch::default();
        let mut there = HashMap::new();
        for (key, latest) in news {
            let before = match there.get(key.as_slice()) {
                Some(&before) => before,
                None => guarded("look up", || self.tree.contains_key(entry_key(key)))?,
            };
            let after = latest.kind == Kind::Put;
            if after {
                batch.insert(entry_key(key), write_entry(latest));
            } else {
                batch.remove(entry_key(key));
            }
            keys = keys + u64::from(after) - u64::from(before);
            there.insert(key.as_slice(), after);
        }
        let reached = Checkpoint {
            keys,
            clean: false,
            ..reached
        };
        batch.insert(CHECKPOINT, write_checkpoint(&reached));
        guarded("write", || self.tree.apply_batch(batch))?;
        *checkpoint = Some(reached);
        Ok(())
    }

    /// Entries whose keys begin with `prefix` and are not less than `from`.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Latest)>> + Send + use<> {
        let prefix = entry_key(prefix);
        let mut iter = self.tree.range(prefix.clone().max(entry_key(from))..);
        std::iter::from_fn(move || {
            let next = guarded("list", || iter.next().transpose());
            match next {
                Ok(Some((key, _))) if !key.starts_with(&prefix) => None,
                Ok(Some((key, value))) => {
                    Some(read_entry(&value).map(|latest| (key[1..].to_vec(), latest)))
                }
                Ok(None) => None,
                Err(error) => Some(Err(error)),
            }
        })
    }

    /// Marks the index as closed in order. Without it, the next opening counts the entries.
    pub(super) fn close(&self) -> Result<()> {
        let checkpoint = self
            .checkpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(reached) = checkpoint.filter(|c| !c.clean) {
            let clean = write_checkpoint(&Checkpoint {
                clean: true,
                ..reached
            });
            guarded("write its checkpoint", || {
                self.tree.insert(CHECKPOINT, clean)
            })?;
        }
        guarded("flush", || self.db.flush()).map(drop)
    }
}

fn is_lock(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|e| e.to_string().contains("acquire lock"))
}

fn entry_key(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(ENTRY);
    out.extend_from_slice(key);
    out
}

fn write_entry(latest: &Latest) -> Vec<u8> {
    let location = &latest.location;
    let mut out = Vec::with_capacity(ENTRY_PREFIX + latest.facts.len());
    out.extend_from_slice(&location.segment.to_le_bytes());
    out.extend_from_slice(&location.offset.to_le_bytes());
    out.extend_from_slice(&location.frame_len.to_le_bytes());
    out.extend_from_slice(&location.sequence.to_le_bytes());
    out.extend_from_slice(&latest.facts);
    out
}

fn read_entry(bytes: &[u8]) -> Result<Latest> {
    let damaged = || Error::corrupted("an entry of the index is damaged");
    let (prefix, facts) = bytes
        .split_first_chunk::<ENTRY_PREFIX>()
        .ok_or_else(damaged)?;
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

fn write_checkpoint(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut out = Vec::with_capacity(CHECKPOINT_LEN);
    out.extend_from_slice(&checkpoint.store);
    out.extend_from_slice(&checkpoint.segment.to_le_bytes());
    out.extend_from_slice(&checkpoint.offset.to_le_bytes());
    out.extend_from_slice(&checkpoint.sequence.to_le_bytes());
    out.extend_from_slice(&checkpoint.keys.to_le_bytes());
    out.push(checkpoint.clean.into());
    out
}

/// `None` where the bytes are no checkpoint: then the index is made anew.
fn read_checkpoint(bytes: &[u8]) -> Option<Checkpoint> {
    let bytes: &[u8; CHECKPOINT_LEN] = bytes.try_into().ok()?;
    let (store, rest) = bytes.split_first_chunk::<16>()?;
    let (segment, rest) = rest.split_first_chunk::<4>()?;
    let (numbers, clean) = rest.as_chunks::<8>();
    let [offset, sequence, keys] = *numbers else {
        return None;
    };
    Some(Checkpoint {
        store: *store,
        segment: u32::from_le_bytes(*segment),
        offset: u64::from_le_bytes(offset),
        sequence: u64::from_le_bytes(sequence),
        keys: u64::from_le_bytes(keys),
        clean: clean == [1],
    })
}
