//! File-system calls whose errors name the path, and the few that durability hangs on.
//!
//! Invariant: whatever `sync_*` returned `Ok` for survives a power cut.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes that are gathered before a file that is written as it goes gets them.
const WRITE_BUFFER: usize = 1 << 20;

/// Opens an existing file for reading.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| Error::io("open", path, e))
}

/// Opens an existing file for reading and writing.
pub(crate) fn open_writable(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
        .open(path)
        .map_err(|e| Error::io("open for writing", path, e))
}

/// Reads a whole file.
///
/// # Errors
/// `Io`, naming the path.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io("read", path, e))
}

/// Writes a whole file: under its name is what was there before, or all of `bytes`.
///
/// A link is followed; what is no regular file (a device, a pipe) is written to as it is. No folder
/// is made.
///
/// # Errors
/// `Io` and `Full`, naming the path.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    write_target(path, |file| write_all(file, path, bytes))
}

/// As [`write_file`], for what is too large to be held: `write` writes as it goes, into a buffer.
/// If it fails, the file is as it was before.
///
/// # Errors
/// `Io` and `Full`; those of `write` keep their kind. All name the path.
pub fn write_file_with<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    write_target(path, |file| {
        let mut out = BufWriter::with_capacity(WRITE_BUFFER, file);
        let failed = |e: Error| {
            let message = format!("can't write {}", path.display());
            Error::new(e.kind(), message).with_source(e)
        };
        let value = write(&mut out).map_err(failed)?;
        out.flush().map_err(|e| Error::io("write to", path, e))?;
        Ok(value)
    })
}

fn write_target<T>(path: &Path, write: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    match std::fs::metadata(&target) {
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => {
            let file = OpenOptions::new().write(true).open(&target);
            write(&mut file.map_err(|e| Error::io("write to", path, e))?)
        }
        _ => replace(&target, write),
    }
}

fn write_all(file: &mut File, path: &Path, bytes: &[u8]) -> Result<()> {
    let written = file.write_all(bytes);
    written.map_err(|e| Error::io("write to", path, e))
}

pub(crate) fn len(file: &File, path: &Path) -> Result<u64> {
    let metadata = file.metadata();
    Ok(metadata
        .map_err(|e| Error::io("get the size of", path, e))?
        .len())
}

/// Makes a folder and those above it that are missing, durably.
pub(crate) fn create_dir_all(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    if parent != path {
        create_dir_all(parent)?;
    }
    match std::fs::create_dir(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists || !path.is_dir() => {
            Err(Error::io("create the folder", path, e))
        }
        _ => sync_dir(parent),
    }
}

/// The folder that holds `path`; `.` for a bare name.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The names in a folder, in no order.
pub(crate) fn names(path: &Path) -> Result<Vec<std::ffi::OsString>> {
    let list = || -> std::io::Result<Vec<_>> {
        std::fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    };
    list().map_err(|e| Error::io("list", path, e))
}

/// Reads exactly `buffer.len()` bytes at `offset`, leaving the file's cursor to others.
pub(crate) fn read_exact_at(
    file: &File,
    path: &Path,
    buffer: &mut [u8],
    offset: u64,
) -> Result<()> {
    io::read_exact_at(file, buffer, offset).map_err(|e| Error::io("read", path, e))
}

