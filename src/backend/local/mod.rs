//! A store in a folder: an append-only log in segments, which is the truth, and a sled index of it.
//!
//! Invariant: one process writes, any number read beside it. A writer's lookups go through the
//! index; readers never touch sled and make their view from the segments. `FORMAT.md` draws the
//! bytes and says what the medium is assumed to do.

mod backup;
mod catalog;
mod change;
mod checkpoint;
mod compaction;
mod create;
mod disk;
mod entry;
mod footer;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod heads;
mod index;
mod lock;
mod log;
mod lookup;
mod migrate;
mod recovery;
mod repair;
mod segment;
mod space;
mod store_file;
#[cfg(test)]
mod tests;
mod tree;
mod verify;
mod view;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Backend, Compaction, Durability, Entries, Entry, Item, Operation};
use crate::error::{Error, ErrorKind, Result};
pub use backup::Backup;
use disk::{Access, Medium};
use footer::Latest;
use lock::{Lock, take_lock};
pub use migrate::Migration;
pub use repair::{Lost, Repair, RepairOptions, Unknown};
use segment::{Location, Segment, StoreId};
use store_file::StoreFile;
pub use verify::{Affected, Damage, Finding, ItemCheck, Standing, Verification};
use view::View;
use writer::Writer;

const SEGMENTS: &str = "segments";
const INDEX: &str = "index";
const LOCK: &str = "lock";
const LOST: &str = "lost";

/// A [`Backend`] in a folder of the local file system.
pub struct LocalBackend {
    path: PathBuf,
    id: StoreId,
    medium: Medium,
    properties: BTreeMap<String, String>,
    role: Role,
    recovered: Option<String>,
    /// Held by a writer, until it is gone: fields are dropped in this order.
    _lock: Option<Lock>,
}

enum Role {
    Writer(Box<Writer>),
    Reader(RwLock<Arc<View>>),
    /// Opened for writing where the disk has no room for the index: reads go on.
    NoRoom {
        view: Arc<View>,
        why: Error,
    },
}

/// What a repair or a backup is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The store is looked through.
    Reading,
    /// Its items or files are copied.
    Copying,
    /// What was made is looked through.
    Checking,
}

/// How a store is opened for writing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Whether a write that finds more than half of the segments' bytes to be garbage, and at least
    /// 64 MiB, rewrites some of them before it returns: at most a segment's 256 MiB at a time. On
    /// unless told otherwise; [`LocalBackend::compact`] does it when it is called.
    pub automatic_compaction: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            automatic_compaction: true,
        }
    }
}

/// What tests may set besides.
#[derive(Clone)]
struct Settings {
    medium: Medium,
    segment_bytes: u64,
    ballast_bytes: u64,
    hand_over: usize,
    options: OpenOptions,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            medium: Medium::system(),
            segment_bytes: log::SEGMENT_BYTES,
            ballast_bytes: space::BALLAST_BYTES,
            hand_over: index::HAND_OVER,
            options: OpenOptions::default(),
        }
    }
}

