//! The file system under the log: the few calls that the store's promises hang on, and who carries them out.
//!
//! Invariant: all of a store but the index and the lock is read and written through a [`Disk`], so that tests
//! can put one in its place that loses power or fails; every error names the path.

use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fs;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading a file that exists.
    Read,
    /// Reading and writing a file that exists.
    Write,
    /// Reading and writing a file that must not exist yet.
    Create,
}

/// An open file. Positions are given with each call, so that threads can share it.
pub(super) trait DiskFile: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    /// Reads exactly `buffer.len()` bytes.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `parts`, one behind the other, or some of their bytes and fails.
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;
    fn set_len(&self, length: u64) -> io::Result<()>;
    /// The file's bytes and length are on the medium when it returns.
    fn sync(&self) -> io::Result<()>;
}

/// A file system. `FORMAT.md` says what it is assumed to do.
pub(super) trait Disk: Debug + Send + Sync {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, in no order.
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// The names in the folder are on the medium when it returns.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;
    /// Bytes that may still be written.
    fn available(&self, folder: &Path) -> io::Result<u64>;
}

/// The file system of the operating system.
#[derive(Debug)]
struct System;

impl Disk for System {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access != Access::Read);
        options.create_new(access == Access::Create);
        Ok(Box::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let entries = std::fs::read_dir(folder)?;
        entries.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        fs::io::sync_dir(folder)
    }

    fn available(&self, folder: &Path) -> io::Result<u64> {
        fs4::available_space(folder)
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        fs::io::read_exact_at(self, buffer, offset)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        fs::io::write_all_parts_at(self, parts, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A [`Disk`] whose errors name the path.
#[derive(Debug, Clone)]
pub(super) struct Medium(Arc<dyn Disk>);

/// A [`DiskFile`] whose errors name the path.
#[derive(Debug)]
pub(super) struct MediumFile {
    pub(super) path: PathBuf,
    file: Box<dyn DiskFile>,
}

impl Medium {
    pub(super) fn system() -> Self {
        Self(Arc::new(System))
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn simulated(disk: Arc<dyn Disk>) -> Self {
        Self(disk)
    }

    pub(super) fn open(&self, path: &Path, access: Access) -> Result<MediumFile> {
        let doing = match access {
            Access::Read => "open",
            Access::Write => "open for writing",
            Access::Create => "create",
        };
        let file = self.0.open(path, access);
        Ok(MediumFile {
            file: file.map_err(|e| Error::io(doing, path, e))?,
            path: path.to_path_buf(),
        })
    }

    /// The bytes of a file; `None` if it isn't there.
    pub(super) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let file = match self.0.open(path, Access::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path, error)),
        };
        let read = || {
            let mut bytes = vec![0; file.len()? as usize];
            file.read_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        read().map(Some).map_err(|e| Error::io("read", path, e))
    }

    /// Files in `folder` that an interrupted [`write_atomic`](Self::write_atomic) of a file whose name
    /// begins with `name` left.
    pub(super) fn unfinished(&self, folder: &Path, name: &str) -> Result<Vec<PathBuf>> {
        let names = self.names(folder)?;
        let left = names.iter().filter(|n| is_unfinished(n, name));
        Ok(left.map(|n| folder.join(n)).collect())
    }

    /// Writes a whole file so that `path` holds, also after a power cut, what it held before or all of `bytes`.
    pub(super) fn write_atomic(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let temporary = fs::temporary_name(path);
        let write = || {
            // A process of the same number may have been killed here; in a container many are.
            self.remove(&temporary)?;
            let file = self.open(&temporary, Access::Create)?;
            file.write_at(bytes, 0)?;
            file.sync()?;
            drop(file);
            self.rename(&temporary, path)
        };
        write().inspect_err(|_| {
            // Nothing half-written stays; the first error is the one worth telling.
            let _ = self.0.remove(&temporary);
        })
    }

    /// Renames a file within its folder, durably.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let renamed = self.0.rename(from, to);
        renamed.map_err(|e| Error::io("rename to", to, e))?;
        self.sync_dir(fs::parent_of(to))
    }

    /// Removes a file; that it isn't there is fine. Durable only after [`sync_dir`](Self::sync_dir).
    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        match self.0.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", path, error))
            }
            _ => Ok(()),
        }
    }

    /// Makes a folder, durably, unless it is there.
    pub(super) fn create_dir(&self, path: &Path) -> Result<()> {
        match self.0.create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(Error::io("create the folder", path, error)),
            Ok(()) => self.sync_dir(fs::parent_of(path)),
        }
    }

    /// The names in a folder that are UTF-8, as all of the store's own are.
    pub(super) fn names(&self, folder: &Path) -> Result<Vec<String>> {
        let names = self
            .0
            .names(folder)
            .map_err(|e| Error::io("list", folder, e))?;
        Ok(names
            .into_iter()
            .filter_map(|n| n.into_string().ok())
            .collect())
    }

    pub(super) fn sync_dir(&self, folder: &Path) -> Result<()> {
        let synced = self.0.sync_dir(folder);
        synced.map_err(|e| Error::io("sync the folder", folder, e))
    }

    pub(super) fn available(&self, folder: &Path) -> Result<u64> {
        let available = self.0.available(folder);
        available.map_err(|e| Error::io("ask for the free space of", folder, e))
    }
}

/// Whether `found` is a temporary name of a file whose name begins with `name`.
pub(super) fn is_unfinished(found: &str, name: &str) -> bool {
    let found = found.strip_prefix('.').and_then(|f| f.strip_suffix(".tmp"));
    found.is_some_and(|f| f.starts_with(name))
}

impl MediumFile {
    pub(super) fn len(&self) -> Result<u64> {
        let length = self.file.len();
        length.map_err(|e| Error::io("get the size of", &self.path, e))
    }

    /// Reads exactly `buffer.len()` bytes.
    ///
    /// # Errors
    /// `Corrupted` if the file ends before; `Io`.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        let ends_before =
            || Error::corrupted(format!("{} ends before byte {end}", self.path.display()));
        // No file is that long, and systems call such an offset invalid.
        if end > i64::MAX as u64 {
            return Err(ends_before());
        }
        self.file.read_at(buffer, offset).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return ends_before();
            }
            Error::io("read", &self.path, error)
        })
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.write_parts_at(&[bytes], offset)
    }

    /// Writes `parts`, one behind the other.
    pub(super) fn write_parts_at(&self, parts: &[&[u8]], offset: u64) -> Result<()> {
        let written = self.file.write_at(parts, offset);
        written.map_err(|e| Error::io("write to", &self.path, e))
    }

    pub(super) fn set_len(&self, length: u64) -> Result<()> {
        let cut = self.file.set_len(length);
        cut.map_err(|e| Error::io("cut", &self.path, e))
    }

    pub(super) fn sync(&self) -> Result<()> {
        let synced = self.file.sync();
        synced.map_err(|e| Error::io("sync", &self.path, e))
    }
}
