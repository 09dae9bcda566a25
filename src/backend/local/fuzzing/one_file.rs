//! A disk with one file in memory, which has every name.
//!
//! Invariant: it is only read.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::disk::{Access, Disk, DiskFile, Medium};

#[derive(Debug, Clone)]
struct OneFile(Arc<[u8]>);

/// A medium on which every file holds `bytes`.
pub(super) fn medium(bytes: &[u8]) -> Medium {
    Medium::simulated(Arc::new(OneFile(bytes.into())))
}

fn read_only<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for OneFile {
    fn open(&self, _: &Path, _: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.clone()))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn names(&self, _: &Path) -> io::Result<Vec<OsString>> {
        Ok(Vec::new())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        read_only()
    }

    fn available(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl DiskFile for OneFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = usize::try_from(offset)
            .ok()
            .zip((offset as usize).checked_add(buffer.len()));
        let bytes = end.and_then(|(start, end)| self.0.get(start..end));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        read_only()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn sync(&self) -> io::Result<()> {
        read_only()
    }
}
