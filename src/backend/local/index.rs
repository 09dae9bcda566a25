//! The index by key: what was changed last, in memory, over a tree that takes it over in bulk.
//!
//! Invariant: it answers what the log says up to the last [`apply`](Index::apply). A change leaves
//! memory only once the tree has it, with the position in the log that it belongs to; what a killed
//! process had in memory, the log has.

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;

use super::catalog::{Entries, after};
use super::checkpoint::{Checkpoint, Position};
use super::footer::Latest;
use super::frame::Kind;
use super::tree::{Move, Tree, endless, with_patience};
use super::view::merge;
use super::writer::locked;
use crate::error::{Error, ErrorKind, Result};

/// Changed keys that the tree takes over at once, in a thread of its own, while batches go on being
/// committed: one by one they would cost each batch as much as its checksums.
pub(super) const HAND_OVER: usize = 1024;

/// Where the tree is slower than the batches, they wait for it once it is this many steps behind.
const MAX_STEPS: usize = 8;

/// Entries that a listing takes at once.
const PAGE: usize = 256;

type Changes = BTreeMap<Vec<u8>, Latest>;

pub(super) struct Index {
    /// Dropped before what it works on.
    worker: Worker,
    layers: Arc<Layers>,
    hand_over: usize,
}

struct Layers {
    tree: Tree,
    recent: RwLock<Recent>,
}

/// What the tree doesn't have yet.
struct Recent {
    fresh: Changes,
    /// Where the log stands with them.
    position: Position,
    /// On their way to the tree, older than the fresh ones.
    leaving: Option<(Arc<Changes>, Position)>,
    /// Why the tree takes nothing more.
    failed: Option<Error>,
}

impl Recent {
    fn get(&self, key: &[u8]) -> Option<&Latest> {
        let leaving = self.leaving.as_ref();
        let older = || leaving.and_then(|(changes, _)| changes.get(key));
        self.fresh.get(key).or_else(older)
    }

    fn len(&self) -> usize {
        let leaving = self.leaving.as_ref();
        self.fresh.len() + leaving.map_or(0, |(changes, _)| changes.len())
    }
}

/// The thread that hands changes to the tree, if there is one.
#[derive(Default)]
struct Worker(Mutex<Option<JoinHandle<()>>>);

impl Worker {
    /// Does `work` once the thread is done, and keeps another from beginning meanwhile.
    fn instead<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut worker = locked(&self.0);
        if let Some(busy) = worker.take() {
            let _ = busy.join();
        }
        work()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let worker = locked(&self.0).take();
        with_patience(move || worker.map(JoinHandle::join));
    }
}

impl Layers {
    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent_mut(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands what is in memory to the tree. One thread at a time may.
    fn hand_over(&self) -> Result<()> {
        let mut recent = self.recent_mut();
        if let Some(error) = &recent.failed {
            return Err(error.again());
        }
        let changes = Arc::new(std::mem::take(&mut recent.fresh));
        let position = recent.position;
        recent.leaving = Some((Arc::clone(&changes), position));
        drop(recent);
        let taken = self.tree.apply(changes.iter(), position);
        let mut recent = self.recent_mut();
        match &taken {
            Ok(()) => recent.leaving = None,
            // Whether the tree has some of it isn't known: it is made anew from the log next time.
            Err(error) => recent.failed = Some(error.again()),
        }
        taken
    }

    /// The next entries of a listing.
    fn page(&self, prefix: &[u8], from: &[u8]) -> Result<Vec<(Vec<u8>, Latest)>> {
        let recent = self.recent();
        let range = |changes| -> Entries<'_> {
            let changes: &Changes = changes;
            let range = changes.range::<[u8], _>((Included(from), Unbounded));
            let inside = range.take_while(|(key, _)| key.starts_with(prefix));
            Box::new(inside.map(|(key, latest)| Ok((key.clone(), latest.clone()))))
        };
        let tree: Entries<'_> = Box::new(self.tree.scan(prefix, from));
        let leaving = recent.leaving.iter().map(|(changes, _)| range(changes));
        let sources = std::iter::once(tree).chain(leaving);
        merge(sources.chain([range(&recent.fresh)]))
            .take(PAGE)
            .collect()
    }
}

