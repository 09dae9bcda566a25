//! No engine: one file a value, as careful programs write them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Change, Engine, Found};
use crate::Result;

pub(super) const SETTING: &str = "each value is written to a new file, the file is synced (fsync) and renamed to its \
     key; at the end of a batch the folder is synced once; a batch isn't atomic, nothing has a checksum";

pub(super) struct PlainFiles {
    folder: PathBuf,
}

impl PlainFiles {
    pub(super) fn open(folder: &Path) -> Self {
        let folder = folder.to_path_buf();
        Self { folder }
    }

    fn path(&self, key: &[u8]) -> PathBuf {
        self.folder.join(String::from_utf8_lossy(key).as_ref())
    }
}

impl Engine for PlainFiles {
    fn commit(&mut self, batch: Vec<Change>) -> Result<()> {
        let mut changed = BTreeSet::new();
        for change in batch {
            let (Change::Put(key, _) | Change::Delete(key)) = &change;
            let path = self.path(key);
            let folder = path.parent().ok_or("a key is a name in a folder")?;
            if !changed.contains(folder) {
                std::fs::create_dir_all(folder)?;
                changed.insert(folder.to_path_buf());
            }
            if let Change::Put(_, value) = change {
                let unfinished = path.with_extension("tmp");
                let mut file = File::create(&unfinished)?;
                file.write_all(&value)?;
                file.sync_all()?;
                drop(file);
                std::fs::rename(&unfinished, &path)?;
            } else {
                std::fs::remove_file(&path)?;
            }
        }
        for folder in changed {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn read(&self, keys: &mut dyn Iterator<Item = Vec<u8>>, found: Found) -> Result<()> {
        for key in keys {
            match std::fs::read(self.path(&key)) {
                Ok(value) => found(&key, Some(&value)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => found(&key, None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