impl LocalBackend {
    /// Opens the store at `path` for reading and writing.
    ///
    /// Each segment's file stays open, one for every 256 MiB: a process that opens a large store must
    /// be allowed that many.
    ///
    /// Where the disk is so full that the index can't be opened, reads work and writes end in `Full`.
    ///
    /// # Errors
    /// `StoreNotFound`, `UnsupportedVersion`; `Locked` if another process writes to it;
    /// `Corrupted` if segments are missing or damaged at places that a crash can't explain; `Io`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &OpenOptions::default())
    }

    /// As [`open`](Self::open), with `options`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: &Path, options: &OpenOptions) -> Result<Self> {
        let settings = Settings {
            options: options.clone(),
            ..Settings::default()
        };
        Self::open_set(path, &settings)
    }

    fn open_set(path: &Path, settings: &Settings) -> Result<Self> {
        let medium = settings.medium.clone();
        let (file, id) = read_store_file(&medium, path)?;
        let lock = take_lock(&path.join(LOCK))?;
        let opened = Writer::open(path, id, settings);
        let (role, recovered) = match opened {
            Ok((writer, recovered)) => (Role::Writer(Box::new(writer)), recovered),
            Err(why) if why.kind() == ErrorKind::Full => {
                let view = Arc::new(read_view(&medium, path, id)?);
                (Role::NoRoom { view, why }, None)
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_path_buf(),
            id,
            medium,
            properties: file.properties,
            role,
            recovered,
            _lock: Some(lock),
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
        Self::open_read_only_on(Medium::system(), path)
    }

    fn open_read_only_on(medium: Medium, path: &Path) -> Result<Self> {
        let (file, id) = read_store_file(&medium, path)?;
        let view = read_view(&medium, path, id)?;
        Ok(Self {
            path: path.to_path_buf(),
            id,
            medium,
            properties: file.properties,
            role: Role::Reader(RwLock::new(Arc::new(view))),
            recovered: None,
            _lock: None,
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

fn read_store_file(medium: &Medium, path: &Path) -> Result<(StoreFile, StoreId)> {
    let file = StoreFile::read(medium, path)?;
    let id = file.id().expect("StoreFile::read refuses an invalid id");
    Ok((file, id))
}

/// Bytes that an item takes in a segment, framing included.
pub(crate) fn stored_bytes(key: &[u8], facts: &[u8], bytes: &[u8]) -> u64 {
    let length = frame::Head::frame_len_of(key.len(), facts.len(), bytes.len() as u64);
    length.unwrap_or(u64::MAX)
}

/// The log of the store `id` in the folder `path` as it is now.
fn read_view(medium: &Medium, path: &Path, id: StoreId) -> Result<View> {
    // Asked first: a log only grows.
    let last = checkpoint::last_close(medium, path, id)?;
    let view = View::open(medium, &path.join(SEGMENTS), id, last.synced)?;
    checkpoint::check_log_reaches(view.last_sequence(), last.synced)?;
    Ok(view)
}

impl Backend for LocalBackend {
    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        let found = self.read(key, |segment, location| segment.read_body(key, location))?;
        Ok(found.map(|(bytes, stored_bytes)| Item {
            bytes,
            stored_bytes,
        }))
    }

    fn get_with(&self, key: &[u8], read: &mut dyn FnMut(&[u8])) -> Result<Option<u64>> {
        let found = self.read(key, |segment, location| {
            segment.read_body_with(key, location, read)
        })?;
        Ok(found.map(|((), stored_bytes)| stored_bytes))
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let latest = match &self.role {
            Role::Writer(writer) => writer.latest(key)?,
            Role::Reader(view) => current(view).get(key)?,
            Role::NoRoom { view, .. } => view.get(key)?,
        };
        Ok(latest.map(|latest| to_entry(key.to_vec(), latest)))
    }

    fn apply(&self, batch: Vec<Operation>, durability: Durability) -> Result<()> {
        self.writer()?.apply(batch, durability)
    }

    fn flush(&self) -> Result<()> {
        match &self.role {
            Role::Writer(writer) => writer.flush(),
            Role::Reader(_) | Role::NoRoom { .. } => Ok(()),
        }
    }

    /// Rewrites the segments in which a twentieth or more is garbage, and puts small ones together.
    /// Reads and writes go on meanwhile; killed at any point, it loses nothing.
    fn compact(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Compaction> {
        self.writer()?.compact(progress)
    }

    fn scan(&self, prefix: &[u8], from: &[u8]) -> Entries<'_> {
        let view = match &self.role {
            Role::Writer(writer) => {
                let entries = writer.scan(prefix, from);
                return Box::new(entries.map(|e| e.map(|(key, latest)| to_entry(key, latest))));
            }
            Role::Reader(view) => current(view),
            Role::NoRoom { view, .. } => Arc::clone(view),
        };
        let prefix = prefix.to_vec();
        let entries = view.entries_from(from.max(&prefix));
        let inside = entries
            .take_while(move |e| e.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)));
        Box::new(inside.map(|e| e.map(|(key, latest)| to_entry(key, latest))))
    }

    fn refresh(&self) -> Result<()> {
        if let Role::Reader(view) = &self.role {
            let new = read_view(&self.medium, &self.path, self.id)?;
            *view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        }
        Ok(())
    }

    fn property(&self, name: &str) -> Option<String> {
        self.properties.get(name).cloned()
    }

    fn disk_bytes(&self) -> Result<u64> {
        let folder = self.path.join(SEGMENTS);
        let mut sum = 0;
        for name in self.medium.names(&folder)? {
            match self.medium.open(&folder.join(name), Access::Read) {
                Ok(file) => sum += file.len()?,
                // Compaction took it away.
                Err(error) if is_not_found(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sum)
    }
}

impl LocalBackend {
    /// What `read` makes of the frame of `key`, and the bytes of that.
    fn read<T>(
        &self,
        key: &[u8],
        read: impl FnOnce(&Segment, &Location) -> Result<T>,
    ) -> Result<Option<(T, u64)>> {
        match &self.role {
            Role::Writer(writer) => writer.read(key, read),
            Role::Reader(view) => current(view).read(key, read),
            Role::NoRoom { view, .. } => view.read(key, read),
        }
    }

    /// # Errors
    /// `ReadOnly`, or `Full` where the disk has no room.
    fn writer(&self) -> Result<&Writer> {
        match &self.role {
            Role::Writer(writer) => Ok(writer),
            Role::Reader(_) => Err(Error::new(
                ErrorKind::ReadOnly,
                format!("{} was opened for reading only", self.path.display()),
            )),
            Role::NoRoom { why, .. } => Err(why.again()),
        }
    }
}

fn current(view: &RwLock<Arc<View>>) -> Arc<View> {
    Arc::clone(&view.read().unwrap_or_else(PoisonError::into_inner))
}

fn is_not_found(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>());
    source.is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}

fn to_entry(key: Vec<u8>, latest: Latest) -> Entry {
    Entry {
        key,
        facts: latest.facts,
        stored_bytes: latest.location.frame_len,
    }
}
