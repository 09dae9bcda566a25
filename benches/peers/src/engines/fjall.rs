//! fjall: a log-structured merge tree with the values in files beside it.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::{CACHE_BYTES, Change, Engine, Found};
use crate::Result;

pub(super) const SETTING: &str = "PersistMode::SyncData for each batch; KV separation; block cache 64 MiB \
     (its write buffer of 64 MiB comes on top); no LZ4, as the values can't be compressed; background threads as it \
     comes; compaction: flush and `major_compact` until the size stays";

/// Compactions in a row at most: each can make more garbage known.
const COMPACTIONS: usize = 5;

pub(super) struct Fjall {
    database: Database,
    values: Keyspace,
}

impl Fjall {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let database = Database::builder(folder.join("fjall"))
            .cache_size(CACHE_BYTES)
            .open()?;
        let values = database.keyspace("values", || {
            let separation = KvSeparationOptions::default();
            KeyspaceCreateOptions::default().with_kv_separation(Some(separation))
        })?;
        Ok(Self { database, values })
    }
}

impl Engine for Fjall {
    fn commit(&mut self, changes: Vec<Change>) -> Result<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for change in changes {
            match change {
                Change::Put(key, value) => batch.insert(&self.values, key, value),
                Change::Delete(key) => batch.remove(&self.values, key),
            }
        }
        Ok(batch.commit()?)
    }

    fn read(&self, keys: &mut dyn Iterator<Item = Vec<u8>>, found: Found) -> Result<()> {
        for key in keys {
            let value = self.values.get(&key)?;
            found(&key, value.as_deref());
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<bool> {
        let mut size = u64::MAX;
        for _ in 0..COMPACTIONS {
            // Both calls are public, though their documentation is hidden.
            self.values.rotate_memtable_and_wait()?;
            self.values.major_compact()?;
            let now = self.database.disk_space()?;
            if now >= size {
                break;
            }
            size = now;
        }
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.database.persist(PersistMode::SyncAll)?;
        Ok(())
    }
}