/// Writes all of `bytes` at `offset`.
#[cfg(feature = "pull")]
pub(crate) fn write_all_at(file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<()> {
    io::write_all_at(file, bytes, offset).map_err(|e| Error::io("write to", path, e))
}

/// The calls that differ between systems, with the system's own errors.
pub(crate) mod io {
    use std::fs::File;
    use std::io::Result;
    use std::path::Path;

    /// Reads exactly `buffer.len()` bytes at `offset`.
    pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> Result<()> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset);
        #[cfg(windows)]
        {
            use std::os::windows::fs::FileExt;
            let (mut buffer, mut offset) = (buffer, offset);
            while !buffer.is_empty() {
                match file.seek_read(buffer, offset)? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    n => {
                        buffer = &mut buffer[n..];
                        offset += n as u64;
                    }
                }
            }
            Ok(())
        }
    }

    /// Writes all of `bytes` at `offset`.
    #[cfg(any(feature = "pull", not(target_os = "linux")))]
    pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> Result<()> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
        #[cfg(windows)]
        {
            use std::os::windows::fs::FileExt;
            let (mut bytes, mut offset) = (bytes, offset);
            while !bytes.is_empty() {
                match file.seek_write(bytes, offset)? {
                    0 => return Err(std::io::ErrorKind::WriteZero.into()),
                    n => {
                        bytes = &bytes[n..];
                        offset += n as u64;
                    }
                }
            }
            Ok(())
        }
    }

    /// Writes all of `parts`, one behind the other, at `offset`; on Linux without copying them.
    pub(crate) fn write_all_parts_at(file: &File, parts: &[&[u8]], offset: u64) -> Result<()> {
        #[cfg(target_os = "linux")]
        {
            use std::io::IoSlice;
            // The most that the system takes in one call.
            const MOST: usize = 1024;
            let mut offset = offset;
            let mut parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let mut rest = &mut parts[..];
            // None of those that are left is empty: writing nothing is a failure then.
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match rustix::io::pwritev(file, &rest[..rest.len().min(MOST)], offset) {
                    Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        IoSlice::advance_slices(&mut rest, written);
                        offset += written as u64;
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        }
        #[cfg(not(target_os = "linux"))]
        write_all_at(file, &parts.concat(), offset)
    }

    /// Makes the creation, renaming or removal of entries of a folder durable.
    pub(crate) fn sync_dir(path: &Path) -> Result<()> {
        // Windows can't open a folder as a file, and its file systems journal names by themselves.
        if cfg!(windows) {
            return Ok(());
        }
        File::open(path)?.sync_all()
    }
}

/// `fdatasync`: the bytes and the length of the file are on the medium.
pub(crate) fn sync_data(file: &File, path: &Path) -> Result<()> {
    file.sync_data().map_err(|e| Error::io("sync", path, e))
}

/// Makes the creation, renaming or removal of entries of a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    io::sync_dir(path).map_err(|e| Error::io("sync the folder", path, e))
}

/// Writes a whole file so that `path` holds either what it held before or all of `bytes`.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |file| write_all(file, path, bytes))
}

/// Puts a file under the name `path` once `write` has written it.
///
/// The bytes go to a temporary name in the same folder, are synced, then renamed.
fn replace<T>(path: &Path, write: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let temporary = temporary_name(path);
    let failed = |e| Error::io("write", path, e);
    let write = || {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).open(&temporary);
        let mut file = file.map_err(failed)?;
        let value = write(&mut file)?;
        file.sync_all().map_err(failed)?;
        drop(file);
        std::fs::rename(&temporary, path).map_err(failed)?;
        Ok(value)
    };
    let value = write().inspect_err(|_| {
        // Nothing half-written stays; the first error is the one worth telling.
        let _ = std::fs::remove_file(&temporary);
    })?;
    sync_dir(parent_of(path))?;
    Ok(value)
}

/// A name beside `path` that no other process and no other call of this one uses.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{call}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_atomic_write_leaves_the_old_file_and_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("taken");
        std::fs::create_dir(&target).unwrap();
        let error = write_atomic(&target, b"x").unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(names(folder.path()).unwrap(), ["taken"]);
    }

    #[test]
    fn a_file_that_is_written_as_it_goes_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file");
        let begin =
            |out: &mut dyn Write| out.write_all(b"new").map_err(|e| Error::stream("begin", e));
        write_file(&target, b"old").unwrap();
        let error = write_file_with(&target, |out| {
            begin(out)?;
            Err::<(), _>(Error::corrupted("the rest is lost"))
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind(), crate::error::ErrorKind::Corrupted);
        assert!(format!("{error:#}").ends_with("/file: the rest is lost"));
        assert_eq!(read_file(&target).unwrap(), b"old");
        assert_eq!(names(folder.path()).unwrap(), ["file"]);
        write_file_with(&target, begin).unwrap();
        assert_eq!(read_file(&target).unwrap(), b"new");
        assert_eq!(names(folder.path()).unwrap(), ["file"]);
    }

    #[test]
    fn errors_name_the_path() {
        let error = open(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.to_string(), "can't open /no/such/file");
    }
}
