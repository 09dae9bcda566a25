//! A backend in memory, for tests and for stores that needn't outlive the process.
//!
//! Invariant: the contract in `backend`, where "survives" means "until dropped".

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Backend, Compaction, Durability, Entries, Entry, Item, Operation, check_batch};
use crate::error::Result;

#[derive(Debug, Clone)]
struct Stored {
    bytes: Vec<u8>,
    facts: Vec<u8>,
}

/// A [`Backend`] that keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    items: RwLock<BTreeMap<Vec<u8>, Stored>>,
}

impl MemoryBackend {
    /// An empty backend.
    pub fn new() -> Self {
        Self::default()
    }

    // A panic elsewhere can't leave the map half-changed: every change is one call of the map.
    fn items(&self) -> RwLockReadGuard<'_, BTreeMap<Vec<u8>, Stored>> {
        self.items.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn items_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<Vec<u8>, Stored>> {
        self.items.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry(key: &[u8], stored: &Stored) -> Entry {
    Entry {
        key: key.to_vec(),
        facts: stored.facts.clone(),
        stored_bytes: stored.bytes.len() as u64,
    }
}

impl Backend for MemoryBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        Ok(self.items().get(key).map(|stored| Item {
            bytes: stored.bytes.clone(),
            stored_bytes: stored.bytes.len() as u64,
        }))
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        Ok(self.items().get(key).map(|stored| entry(key, stored)))
    }

    fn apply(&self, batch: Vec<Operation>, _durability: Durability) -> Result<()> {
        let mut items = self.items_mut();
        check_batch(&batch, |key| Ok(items.contains_key(key)))?;
        for operation in batch {
            match operation {
                Operation::Put {
                    key, bytes, facts, ..
                } => items.insert(key, Stored { bytes, facts }),
                Operation::Delete { key } => items.remove(&key),
            };
        }
        Ok(())
    }

    fn compact(&self, _progress: &mut dyn FnMut(u64, u64)) -> Result<Compaction> {
        Ok(Compaction::default())
    }

    fn scan(&self, prefix: &[u8], from: &[u8]) -> Entries<'_> {
        let prefix = prefix.to_vec();
        let mut next = Bound::Included(from.max(&prefix).to_vec());
        Box::new(std::iter::from_fn(move || {
            // The lock is taken for each step, so that a scan never stands in a writer's way.
            let items = self.items();
            let (key, stored) = items.range((next.clone(), Bound::Unbounded)).next()?;
            if !key.starts_with(&prefix) {
                return None;
            }
            next = Bound::Excluded(key.clone());
            Some(Ok(entry(key, stored)))
        }))
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn refresh(&self) -> Result<()> {
        Ok(())
    }

    fn property(&self, _name: &str) -> Option<String> {
        None
    }

    fn disk_bytes(&self) -> Result<u64> {
        Ok(0)
    }
}
