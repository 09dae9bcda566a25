//! The index on disk: a sled tree of small entries, always replaceable by a walk over the log.
//!
//! Invariant: what it holds is exactly what the log says up to its checkpoint, because both are
//! written in one atomic sled batch; a panic inside sled becomes an error. With `change.rs` the only
//! user of `sled`.

use std::collections::BTreeMap;
use std::io::ErrorKind::StorageFull;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::change::Change;
use super::checkpoint::{Checkpoint, Position};
use super::entry::{hash, read_entry};
use super::footer::Latest;
use super::frame::Kind;
use super::segment::{Location, StoreId};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// Entries stand under their key behind this byte, bytes in use of a segment under its number
/// behind another, the checkpoint under a third.
const ENTRY: u8 = b'e';
pub(super) const LIVE: u8 = b'l';
pub(super) const CHECKPOINT: &[u8] = b"c";

/// Bounds sled's page cache; entries of a million records fit.
const CACHE_BYTES: u64 = 64 << 20;

/// Entries that go into an empty index in one step.
const FILL_STEP: usize = 4096;

/// sled gives its lock up a moment after it was dropped.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// On a full disk sled can wait for ever for its own writes.
const CLOSE_PATIENCE: Duration = Duration::from_mins(1);

pub(super) struct Tree {
    folder: PathBuf,
    /// Gone only while it is dropped.
    sled: Option<Sled>,
    state: Mutex<State>,
}

#[derive(Clone)]
struct Sled {
    tree: sled::Tree,
    db: sled::Db,
}

/// What is known of the tree as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) checkpoint: Option<Checkpoint>,
    /// Bytes of the frames in each segment that the index points to.
    pub(super) live: BTreeMap<u32, u64>,
}

/// Where compaction moved a frame.
pub(super) struct Move {
    pub(super) key: Vec<u8>,
    pub(super) from: Location,
    pub(super) to: Latest,
}

/// Runs a call of sled; its errors and its panics become ours.
pub(super) fn guarded<T>(doing: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let full = matches!(&error, sled::Error::Io(io) if io.kind() == StorageFull);
            let kind = if full { ErrorKind::Full } else { ErrorKind::Io };
            Err(Error::new(kind, format!("the index can't {doing}")).with_source(error))
        }
        Err(_) => Err(Error::new(
            ErrorKind::Io,
            format!("the index stopped with a panic when asked to {doing}"),
        )),
    }
}

