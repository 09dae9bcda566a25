//! redb: a copy-on-write B-tree in one file.

use std::path::Path;

use redb::{AccessGuard, Database, Durability, ReadableDatabase, TableDefinition};

use super::{CACHE_BYTES, Change, Engine, Found};
use crate::Result;

pub(super) const SETTING: &str =
    "Durability::Immediate; cache 64 MiB; compaction: `compact` until it finds nothing more";

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("values");

pub(super) struct Redb(Database);

impl Redb {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES as usize);
        Ok(Self(builder.create(folder.join("values.redb"))?))
    }
}

impl Engine for Redb {
    fn commit(&mut self, batch: Vec<Change>) -> Result<()> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut table = transaction.open_table(TABLE)?;
        for change in &batch {
            match change {
                Change::Put(key, value) => drop(table.insert(key.as_slice(), value.as_slice())?),
                Change::Delete(key) => drop(table.remove(key.as_slice())?),
            }
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    fn read(&self, keys: &mut dyn Iterator<Item = Vec<u8>>, found: Found) -> Result<()> {
        let transaction = self.0.begin_read()?;
        let table = transaction.open_table(TABLE)?;
        for key in keys {
            let value = table.get(key.as_slice())?;
            found(&key, value.as_ref().map(AccessGuard::value));
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<bool> {
        while self.0.compact()? {}
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self);
        Ok(())
    }
}