impl Index {
    /// An index whose tree is level with the log, and takes over `hand_over` changed keys at once.
    pub(super) fn over(tree: Tree, position: Position, hand_over: usize) -> Self {
        let recent = Recent {
            fresh: Changes::new(),
            position,
            leaving: None,
            failed: None,
        };
        Self {
            worker: Worker::default(),
            layers: Arc::new(Layers {
                tree,
                recent: RwLock::new(recent),
            }),
            hand_over,
        }
    }

    /// # Errors
    /// `Poisoned` if the tree failed to take over what it was to: no more than that should wait in
    /// memory.
    pub(super) fn check(&self, folder: &Path) -> Result<()> {
        match &self.layers.recent().failed {
            None => Ok(()),
            Some(error) => Err(Error::new(
                ErrorKind::Poisoned,
                format!(
                    "the index of {} failed: the store takes no writes until it is opened anew",
                    folder.display()
                ),
            )
            .with_source(error.again())),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Latest>> {
        if let Some(latest) = self.layers.recent().get(key) {
            return Ok((latest.kind == Kind::Put).then(|| latest.clone()));
        }
        self.layers.tree.get(key)
    }

    /// Takes in what the log says next, up to `position`.
    pub(super) fn apply(&self, news: Vec<(Vec<u8>, Latest)>, position: Position) {
        let mut recent = self.layers.recent_mut();
        recent.fresh.extend(news);
        recent.position = position;
        let (fresh, waiting) = (recent.fresh.len(), recent.len());
        drop(recent);
        if fresh < self.hand_over {
            return;
        }
        let mut worker = locked(&self.worker.0);
        if let Some(busy) =
            worker.take_if(|w| w.is_finished() || waiting >= MAX_STEPS * self.hand_over)
        {
            let _ = busy.join();
        }
        if worker.is_none() {
            let layers = Arc::clone(&self.layers);
            // What fails is told to who writes next.
            let work = move || drop(layers.hand_over());
            let thread = std::thread::Builder::new().name("latentdb-index".into());
            *worker = thread.spawn(work).ok();
            if worker.is_none() {
                // No thread is to be had.
                drop(self.layers.hand_over());
            }
        }
    }

    /// Waits until the tree has everything.
    fn settle(&self) -> Result<()> {
        self.worker.instead(|| self.layers.hand_over())
    }

    /// Bytes of the frames in each segment that the tree points to: a little behind.
    pub(super) fn live_bytes_lately(&self) -> BTreeMap<u32, u64> {
        self.layers.tree.live_bytes()
    }

    /// Bytes of the frames in each segment that the index points to.
    pub(super) fn live_bytes(&self) -> Result<BTreeMap<u32, u64>> {
        self.settle()?;
        Ok(self.layers.tree.live_bytes())
    }

    /// Points the entries that still say `from` to where compaction moved their frames.
    ///
    /// `compacted` is the number of the segment they were moved to, given with the last of them.
    /// Nothing is applied meanwhile: the caller has locked the log.
    pub(super) fn relocate(&self, moves: &[Move], compacted: Option<u32>) -> Result<()> {
        self.settle()?;
        self.layers.tree.relocate(moves, compacted)
    }

    /// Entries whose keys begin with `prefix` and are not less than `from`.
    pub(super) fn scan<'a>(
        &'a self,
        prefix: &[u8],
        from: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Latest)>> + Send + use<'a> {
        let mut next = Some(from.max(prefix).to_vec());
        let prefix = prefix.to_vec();
        let mut page = Vec::new().into_iter();
        std::iter::from_fn(move || {
            if page.len() == 0 {
                match self.layers.page(&prefix, &next.take()?) {
                    Ok(entries) => page = entries.into_iter(),
                    Err(error) => return Some(Err(error)),
                }
                // Fewer than that are the last of all.
                let last = page.as_slice().last().filter(|_| page.len() == PAGE);
                next = last.map(|(key, _)| after(key));
            }
            page.next().map(Ok)
        })
    }

    /// Hands everything to the operating system, so that a killed process leaves it.
    pub(super) fn flush(&self) -> Result<()> {
        self.settle()?;
        self.layers.tree.flush()
    }

