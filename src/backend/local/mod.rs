//! A store in a folder: an append-only log in segments, which is the truth, and a sled index of it.
//!
//! Invariant: one process writes, any number read beside it. A writer's lookups go through the
//! index; readers never touch sled and make their view from the segments. `FORMAT.md` draws the
//! bytes and says what the medium is assumed to do.

mod footer;
mod frame;
mod index;
mod log;
mod recovery;
mod segment;
mod store_file;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::{Backend, Entries, Entry, Item, Operation, check_batch};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use footer::Latest;
use index::{Checkpoint, Index};
use log::Log;
use segment::{Location, Segment, StoreId};
use store_file::StoreFile;
use view::View;

const SEGMENTS: &str = "segments";
const INDEX: &str = "index";
const LOCK: &str = "lock";
const LOST: &str = "lost";

/// A [`Backend`] in a folder of the local file system.
pub struct LocalBackend {
    path: PathBuf,
    id: StoreId,
    properties: BTreeMap<String, String>,
    role: Role,
    recovered: Option<String>,
}

enum Role {
    Writer(Box<Writer>),
    Reader(RwLock<Arc<View>>),
}

struct Writer {
    index: Index,
    log: Mutex<Log>,
    /// All segments, oldest first, for reading.
    segments: RwLock<Vec<Arc<Segment>>>,
    /// Held until the writer is gone.
    _lock: File,
}

impl LocalBackend {
    /// Makes an empty store at `path`, which must not exist or be an empty folder.
    ///
    /// # Errors
    /// `StoreExists`; `InvalidInput` if something else is there; `Locked` if another process is just
    /// making one; `Io`.
    pub fn create(path: &Path) -> Result<()> {
        Self::create_with(path, BTreeMap::new())
    }

    /// Like [`create`](Self::create), with properties that layers above keep about the store.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_with(path: &Path, properties: BTreeMap<String, String>) -> Result<()> {
        match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(Error::invalid(format!(
                    "{} is a file, and a store is a folder",
                    path.display()
                )));
            }
            Ok(_) => check_vacant(path)?,
            Err(_) => fs::create_dir_all(path)?,
        }
        // Two processes that make one store at once would mix their segments.
        let _lock = take_lock(&path.join(LOCK))?;
        check_vacant(path)?;
        let segments = path.join(SEGMENTS);
        fs::create_dir_all(&segments)?;
        let file = StoreFile::new(properties);
        let id = file.id().expect("a new store has a valid id");
        segment::create(&segments, id, 1, 1)?;
        file.write(path)
    }

    /// Opens the store at `path` for reading and writing.
    ///
    /// # Errors
    /// `StoreNotFound`, `UnsupportedVersion`; `Locked` if another process writes to it;
    /// `Corrupted` if segments are missing or damaged at places that a crash can't explain; `Io`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, log::SEGMENT_BYTES)
    }

    fn open_with(path: &Path, segment_bytes: u64) -> Result<Self> {
        let (file, id) = read_store_file(path)?;
        let lock = take_lock(&path.join(LOCK))?;
        let folder = path.join(SEGMENTS);
        let mut view = View::open(&folder, id)?;
        let index_folder = path.join(INDEX);
        let known = recovery::known(&index_folder, id);
        let recovered = recovery::cut_torn_tail(&mut view, known.checkpoint(), &path.join(LOST))?;
        let last = view
            .parts
            .last()
            .expect("View::open refuses a store without segments");
        let (number, path_of_last) = (last.segment.number, last.segment.path.clone());
        let active = Segment::open(path_of_last, number, fs::open_writable)?;
        // A killed process may have written a batch and not synced it. What the index knows must
        // be on the medium first, or a power cut would look like the loss of acknowledged records.
        fs::sync_data(&active.file, &active.path)?;
        let index = recovery::index_for(&view, id, &index_folder, known)?;

        let mut log = Log {
            folder,
            active: Arc::new(active),
            end: last.end,
            next_sequence: last.last_sequence + 1,
            segment_bytes,
            poisoned: false,
        };
        let mut segments: Vec<_> = view.parts.iter().map(|p| Arc::clone(&p.segment)).collect();
        if last.sealed {
            log.next_segment()?;
            segments.push(Arc::clone(&log.active));
        }
        Ok(Self {
            path: path.to_path_buf(),
            id,
            properties: file.properties,
            role: Role::Writer(Box::new(Writer {
                index,
                log: Mutex::new(log),
                segments: RwLock::new(segments),
                _lock: lock,
            })),
            recovered,
        })
    }

    /// Opens the store at `path` for reading, also while another process writes to it.
    ///
    /// What is written later is seen after [`refresh`](Backend::refresh). A write that is just
    /// under way may be seen before it is acknowledged.
    ///
    /// # Errors
    /// `StoreNotFound`, `UnsupportedVersion`, `Corrupted` and `Io`, as [`open`](Self::open).
    pub fn open_read_only(path: &Path) -> Result<Self> {
        let (file, id) = read_store_file(path)?;
        let view = View::open(&path.join(SEGMENTS), id)?;
        Ok(Self {
            path: path.to_path_buf(),
            id,
            properties: file.properties,
            role: Role::Reader(RwLock::new(Arc::new(view))),
            recovered: None,
        })
    }

    /// The folder of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What opening had to put in order after a crash, as a sentence; `None` after a clean close.
    pub fn recovered(&self) -> Option<&str> {
        self.recovered.as_deref()
    }
}

