//! Changes to the index's tree that become one atomic batch, with the sums that go with them.
//!
//! Invariant: keys, digest and bytes in use that a batch writes are those of the entries as they
//! are after it.

use std::collections::BTreeMap;

use super::checkpoint::{Checkpoint, Position};
use super::entry::{hash, read_entry, write_entry};
use super::footer::Latest;
use super::segment::StoreId;
use super::tree::{CHECKPOINT, LIVE, State, entry_key, guarded};
use crate::error::Result;

/// A batch for the tree, in which each key is changed once at most.
pub(super) struct Change<'a> {
    tree: &'a sled::Tree,
    batch: sled::Batch,
    keys: u64,
    digest: u64,
    live: BTreeMap<u32, u64>,
    touched: Vec<u32>,
}

impl<'a> Change<'a> {
    pub(super) fn new(tree: &'a sled::Tree, state: &State) -> Self {
        let (keys, digest) = state.checkpoint.map_or((0, 0), |c| (c.keys, c.digest));
        Self {
            tree,
            batch: sled::Batch::default(),
            keys,
            digest,
            live: state.live.clone(),
            touched: Vec::new(),
        }
    }

    /// What the tree says of `key` before the batch.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Latest>> {
        let value = guarded("look up", || self.tree.get(entry_key(key)))?;
        value.map(|bytes| read_entry(&bytes)).transpose()
    }

    /// Gives `key` an entry, or takes it away.
    pub(super) fn set(&mut self, key: &[u8], latest: Option<&Latest>) -> Result<()> {
        if let Some(before) = self.get(key)? {
            self.keys -= 1;
            let entry = write_entry(&before);
            self.digest = self.digest.wrapping_sub(hash(key, &entry));
            let live = self.live.entry(before.location.segment).or_default();
            *live = live.saturating_sub(before.location.frame_len);
            self.touched.push(before.location.segment);
        }
        match latest {
            Some(after) => self.insert(key, after),
            None => self.batch.remove(entry_key(key)),
        }
        Ok(())
    }

    /// Inserts the entry of a key that has none.
    pub(super) fn insert(&mut self, key: &[u8], latest: &Latest) {
        self.keys += 1;
        let entry = write_entry(latest);
        self.digest = self.digest.wrapping_add(hash(key, &entry));
        let segment = latest.location.segment;
        *self.live.entry(segment).or_default() += latest.location.frame_len;
        if self.touched.last() != Some(&segment) {
            self.touched.push(segment);
        }
        self.batch.insert(entry_key(key), entry);
    }

    /// Applies what was gathered so far to a tree that has no checkpoint yet.
    pub(super) fn apply_so_far(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        guarded("write", || self.tree.apply_batch(batch))
    }

    /// Applies the batch, with the checkpoint; returns what the tree then is.
    pub(super) fn commit(
        mut self,
        store: StoreId,
        position: Position,
        compacted: u32,
    ) -> Result<State> {
        let checkpoint = Checkpoint {
            store,
            position,
            compacted,
            keys: self.keys,
            digest: self.digest,
        };
        self.touched.sort_unstable();
        self.touched.dedup();
        for segment in self.touched {
            let key = [&[LIVE][..], &segment.to_be_bytes()].concat();
            match self.live.get(&segment) {
                Some(&bytes) if bytes > 0 => self.batch.insert(key, &bytes.to_le_bytes()),
                _ => {
                    self.live.remove(&segment);
                    self.batch.remove(key);
                }
            }
        }
        self.batch.insert(CHECKPOINT, checkpoint.to_bytes());
        guarded("write", || self.tree.apply_batch(self.batch))?;
        Ok(State {
            checkpoint: Some(checkpoint),
            live: self.live,
        })
    }
}
