//! latentdb's own backend: a log in segments and an index.

use std::path::Path;

use latentdb::ErrorKind;
use latentdb::backend::{Backend, Durability, LocalBackend, Mode, Operation};

use super::{Change, Engine, Found};
use crate::Result;

pub(super) const SETTING: &str = "LocalBackend, fdatasync for each batch; every get checks the value's checksum; no cache of values";

pub(super) struct Latentdb(LocalBackend);

impl Latentdb {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let store = folder.join("store");
        match LocalBackend::create(&store) {
            Err(error) if error.kind() != ErrorKind::StoreExists => Err(error.into()),
            _ => Ok(Self(LocalBackend::open(&store)?)),
        }
    }
}

impl Engine for Latentdb {
    fn commit(&mut self, batch: Vec<Change>) -> Result<()> {
        let operation = |change| match change {
            Change::Put(key, bytes) => Operation::Put {
                key,
                bytes,
                facts: Vec::new(),
                mode: Mode::Replace,
            },
            Change::Delete(key) => Operation::Delete { key },
        };
        let batch = batch.into_iter().map(operation).collect();
        Ok(self.0.apply(batch, Durability::Synced)?)
    }

    fn read(&self, keys: &mut dyn Iterator<Item = Vec<u8>>, found: Found) -> Result<()> {
        for key in keys {
            let item = self.0.get(&key)?;
            found(&key, item.as_ref().map(|item| item.bytes.as_slice()));
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<bool> {
        self.0.compact(&mut |_, _| ())?;
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self);
        Ok(())
    }
}
