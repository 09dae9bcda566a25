//! The log as a reader sees it: footers of sealed segments, a scan of the others.
//!
//! Invariant: a view is made from segments alone, never from sled, and doesn't change; a reader
//! beside a writer makes a new one to see more. A batch whose last frame isn't there doesn't count.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;
use std::path::Path;

use super::catalog::{Catalog, Entries, Part};
use super::disk::Medium;
use super::footer::Latest;
use super::frame::Kind;
use super::recovery;
use super::segment::{Location, Segment, StoreId};
use crate::error::{Error, Result};

/// All segments of a store, oldest first. The files stay open, so compaction takes nothing away.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) parts: Vec<Part>,
}

impl View {
    /// Opens the segments in `folder`, which must all belong to `store`, of whose operations those up
    /// to `synced` are known to have been on the medium.
    ///
    /// # Errors
    /// `Corrupted` if one is missing, belongs elsewhere, or has frames after a damaged one.
    pub(super) fn open(
        medium: &Medium,
        folder: &Path,
        store: StoreId,
        synced: u64,
    ) -> Result<Self> {
        // A writer that is just opened cuts off what a killed one left, under the reader's eyes; damage is still
        // there at a second look.
        let look = || Self::look(medium, folder, store, synced);
        look().or_else(|_| look())
    }

    fn look(medium: &Medium, folder: &Path, store: StoreId, synced: u64) -> Result<Self> {
        let catalog = Catalog::open(medium, folder, store)?;
        let mut parts = catalog.sealed;
        if let Some(active) = catalog.active {
            let end = recovery::end_of(&active, synced)?;
            parts.push(Part::scan_to(&active, end)?);
        }
        Ok(Self { parts })
    }

    /// The last operation in the log.
    pub(super) fn last_sequence(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.last_sequence)
    }

    /// What the log says last of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Latest>> {
        for part in self.parts.iter().rev() {
            if let Some(latest) = part.get(key)? {
                return Ok((latest.kind == Kind::Put).then_some(latest));
            }
        }
        Ok(None)
    }

    /// What exists from `from` on, in the order of the keys.
    pub(super) fn entries_from(&self, from: &[u8]) -> Merged<'static> {
        merge(self.parts.iter().map(|part| part.entries_from(from)))
    }

    /// What `read` makes of the frame of `key`, and the bytes of that.
    pub(super) fn read<T>(
        &self,
        key: &[u8],
        read: impl FnOnce(&Segment, &Location) -> Result<T>,
    ) -> Result<Option<(T, u64)>> {
        let Some(Latest { location, .. }) = self.get(key)? else {
            return Ok(None);
        };
        let part = self
            .parts
            .iter()
            .find(|part| part.segment.number() == location.segment);
        let part = part
            .ok_or_else(|| Error::corrupted(format!("there is no segment {}", location.segment)))?;
        Ok(Some((read(&part.segment, &location)?, location.frame_len)))
    }
}

/// Entries of several sources, oldest first, in the order of their keys: the newest of each key,
/// deletes left out.
pub(super) fn merge<'a>(sources: impl Iterator<Item = Entries<'a>>) -> Merged<'a> {
    let mut merged = Merged {
        sources: sources.map(Iterator::peekable).collect(),
        heap: BinaryHeap::new(),
    };
    for source in 0..merged.sources.len() {
        merged.enqueue(source);
    }
    merged
}

pub(super) struct Merged<'a> {
    sources: Vec<Peekable<Entries<'a>>>,
    /// The next key of each source; of equal keys the newest source's comes first.
    heap: BinaryHeap<(Reverse<Vec<u8>>, usize)>,
}

impl Merged<'_> {
    fn enqueue(&mut self, source: usize) {
        match self.sources[source].peek() {
            Some(Ok((key, _))) => self.heap.push((Reverse(key.clone()), source)),
            // An error comes before all keys, so that it isn't passed over.
            Some(Err(_)) => self.heap.push((Reverse(Vec::new()), source)),
            None => {}
        }
    }

    fn pop(&mut self) -> Option<Result<(Vec<u8>, Latest)>> {
        let (_, source) = self.heap.pop()?;
        let entry = self.sources[source].next();
        self.enqueue(source);
        entry
    }
}

impl Iterator for Merged<'_> {
    type Item = Result<(Vec<u8>, Latest)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, latest) = match self.pop()? {
                Ok(entry) => entry,
                Err(error) => {
                    // What lies behind the damage can't be listed in order any more.
                    self.heap.clear();
                    return Some(Err(error));
                }
            };
            while self.heap.peek().is_some_and(|(next, _)| next.0 == key) {
                if let Some(Err(error)) = self.pop() {
                    self.heap.clear();
                    return Some(Err(error));
                }
            }
            if latest.kind == Kind::Put {
                return Some(Ok((key, latest)));
            }
        }
    }
}
