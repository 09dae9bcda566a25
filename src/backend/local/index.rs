//! The index by key: a sled tree of small entries, always replaceable by a walk over the log.
//!
//! Invariant: what it holds is exactly what the log says up to its checkpoint, because both are
//! written in one atomic sled batch; a panic inside sled becomes an error. The only user of `sled`.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind::StorageFull;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use twox_hash::XxHash3_64;

use super::checkpoint::{Checkpoint, Position};
use super::footer::Latest;
use super::frame::Kind;
use super::segment::{Location, StoreId};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// Entries stand under their key behind this byte, bytes in use of a segment under its number
/// behind another, the checkpoint under a third.
const ENTRY: u8 = b'e';
const LIVE: u8 = b'l';
const CHECKPOINT: &[u8] = b"c";
const ENTRY_PREFIX: usize = 28;

/// Bounds sled's page cache; entries of a million records fit.
const CACHE_BYTES: u64 = 64 << 20;

/// Entries that go into an empty index in one step.
const FILL_STEP: usize = 4096;

/// sled gives its lock up a moment after it was dropped.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// On a full disk sled can wait for ever for its own writes.
const CLOSE_PATIENCE: Duration = Duration::from_mins(1);

pub(super) struct Index {
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
struct State {
    checkpoint: Option<Checkpoint>,
    /// Bytes of the frames in each segment that the index points to.
    live: BTreeMap<u32, u64>,
}

/// Where compaction moved a frame.
pub(super) struct Move {
    pub(super) key: Vec<u8>,
    pub(super) from: Location,
    pub(super) to: Latest,
}

/// Runs a call of sled; its errors and its panics become ours.
fn guarded<T>(doing: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
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

impl Index {
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
                let batch = std::mem::take(&mut change.batch);
                guarded("write", || self.tree().apply_batch(batch))?;
            }
        }
        *state = change.commit(store, position, compacted)?;
        Ok(())
    }

    /// Applies what the log says next and moves the checkpoint, in one atomic step.
    pub(super) fn apply(&self, news: &[(Vec<u8>, Latest)], position: Position) -> Result<()> {
        let mut state = self.state();
        let checkpoint = state.checkpoint.ok_or_else(not_begun)?;
        let mut change = Change::new(self.tree(), &state);
        for (key, latest) in news {
            change.set(key, Some(latest).filter(|l| l.kind == Kind::Put))?;
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

impl Drop for Index {
    fn drop(&mut self) {
        if let Some(sled) = self.sled.take() {
            with_patience(move || drop(sled));
        }
    }
}

/// What `work` returns, or `None` if it takes longer than anyone should wait; it then goes on alone.
fn with_patience<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, wait) = channel();
    std::thread::spawn(move || done.send(work()));
    wait.recv_timeout(CLOSE_PATIENCE).ok()
}

/// Changes to the tree that become one atomic batch, with the sums that go with them.
struct Change<'a> {
    tree: &'a sled::Tree,
    batch: sled::Batch,
    /// Keys that were changed, as they will be.
    changed: HashMap<Vec<u8>, Option<Latest>>,
    keys: u64,
    digest: u64,
    live: BTreeMap<u32, u64>,
    touched: Vec<u32>,
}

