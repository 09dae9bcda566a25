//! The folder layout that all programs of the Hugging Face hub share.
//!
//! Invariant: under `blobs` and `snapshots` a file appears whole or not at all; what is being
//! loaded ends in `.incomplete`. Names put into paths here were checked by `plan`.
//!
//! ```text
//! .locks/models--ORG--NAME/KEY.lock            taken while a file is loaded, also by Python
//! models--ORG--NAME/blobs/KEY                  the bytes, by their hash
//!                   snapshots/COMMIT/FILE      a link to the bytes
//!                   refs/main                  the commit of the last whole pull
//! ```

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::PullFile;
use crate::error::{Error, Result};
use crate::fs;

/// The part of the cache that belongs to one repository.
pub(super) struct RepoCache {
    folder: PathBuf,
    locks: PathBuf,
}

/// Held while a file is loaded; falls with it.
pub(super) struct Lock(#[expect(dead_code, reason = "the lock lives as long as the file")] File);

impl RepoCache {
    pub(super) fn new(cache: &Path, repo: &str) -> Self {
        let name = format!("models--{}", repo.replace('/', "--"));
        Self {
            folder: cache.join(&name),
            locks: cache.join(".locks").join(name),
        }
    }

    pub(super) fn blob(&self, key: &str) -> PathBuf {
        self.folder.join("blobs").join(key)
    }

    pub(super) fn incomplete(&self, key: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{key}.incomplete"))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub(super) fn pointer(&self, commit: &str, name: &str) -> PathBuf {
        let folder = self.snapshot(commit);
        name.split('/').fold(folder, |path, part| path.join(part))
    }

    fn main(&self) -> PathBuf {
        self.folder.join("refs").join("main")
    }

    /// The commit that `main` was at when a program last looked.
    pub(super) fn main_commit(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.main()).ok()?;
        Some(text.trim().to_owned())
    }

    /// Remembers the commit that `main` is at.
    pub(super) fn set_main_commit(&self, commit: &str) -> Result<()> {
        if self.main_commit().as_deref() == Some(commit) {
            return Ok(());
        }
        fs::create_dir_all(&self.folder.join("refs"))?;
        fs::write_atomic(&self.main(), commit.as_bytes())
    }

    /// Whether a file of the right size is there for `file`, and how much of a broken pull.
    pub(super) fn look(&self, commit: &str, file: &mut PullFile) {
        let fits = |path: &Path| size(path) == Some(file.bytes);
        let key = file.key();
        let cached =
            fits(&self.pointer(commit, &file.name)) || key.is_some_and(|key| fits(&self.blob(key)));
        let partial = key.and_then(|key| size(&self.incomplete(key)));
        file.partial = partial.filter(|bytes| *bytes <= file.bytes).unwrap_or(0);
        file.cached = cached;
    }

    /// A file of a snapshot as the cache alone knows it.
    pub(super) fn remembered(&self, commit: &str, name: &str) -> Option<PullFile> {
        let pointer = self.pointer(commit, name);
        let target = std::fs::read_link(&pointer).ok();
        let key = target.as_deref().and_then(Path::file_name);
        let key = |digits: usize| {
            let key = key?.to_str()?;
            is_hex(key, digits).then(|| key.to_owned())
        };
        Some(PullFile {
            name: name.to_owned(),
            bytes: size(&pointer)?,
            sha256: key(64),
            git_blob_id: key(40),
            cached: true,
            partial: 0,
        })
    }

    /// Waits until no other process loads the file of this key; calls `waiting` if that takes
    /// time.
    pub(super) fn lock(&self, key: &str, waiting: impl FnOnce()) -> Result<Lock> {
        fs::create_dir_all(&self.locks)?;
        fs::create_dir_all(&self.folder.join("blobs"))?;
        let path = self.locks.join(format!("{key}.lock"));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        // Some file systems have no locks. There two processes may load the same file at once,
        // each byte to its own place, and either checks the whole of it before it counts.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            waiting();
            let _ = file.lock();
        }
        Ok(Lock(file))
    }

    /// Makes the snapshot's file `name` stand for the bytes of `key`.
    pub(super) fn link(&self, commit: &str, name: &str, key: &str) -> Result<()> {
        let pointer = self.pointer(commit, name);
        let folder = pointer.parent().unwrap_or(&pointer);
        fs::create_dir_all(folder)?;
        discard(&pointer)?;
        // Relative, so that the cache can be moved or mounted elsewhere.
        let up = "../".repeat(name.split('/').count() + 1);
        let blob = self.blob(key);
        symlink(Path::new(&format!("{up}blobs/{key}")), &pointer)
            .or_else(|_| std::fs::hard_link(&blob, &pointer))
            .or_else(|_| std::fs::rename(&blob, &pointer))
            .map_err(|e| Error::io("create", &pointer, e))?;
        fs::sync_dir(folder)
    }
}

/// Removes a file or a link, also one that leads nowhere.
pub(super) fn discard(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

/// The size of the file that `path` is or leads to.
pub(super) fn size(path: &Path) -> Option<u64> {
    let metadata = std::fs::metadata(path).ok()?;
    metadata.is_file().then_some(metadata.len())
}

/// Whether `text` is what the hub and git write hashes as.
pub(super) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b"0123456789abcdef".contains(&b))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    // Windows takes `/` as it is into the link, and then finds nothing.
    let target = target.to_string_lossy().replace('/', "\\");
    std::os::windows::fs::symlink_file(target, link)
}
