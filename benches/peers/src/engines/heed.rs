//! heed, that is LMDB: a copy-on-write B-tree in one memory-mapped file.

use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{CommitOrAbort, CompactionOption, Database, Env, EnvOpenOptions};

use super::{Change, Engine, Found};
use crate::Result;

pub(super) const SETTING: &str = "default flags, so each commit is synced; no cache of its own: it maps the file, and \
     what was read counts as resident; compaction: a compacted copy, synced and renamed over the file";

/// An environment and the handle of its one database.
type Open = (Env, Database<'static, Bytes, Bytes>);

pub(super) struct Heed {
    folder: PathBuf,
    bound: u64,
    /// `None` only while the file is replaced.
    open: Option<Open>,
}

impl Heed {
    pub(super) fn open(folder: &Path, bound: u64) -> Result<Self> {
        let open = Some(open(folder, bound)?);
        Ok(Self {
            folder: folder.to_path_buf(),
            bound,
            open,
        })
    }

    fn parts(&self) -> Result<&Open> {
        Ok(self.open.as_ref().ok_or("the environment is closed")?)
    }
}

fn open(folder: &Path, bound: u64) -> Result<Open> {
    let mut options = EnvOpenOptions::new();
    // The map must hold what lives beside what a batch replaces, in whole pages.
    options.map_size((bound * 4 + (64 << 20)).next_multiple_of(1 << 20) as usize);
    #[expect(
        unsafe_code,
        reason = "the file is mapped: nobody may change it behind the map, and nobody does, because this process \
                  made it in a folder of its own and opens it once"
    )]
    let env = unsafe { options.open(folder)? };
    // An existing database is opened by a read transaction, which costs no commit.
    let found = env.open_databases_and_commit(env.read_txn()?, |opener, transaction| {
        let database = opener.open_database::<Bytes, Bytes>(transaction, None)?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(database))
    })?;
    if let Some(database) = found.unwrap_commit() {
        return Ok((env, database));
    }
    let made = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
        let database = opener.create_database::<Bytes, Bytes>(transaction, None)?;
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(database))
    })?;
    let database = made.unwrap_commit();
    Ok((env, database))
}

impl Engine for Heed {
    fn commit(&mut self, batch: Vec<Change>) -> Result<()> {
        let (env, database) = self.parts()?;
        let mut transaction = env.write_txn()?;
        for change in &batch {
            match change {
                Change::Put(key, value) => database.put(&mut transaction, key, value)?,
                Change::Delete(key) => drop(database.delete(&mut transaction, key)?),
            }
        }
        Ok(transaction.commit()?)
    }

    fn read(&self, keys: &mut dyn Iterator<Item = Vec<u8>>, found: Found) -> Result<()> {
        let (env, database) = self.parts()?;
        let transaction = env.read_txn()?;
        for key in keys {
            found(&key, database.get(&transaction, &key)?);
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<bool> {
        let (env, _) = self.open.take().ok_or("the environment is closed")?;
        let copy = self.folder.join("compacted");
        env.copy_to_path(&copy, CompactionOption::Enabled)?
            .sync_all()?;
        env.prepare_for_closing().wait();
        std::fs::rename(&copy, self.folder.join("data.mdb"))?;
        std::fs::File::open(&self.folder)?.sync_all()?;
        self.open = Some(open(&self.folder, self.bound)?);
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<()> {
        if let Some((env, _)) = self.open {
            env.prepare_for_closing().wait();
        }
        Ok(())
    }
}