    /// Puts everything on the medium; returns the checkpoint that it then holds.
    ///
    /// # Errors
    /// `Io`; also if sled doesn't come to an end, as on a full disk.
    pub(super) fn close(self) -> Result<Option<Checkpoint>> {
        let Self { worker, layers, .. } = self;
        let settled = with_patience(move || {
            worker.instead(|| layers.hand_over())?;
            Ok(layers)
        });
        let layers = settled.unwrap_or_else(|| Err(endless()))?;
        let layers = Arc::into_inner(layers).ok_or_else(endless)?;
        layers.tree.close()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::backend::local::segment::Location;

    const POSITION: Position = Position {
        segment: 1,
        offset: 0,
        sequence: 0,
        synced: 0,
        last_offset: 0,
        last_hash: 0,
    };

    /// What the log says of a key with operation `sequence`.
    fn news(key: u32, kind: Kind, sequence: u64) -> (Vec<u8>, Latest) {
        let location = Location {
            segment: 1,
            offset: 100 * sequence,
            frame_len: 100,
            sequence,
        };
        let latest = Latest {
            kind,
            location,
            facts: sequence.to_le_bytes().to_vec(),
        };
        (format!("{key:04}").into_bytes(), latest)
    }

    fn open(folder: &Path, hand_over: usize) -> Index {
        let tree = Tree::open(folder).unwrap();
        tree.fill(std::iter::empty(), [7; 16], 0, POSITION).unwrap();
        Index::over(tree, POSITION, hand_over)
    }

    fn entries(index: &Index, prefix: &[u8], from: &[u8]) -> Vec<(Vec<u8>, Latest)> {
        index.scan(prefix, from).map(Result::unwrap).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn changes_are_seen_at_once_wherever_they_are_on_their_way(
            batches in prop::collection::vec(prop::collection::vec((0u32..900, prop::bool::weighted(0.8)), 0..300), 1..12),
            hand_over in 1usize..600,
            settled in 0usize..12,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let index = open(folder.path(), hand_over);
            let (mut expected, mut position) = (BTreeMap::new(), POSITION);
            for (at, batch) in batches.iter().enumerate() {
                let mut all = Vec::new();
                for &(key, put) in batch {
                    position.sequence += 1;
                    let kind = if put { Kind::Put } else { Kind::Delete };
                    let (key, latest) = news(key, kind, position.sequence);
                    if put {
                        expected.insert(key.clone(), latest.clone());
                    } else {
                        expected.remove(&key);
                    }
                    all.push((key, latest));
                }
                index.apply(all, position);
                if at == settled {
                    index.settle().unwrap();
                }
                for &(key, _) in batch.iter().take(20) {
                    let (key, _) = news(key, Kind::Put, 0);
                    prop_assert_eq!(index.get(&key).unwrap(), expected.get(&key).cloned());
                }
                let all: Vec<_> = expected.clone().into_iter().collect();
                prop_assert_eq!(entries(&index, b"", b""), all);
                let some: Vec<_> = expected.clone().into_iter().filter(|(key, _)| key.starts_with(b"01") && key.as_slice() >= &b"0150"[..]).collect();
                prop_assert_eq!(entries(&index, b"01", b"0150"), some);
            }
            let live = index.live_bytes().unwrap();
            prop_assert_eq!(live.get(&1).copied().unwrap_or(0), 100 * expected.len() as u64);
            let checkpoint = index.close().unwrap().unwrap();
            prop_assert_eq!(checkpoint.position, position);
            prop_assert_eq!(checkpoint.keys, expected.len() as u64);

            let tree = Tree::open(folder.path()).unwrap();
            prop_assert!(tree.is_sound().unwrap());
            let held: Vec<_> = tree.scan(b"", b"").map(Result::unwrap).collect();
            prop_assert_eq!(held, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_waits_in_memory_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path(), 2);
        let mut position = POSITION;
        for key in 0..2000 {
            position.sequence += 1;
            index.apply(vec![news(key, Kind::Put, position.sequence)], position);
            assert!(index.layers.recent().len() <= 2 * MAX_STEPS + 1);
        }
        assert_eq!(entries(&index, b"", b"").len(), 2000);
    }
}
