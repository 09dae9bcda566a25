//! The one process that writes: batches of several threads in one sync.
//!
//! Invariant: the order of every change is append, sync, index, acknowledge. A thread that finds
//! nobody committing commits for all who wait.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use super::catalog::{Catalog, Part};
use super::checkpoint;
use super::disk::Medium;
use super::index::Index;
use super::log::{self, Log};
use super::recovery::{self, Known};
use super::segment::{Segment, StoreId};
use super::space::Space;
use super::view::View;
use super::{INDEX, LOST, SEGMENTS, Settings};
use crate::backend::{Durability, Operation, check_batch};
use crate::error::{Error, ErrorKind, Result};

/// Batches are committed together up to this many bytes.
const GROUP_BYTES: u64 = 16 << 20;

pub(super) struct Writer {
    pub(super) medium: Medium,
    pub(super) folder: PathBuf,
    /// Gone only while the writer is dropped.
    index: Option<Index>,
    pub(super) log: Mutex<Log>,
    /// All segments by number, those that compaction is about to remove included.
    pub(super) segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// Those of them that are sealed, in the order of their operations, with their keys.
    pub(super) sealed: RwLock<Vec<Part>>,
    pub(super) space: Space,
    queue: Mutex<Queue>,
    committed: Condvar,
    /// Held while segments are compacted.
    pub(super) compacting: Mutex<()>,
    /// Whether that is done where a write leaves too much garbage.
    compacts: AtomicBool,
    pub(super) settings: Settings,
    /// The log up to an operation, once the index failed a read.
    pub(super) view: Mutex<Option<(u64, Arc<View>)>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Request>,
    /// Somebody is committing.
    busy: bool,
}

struct Request {
    batch: Vec<Operation>,
    bytes: u64,
    durability: Durability,
    slot: Arc<Mutex<Option<Result<()>>>>,
}

impl Request {
    fn answer(&self, result: Result<()>) {
        *locked(&self.slot) = Some(result);
    }
}