impl Tree {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        // Without a thread that writes every now and then: what a killed process hadn't written of
        // the index, the log has.
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None);
        let deadline = Instant::now() + LOCK_PATIENCE;
        let db = loop {
            match guarded("open", || config.open()) {
                Err(error) if is_lock(&error) && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => break other?,
            }
        };
        let tree = guarded("open its tree", || db.open_tree("index"))?;
        let checkpoint = guarded("read its checkpoint", || tree.get(CHECKPOINT))?;
        let checkpoint = checkpoint.and_then(|bytes| Checkpoint::from_bytes(&bytes));
        let mut live = BTreeMap::new();
        for pair in tree.scan_prefix([LIVE]) {
            let (key, value) = guarded("read its sums", || pair)?;
            // Anything else is found out by `is_sound`.
            if let (Some(segment), Some(bytes)) = (key[1..].first_chunk(), value.first_chunk()) {
                live.insert(u32::from_be_bytes(*segment), u64::from_le_bytes(*bytes));
            }
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            sled: Some(Sled { tree, db }),
            state: Mutex::new(State { checkpoint, live }),
        })
    }

    fn tree(&self) -> &sled::Tree {
        let sled = self.sled.as_ref();
        &sled.expect("an index has a tree until it is dropped").tree
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.state().checkpoint
    }

    /// Bytes of the frames in each segment that the index points to.
    pub(super) fn live_bytes(&self) -> BTreeMap<u32, u64> {
        self.state().live.clone()
    }

    /// Whether the entries are as many as the checkpoint says, and the very ones.
    pub(super) fn is_sound(&self) -> Result<bool> {
        let (mut keys, mut digest, mut live) = (0, 0u64, BTreeMap::new());
        for pair in self.tree().scan_prefix([ENTRY]) {
            let (key, value) = guarded("count", || pair)?;
            let location = read_entry(&value)?.location;
            keys += 1;
            digest = digest.wrapping_add(hash(&key[1..], &value));
            *live.entry(location.segment).or_default() += location.frame_len;
        }
        let state = self.state();
        let known = state.checkpoint.map(|c| (c.keys, c.digest));
        let mut counted = state.live.clone();
        counted.retain(|_, bytes| *bytes > 0);
        Ok(known == Some((keys, digest)) && counted == live)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Latest>> {
        let value = guarded("read", || self.tree().get(entry_key(key)))?;
        value.map(|bytes| read_entry(&bytes)).transpose()
    }

    /// Fills an empty index of `store`, whose newest compacted segment is `compacted`, with the
    /// entries that exist at `position`, each key once. It has no checkpoint until all are in.
    pub(super) fn fill(
        &self,
        entries: impl Iterator<Item = Result<(Vec<u8>, Latest)>>,
        store: StoreId,
        compacted: u32,
        position: Position,
    ) -> Result<()> {
        let mut state = self.state();
        let mut change = Change::new(self.tree(), &state);
        let mut step = 0;
        for entry in entries {
            let (key, latest) = entry?;
            change.insert(&key, &latest);
            step += 1;
            if step == FILL_STEP {
                step = 0;
                change.apply_so_far()?;
            }
        }
        *state = change.commit(store, position, compacted)?;
        Ok(())
    }

    /// Applies what the log says next, each key once, and moves the checkpoint, in one atomic step.
    pub(super) fn apply<'a>(
        &self,
        news: impl IntoIterator<Item = (&'a Vec<u8>, &'a Latest)>,
        position: Position,
    ) -> Result<()> {
        let mut state = self.state();
        let checkpoint = state.checkpoint.ok_or_else(not_begun)?;
        let mut change = Change::new(self.tree(), &state);
        for (key, latest) in news {
            change.set(key, Some(latest).filter(|latest| latest.kind == Kind::Put))?;
        }
        *state = change.commit(checkpoint.store, position, checkpoint.compacted)?;
        Ok(())
    }

    /// Points the entries that still say `from` to where compaction moved their frames.
    ///
    /// `compacted` is the number of the segment they were moved to, given with the last of them.
    pub(super) fn relocate(&self, moves: &[Move], compacted: Option<u32>) -> Result<()> {
        let mut state = self.state();
        let checkpoint = state.checkpoint.ok_or_else(not_begun)?;
        let mut change = Change::new(self.tree(), &state);
        for moved in moves {
            if change
                .get(&moved.key)?
                .is_some_and(|l| l.location == moved.from)
            {
                change.set(&moved.key, Some(&moved.to))?;
            }
        }
        let compacted = compacted.unwrap_or(checkpoint.compacted);
        *state = change.commit(checkpoint.store, checkpoint.position, compacted)?;
        Ok(())
    }

    /// Entries whose keys begin with `prefix` and are not less than `from`.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Latest)>> + Send + use<> {
        let prefix = entry_key(prefix);
        let mut iter = self.tree().range(prefix.clone().max(entry_key(from))..);
        std::iter::from_fn(move || {
            let next = guarded("list", || iter.next().transpose());
            match next {
                Ok(Some((key, _))) if !key.starts_with(&prefix) => None,
                Ok(Some((key, value))) => {
                    Some(read_entry(&value).map(|latest| (key[1..].to_vec(), latest)))
                }
                Ok(None) => None,
                Err(error) => Some(Err(error)),
            }
        })
    }

    /// Hands what sled still holds to the operating system, so that a killed process leaves it.
    pub(super) fn flush(&self) -> Result<()> {
        let Some(sled) = self.sled.clone() else {
            return Ok(());
        };
        let flushed = with_patience(move || guarded("flush", || sled.db.flush()));
        flushed.unwrap_or_else(|| Err(endless())).map(drop)
    }

    /// Puts everything on the medium; returns the checkpoint that it then holds.
    ///
    /// # Errors
    /// `Io`; also if sled doesn't come to an end, as on a full disk.
    pub(super) fn close(mut self) -> Result<Option<Checkpoint>> {
        let checkpoint = self.checkpoint();
        let Some(sled) = self.sled.take() else {
            return Ok(None);
        };
        let folder = self.folder.clone();
        let closed = with_patience(move || {
            guarded("flush", || sled.db.flush())?;
            drop(sled);
            // sled's own flush asks for less than a power cut takes.
            for name in fs::names(&folder)? {
                let path = folder.join(name);
                if path.is_file() {
                    fs::sync_data(&fs::open_writable(&path)?, &path)?;
                }
            }
            fs::sync_dir(&folder)
        });
        closed.unwrap_or_else(|| Err(endless()))?;
        Ok(checkpoint)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Some(sled) = self.sled.take() {
            with_patience(move || drop(sled));
        }
    }
}

/// What `work` returns, or `None` if it takes longer than anyone should wait; it then goes on alone.
pub(super) fn with_patience<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, wait) = channel();
    std::thread::spawn(move || done.send(work()));
    wait.recv_timeout(CLOSE_PATIENCE).ok()
}

/// The last operation in the index of a store of format 1, if that can be read.
pub(super) fn last_of_format_1(folder: &Path, store: StoreId) -> Option<u64> {
    // Opening would make a folder where there is none.
    let index = folder.is_dir().then(|| Tree::open(folder).ok())??;
    let bytes = guarded("read its checkpoint", || index.tree().get(CHECKPOINT)).ok()??;
    // Store, segment (u32), offset and sequence number (u64 each), and more.
    let (known, rest) = bytes.split_first_chunk::<16>()?;
    let sequence = rest.get(12..20)?.first_chunk()?;
    (*known == store && bytes.len() == 45).then(|| u64::from_le_bytes(*sequence))
}

fn not_begun() -> Error {
    Error::corrupted("the index has no checkpoint")
}

pub(super) fn endless() -> Error {
    Error::new(
        ErrorKind::Io,
        "the index doesn't come to an end of its writes",
    )
}

fn is_lock(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|e| e.to_string().contains("acquire lock"))
}

/// Whether opening failed for a reason that says nothing about the index.
pub(super) fn is_passing(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|e| e.downcast_ref());
    let Some(sled::Error::Io(io)) = source else {
        return false;
    };
    #[cfg(unix)]
    let too_many_files = {
        use rustix::io::Errno;
        matches!(
            Errno::from_io_error(io),
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM)
        )
    };
    #[cfg(not(unix))]
    let too_many_files = false;
    is_lock(error) || too_many_files || io.kind() == std::io::ErrorKind::PermissionDenied
}

pub(super) fn entry_key(key: &[u8]) -> Vec<u8> {
    [&[ENTRY], key].concat()
}