/// Refuses a folder that holds anything but what an interrupted making of a store leaves.
fn check_vacant(path: &Path) -> Result<()> {
    if path.join(store_file::NAME).exists() {
        return Err(Error::new(
            ErrorKind::StoreExists,
            format!("{} is a store already", path.display()),
        ));
    }
    let segments = path.join(SEGMENTS);
    let mut unfinished = fs::names(path)?
        .iter()
        .all(|name| name == LOCK || name == SEGMENTS);
    if unfinished && segments.exists() {
        // A first segment without a frame is all that can be there.
        for name in fs::names(&segments)? {
            let file = segments.join(&name);
            let open = || Segment::open(file, 1, fs::open)?.is_empty();
            unfinished &= name == *segment::file_name(1) && open().unwrap_or(false);
        }
    }
    if unfinished {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{} is no store and not empty",
        path.display()
    )))
}

fn read_store_file(path: &Path) -> Result<(StoreFile, StoreId)> {
    let file = StoreFile::read(path)?;
    let id = file.id().expect("StoreFile::read refuses an invalid id");
    Ok((file, id))
}

fn take_lock(path: &Path) -> Result<File> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|e| Error::io("open for writing", path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Locked,
            format!(
                "another process writes to the store ({} is locked)",
                path.display()
            ),
        )),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path, error)),
    }
}

impl Writer {
    fn log(&self) -> MutexGuard<'_, Log> {
        // A panic while appending leaves the log marked as poisoned, so going on is safe.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_body(&self, key: &[u8], location: &Location) -> Result<Vec<u8>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let segment = (location.segment as usize)
            .checked_sub(1)
            .and_then(|at| segments.get(at));
        let segment = segment.map(Arc::clone).ok_or_else(|| {
            Error::corrupted(format!(
                "the index names segment {}, which isn't there",
                location.segment
            ))
        })?;
        drop(segments);
        segment.read_body(key, location)
    }

    fn apply(&self, store: StoreId, batch: Vec<Operation>) -> Result<()> {
        let mut log = self.log();
        check_batch(&batch, |key| Ok(self.index.get(key)?.is_some()))?;
        if batch.is_empty() {
            return Ok(());
        }
        let written = log.append(batch)?;
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if segments
            .last()
            .is_none_or(|last| last.number != log.active.number)
        {
            segments.push(Arc::clone(&log.active));
        }
        drop(segments);
        let reached = Checkpoint {
            store,
            segment: log.active.number,
            offset: log.end,
            sequence: log.next_sequence - 1,
            keys: 0,
            clean: false,
        };
        self.index.apply(&written, reached).map_err(|error| {
            // The batch is durable, but this process can't find it: opening anew can.
            log.poisoned = true;
            Error::new(
                ErrorKind::Poisoned,
                "the batch is stored, but the index failed; it is made anew when the store is opened",
            )
            .with_source(error)
        })
    }
}

impl Backend for LocalBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        let Some(latest) = self.latest(key)? else {
            return Ok(None);
        };
        let bytes = match &self.role {
            Role::Writer(writer) => writer.read_body(key, &latest.location)?,
            Role::Reader(view) => read_view(view).read_body(key, &latest.location)?,
        };
        Ok(Some(Item {
            bytes,
            stored_bytes: latest.location.frame_len,
        }))
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let latest = self.latest(key)?;
        Ok(latest.map(|latest| to_entry(key.to_vec(), latest)))
    }

    fn apply(&self, batch: Vec<Operation>) -> Result<()> {
        match &self.role {
            Role::Writer(writer) => writer.apply(self.id, batch),
            Role::Reader(_) => Err(Error::new(
                ErrorKind::ReadOnly,
                format!("{} was opened for reading only", self.path.display()),
            )),
        }
    }

    fn scan(&self, prefix: &[u8], from: &[u8]) -> Entries<'_> {
        match &self.role {
            Role::Writer(writer) => {
                let entries = writer.index.scan(prefix, from);
                Box::new(entries.map(|e| e.map(|(key, latest)| to_entry(key, latest))))
            }
            Role::Reader(view) => {
                let prefix = prefix.to_vec();
                let entries = read_view(view).entries_from(from.max(&prefix));
                let inside = entries.take_while(move |e| {
                    e.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix))
                });
                Box::new(inside.map(|e| e.map(|(key, latest)| to_entry(key, latest))))
            }
        }
    }

    fn refresh(&self) -> Result<()> {
        if let Role::Reader(view) = &self.role {
            let new = View::open(&self.path.join(SEGMENTS), self.id)?;
            *view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        }
        Ok(())
    }

    fn property(&self, name: &str) -> Option<String> {
        self.properties.get(name).cloned()
    }

    fn disk_bytes(&self) -> Result<u64> {
        let folder = self.path.join(SEGMENTS);
        let sizes = fs::names(&folder)?.into_iter().map(|name| {
            let path = folder.join(name);
            let metadata = std::fs::metadata(&path);
            Ok(metadata.map_err(|e| Error::io("look at", &path, e))?.len())
        });
        sizes.sum()
    }
}

impl LocalBackend {
    fn latest(&self, key: &[u8]) -> Result<Option<Latest>> {
        match &self.role {
            Role::Writer(writer) => writer.index.get(key),
            Role::Reader(view) => read_view(view).get(key),
        }
    }
}

fn read_view(view: &RwLock<Arc<View>>) -> Arc<View> {
    Arc::clone(&view.read().unwrap_or_else(PoisonError::into_inner))
}

fn to_entry(key: Vec<u8>, latest: Latest) -> Entry {
    Entry {
        key,
        facts: latest.facts,
        stored_bytes: latest.location.frame_len,
    }
}

impl Drop for LocalBackend {
    fn drop(&mut self) {
        if let Role::Writer(writer) = &self.role {
            // The index can be made anew; a failure here costs the next opening some time.
            let _ = writer.index.close();
        }
    }
}