/// What panicked elsewhere left nothing half done: the log then counts as poisoned.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Brings the store in `folder` in order after whatever happened; also says what that was.
    pub(super) fn open(
        folder: &Path,
        store: StoreId,
        settings: &Settings,
    ) -> Result<(Self, Option<String>)> {
        let medium = &settings.medium;
        let space = Space::new(medium, folder, settings.ballast_bytes);
        if !space.make_room()? {
            return Err(Error::new(
                ErrorKind::Full,
                format!("there is no room for the index in {}", folder.display()),
            ));
        }
        let segments_folder = folder.join(SEGMENTS);
        let catalog = Catalog::open(medium, &segments_folder, store)?;
        let last = checkpoint::last_close(medium, folder, store)?;
        checkpoint::mark_opened(medium, folder, &last)?;
        remove_leftovers(medium, &segments_folder, &catalog)?;

        let index_folder = folder.join(INDEX);
        let known = Known::open(&index_folder, store, &catalog, &last)?;
        let tail = recovery::find_tail(medium, &catalog, &known, &folder.join(LOST))?;
        let tree = recovery::level_index(&catalog, &tail, known, store, &index_folder)?;
        let index = Index::over(tree, tail.position, settings.hand_over);
        // Without ballast a store works as well, until the disk is full.
        let _ = space.take_in_ballast();

        let sealed = catalog.sealed.iter().map(|part| &part.segment);
        let active = tail.active.iter().map(|active| &active.segment);
        let segments = sealed.chain(active);
        let segments = segments.map(|s| (s.number(), Arc::clone(s))).collect();
        let log = Log {
            medium: medium.clone(),
            folder: segments_folder,
            store,
            active: tail.active,
            next_number: catalog.next_number,
            position: tail.position,
            unsynced_bytes: 0,
            buffer: Vec::new(),
            segment_bytes: settings.segment_bytes,
            poisoned: false,
        };
        let writer = Self {
            medium: medium.clone(),
            folder: folder.to_path_buf(),
            index: Some(index),
            log: Mutex::new(log),
            segments: RwLock::new(segments),
            sealed: RwLock::new(catalog.sealed),
            space,
            queue: Mutex::default(),
            committed: Condvar::new(),
            compacting: Mutex::new(()),
            compacts: settings.options.automatic_compaction.into(),
            settings: settings.clone(),
            view: Mutex::default(),
        };
        Ok((writer, tail.cut))
    }

    pub(super) fn index(&self) -> &Index {
        let index = self.index.as_ref();
        index.expect("a writer has an index until it is dropped")
    }

    /// Applies `batch`, alone or together with those of other threads.
    pub(super) fn apply(&self, batch: Vec<Operation>, durability: Durability) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let slot = Arc::new(Mutex::new(None));
        let bytes = batch
            .iter()
            .map(log::frame_len)
            .fold(0, u64::saturating_add);
        let mut queue = locked(&self.queue);
        queue.waiting.push(Request {
            batch,
            bytes,
            durability,
            slot: Arc::clone(&slot),
        });
        loop {
            if let Some(result) = locked(&slot).take() {
                drop(queue);
                if result.is_ok() && self.compacts.load(Ordering::Relaxed) {
                    // The batch is safe either way. What is in the way now will be next time, too:
                    // `compact` tells what it is.
                    let done = self.compact_a_little();
                    self.compacts.fetch_and(done.is_ok(), Ordering::Relaxed);
                }
                return result;
            }
            if queue.busy {
                let woken = self.committed.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.busy = true;
            let mut bytes = 0;
            let fits = queue.waiting.iter().take_while(|request| {
                bytes += request.bytes.min(GROUP_BYTES);
                bytes <= GROUP_BYTES
            });
            let count = fits.count().max(1);
            let group: Vec<_> = queue.waiting.drain(..count).collect();
            drop(queue);
            self.lead(group);
            queue = locked(&self.queue);
        }
    }

    /// Commits `group`, and wakes those who wait also if that panics.
    fn lead(&self, group: Vec<Request>) {
        struct Wake<'a>(&'a Writer, Vec<Arc<Mutex<Option<Result<()>>>>>);
        impl Drop for Wake<'_> {
            fn drop(&mut self) {
                for slot in &self.1 {
                    locked(slot).get_or_insert_with(|| {
                        Err(Error::new(
                            ErrorKind::Poisoned,
                            "the commit ended with a panic",
                        ))
                    });
                }
                locked(&self.0.queue).busy = false;
                self.0.committed.notify_all();
            }
        }
        let slots = group.iter().map(|request| Arc::clone(&request.slot));
        let _wake = Wake(self, slots.collect());
        self.commit(group);
    }

    fn commit(&self, group: Vec<Request>) {
        let mut log = locked(&self.log);
        // What the batches before in this group do, which the index doesn't know yet.
        let mut changed: HashMap<Vec<u8>, bool> = HashMap::new();
        let (mut accepted, mut batches, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut sync = false;
        for mut request in group {
            let exists = |key: &[u8]| match changed.get(key) {
                Some(&there) => Ok(there),
                None => Ok(self.index().get(key)?.is_some()),
            };
            let frees = |o: &Operation| matches!(o, Operation::Delete { .. });
            let frees = request.batch.iter().all(frees);
            let checked = log
                .check()
                .and_then(|()| self.index().check(&self.folder))
                .and_then(|()| check_batch(&request.batch, exists))
                .and_then(|()| self.space.check(bytes + request.bytes, frees));
            if let Err(error) = checked {
                request.answer(Err(error));
                continue;
            }
            for operation in &request.batch {
                let there = matches!(operation, Operation::Put { .. });
                changed.insert(operation.key().to_vec(), there);
            }
            bytes += request.bytes;
            sync |= request.durability == Durability::Synced;
            batches.push(std::mem::take(&mut request.batch));
            accepted.push(request);
        }
        if batches.is_empty() {
            return;
        }
        let result = self.append(&mut log, batches, sync);
        drop(log);
        let mut accepted = accepted.into_iter();
        let first = accepted.next();
        for request in accepted {
            request.answer(result.as_ref().copied().map_err(Error::again));
        }
        // One of them gets the error itself, with its sources.
        if let Some(request) = first {
            request.answer(result);
        }
    }

    pub(super) fn append(
        &self,
        log: &mut Log,
        batches: Vec<Vec<Operation>>,
        sync: bool,
    ) -> Result<()> {
        let appended = log.append(batches, sync).inspect_err(|error| {
            if error.kind() == ErrorKind::Full {
                // sled still has to write what it was told before.
                let _ = self.space.give_up_ballast();
            }
        })?;
        self.add_segments(log, appended.sealed);
        self.index().apply(appended.news, log.position);
        Ok(())
    }

    /// Lets readers of this process find what the log has begun or sealed.
    pub(super) fn add_segments(&self, log: &Log, sealed: Option<Part>) {
        if let Some(part) = sealed {
            let parts = self.sealed.write();
            parts.unwrap_or_else(PoisonError::into_inner).push(part);
        }
        let Some(active) = &log.active else {
            return;
        };
        let number = active.segment.number();
        let known = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        if known.contains_key(&number) {
            return;
        }
        drop(known);
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        segments.insert(number, Arc::clone(&active.segment));
    }

    pub(super) fn flush(&self) -> Result<()> {
        locked(&self.log).sync()
    }
}

/// Removes what an interrupted compaction left.
fn remove_leftovers(medium: &Medium, folder: &Path, catalog: &Catalog) -> Result<()> {
    let mut leftovers = medium.unfinished(folder, "")?;
    leftovers.extend(catalog.superseded.iter().cloned());
    // A killed process may not have synced the names it gave: of the segment that is written to
    // next, and of the one that supersedes others, which must be on the medium before theirs go.
    medium.sync_dir(folder)?;
    for path in &leftovers {
        medium.remove(path)?;
    }
    if leftovers.is_empty() {
        Ok(())
    } else {
        medium.sync_dir(folder)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Whatever fails here costs the next opening some time, and nothing else: but for what was
        // written without a sync, as its durability says.
        let mut log = locked(&self.log);
        let synced = log.sync();
        let sequence = log.position.sequence;
        drop(log);
        let Some(index) = self.index.take() else {
            return;
        };
        if synced.is_err() {
            return;
        }
        // Syncing moved the position on; the index should know.
        index.apply(Vec::new(), locked(&self.log).position);
        if let Ok(Some(checkpoint)) = index.close()
            && checkpoint.position.sequence == sequence
        {
            let _ = checkpoint::write_closed(&self.medium, &self.folder, &checkpoint);
        }
    }
}
