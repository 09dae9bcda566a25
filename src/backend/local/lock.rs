//! The lock that keeps writers apart.
//!
//! Invariant: it is the operating system's, so it goes with the process that holds it.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// A file that is locked until this is dropped.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone isn't enough: a process that another thread is just starting has the open
        // file too, until it runs its own program.
        let _ = self.0.unlock();
    }
}

/// Takes the lock, and makes its file where there is none.
///
/// # Errors
/// `Locked` if another process holds it; `Io`.
pub(super) fn take_lock(path: &Path) -> Result<Lock> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|e| Error::io("open for writing", path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(locked(path)),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path, error)),
    }
}

/// Takes the lock and makes nothing: where there is no file to lock, or the medium can't be written
/// to, nobody writes either.
///
/// # Errors
/// `Locked` if another process holds it.
pub(super) fn take_lock_if_there(path: &Path) -> Result<Option<Lock>> {
    let Ok(file) = File::open(path) else {
        return Ok(None);
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(locked(path)),
        _ => Ok(Some(Lock(file))),
    }
}

fn locked(path: &Path) -> Error {
    Error::new(
        ErrorKind::Locked,
        format!(
            "another process writes to the store ({} is locked)",
            path.display()
        ),
    )
}