impl<'a> Change<'a> {
    fn new(tree: &'a sled::Tree, state: &State) -> Self {
        let (keys, digest) = state.checkpoint.map_or((0, 0), |c| (c.keys, c.digest));
        Self {
            tree,
            batch: sled::Batch::default(),
            changed: HashMap::new(),
            keys,
            digest,
            live: state.live.clone(),
            touched: Vec::new(),
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Latest>> {
        if let Some(latest) = self.changed.get(key) {
            return Ok(latest.clone());
        }
        let value = guarded("look up", || self.tree.get(entry_key(key)))?;
        value.map(|bytes| read_entry(&bytes)).transpose()
    }

    fn set(&mut self, key: &[u8], latest: Option<&Latest>) -> Result<()> {
        if let Some(before) = self.get(key)? {
            self.keys -= 1;
            let entry = write_entry(&before);
            self.digest = self.digest.wrapping_sub(hash(key, &entry));
            let live = self.live.entry(before.location.segment).or_default();
            *live = live.saturating_sub(before.location.frame_len);
            self.touched.push(before.location.segment);
        }
        match latest {
            Some(after) => self.insert(key, after),
            None => self.batch.remove(entry_key(key)),
        }
        self.changed.insert(key.to_vec(), latest.cloned());
        Ok(())
    }

    /// Inserts the entry of a key that has none.
    fn insert(&mut self, key: &[u8], latest: &Latest) {
        self.keys += 1;
        let entry = write_entry(latest);
        self.digest = self.digest.wrapping_add(hash(key, &entry));
        let segment = latest.location.segment;
        *self.live.entry(segment).or_default() += latest.location.frame_len;
        if self.touched.last() != Some(&segment) {
            self.touched.push(segment);
        }
        self.batch.insert(entry_key(key), entry);
    }

    fn commit(mut self, store: StoreId, position: Position, compacted: u32) -> Result<State> {
        let checkpoint = Checkpoint {
            store,
            position,
            compacted,
            keys: self.keys,
            digest: self.digest,
        };
        self.touched.sort_unstable();
        self.touched.dedup();
        for segment in self.touched {
            let key = [&[LIVE][..], &segment.to_be_bytes()].concat();
            match self.live.get(&segment) {
                Some(&bytes) if bytes > 0 => self.batch.insert(key, &bytes.to_le_bytes()),
                _ => {
                    self.live.remove(&segment);
                    self.batch.remove(key);
                }
            }
        }
        self.batch.insert(CHECKPOINT, checkpoint.to_bytes());
        guarded("write", || self.tree.apply_batch(self.batch))?;
        Ok(State {
            checkpoint: Some(checkpoint),
            live: self.live,
        })
    }
}

/// The last operation in the index of a store of format 1, if that can be read.
pub(super) fn last_of_format_1(folder: &Path, store: StoreId) -> Option<u64> {
    // Opening would make a folder where there is none.
    let index = folder.is_dir().then(|| Index::open(folder).ok())??;
    let bytes = guarded("read its checkpoint", || index.tree().get(CHECKPOINT)).ok()??;
    // Store, segment (u32), offset and sequence number (u64 each), and more.
    let (known, rest) = bytes.split_first_chunk::<16>()?;
    let sequence = rest.get(12..20)?.first_chunk()?;
    (*known == store && bytes.len() == 45).then(|| u64::from_le_bytes(*sequence))
}

fn not_begun() -> Error {
    Error::corrupted("the index has no checkpoint")
}

fn endless() -> Error {
    Error::new(
        ErrorKind::Io,
        "the index doesn't come to an end of its writes",
    )
}

fn is_lock(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|e| e.to_string().contains("acquire lock"))
}

/// The hash of what the index says of `key`.
pub(super) fn entry_hash(key: &[u8], latest: &Latest) -> u64 {
    hash(key, &write_entry(latest))
}

fn hash(key: &[u8], entry: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(XxHash3_64::oneshot(key), entry)
}

fn entry_key(key: &[u8]) -> Vec<u8> {
    [&[ENTRY], key].concat()
}

fn write_entry(latest: &Latest) -> Vec<u8> {
    let location = &latest.location;
    let mut out = Vec::with_capacity(ENTRY_PREFIX + latest.facts.len());
    out.extend_from_slice(&location.segment.to_le_bytes());
    out.extend_from_slice(&location.offset.to_le_bytes());
    out.extend_from_slice(&location.frame_len.to_le_bytes());
    out.extend_from_slice(&location.sequence.to_le_bytes());
    out.extend_from_slice(&latest.facts);
    out
}

fn read_entry(bytes: &[u8]) -> Result<Latest> {
    let damaged = || Error::corrupted("an entry of the index is damaged");
    let (prefix, facts) = bytes
        .split_first_chunk::<ENTRY_PREFIX>()
        .ok_or_else(damaged)?;
    let [s0, s1, s2, s3, rest @ ..] = *prefix;
    let (numbers, _) = rest.as_chunks::<8>();
    Ok(Latest {
        kind: Kind::Put,
        location: Location {
            segment: u32::from_le_bytes([s0, s1, s2, s3]),
            offset: u64::from_le_bytes(numbers[0]),
            frame_len: u64::from_le_bytes(numbers[1]),
            sequence: u64::from_le_bytes(numbers[2]),
        },
        facts: facts.to_vec(),
    })
}
