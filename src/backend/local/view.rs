//! The log as a reader sees it: footers of sealed segments, a scan of the others.
//!
//! Invariant: a view is made from segments alone, never from sled, and doesn't change; a reader
//! beside a writer makes a new one to see more. A batch whose last frame isn't there doesn't count.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::footer::{Footer, Latest};
use super::frame::{Head, Kind};
use super::segment::{self, Heads, Location, Segment, StoreId};
use crate::error::{Error, Result};
use crate::fs;

/// The keys of one segment.
#[derive(Debug, Clone)]
enum Keys {
    Footer(Arc<Footer>),
    Scanned(Arc<BTreeMap<Vec<u8>, Latest>>),
}

/// A segment and its keys.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) segment: Arc<Segment>,
    keys: Keys,
    /// Where the last complete batch ends.
    pub(super) end: u64,
    pub(super) last_sequence: u64,
    pub(super) sealed: bool,
}

/// All segments of a store, oldest first.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) parts: Vec<Part>,
}

impl View {
    /// Opens the segments in `folder`, which must all belong to `store`.
    ///
    /// # Errors
    /// `Corrupted` if one is missing, belongs elsewhere, or has frames after a damaged one.
    pub(super) fn open(folder: &Path, store: StoreId) -> Result<Self> {
        let paths = segment_paths(folder)?;
        let mut parts: Vec<Part> = Vec::with_capacity(paths.len());
        for (number, path) in (1..).zip(paths) {
            let segment = Arc::new(Segment::open(path, number, fs::open)?);
            let wrong = |what: String| {
                Err(Error::corrupted(format!(
                    "{} {what}",
                    segment.path.display()
                )))
            };
            if segment.store != store {
                return wrong("belongs to another store".into());
            }
            let expected = parts.last().map_or(1, |part| part.last_sequence + 1);
            if segment.first_sequence != expected {
                return wrong(format!(
                    "begins at operation {} where {expected} comes next",
                    segment.first_sequence
                ));
            }
            parts.push(Part::open(segment)?);
        }
        if parts.is_empty() {
            return Err(Error::corrupted(format!(
                "{} holds no segment",
                folder.display()
            )));
        }
        Ok(Self { parts })
    }

    /// What the log says last of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Latest>> {
        for part in self.parts.iter().rev() {
            let found = match &part.keys {
                Keys::Footer(footer) => footer.get(key)?,
                Keys::Scanned(map) => map.get(key).cloned(),
            };
            if let Some(latest) = found {
                return Ok((latest.kind == Kind::Put).then_some(latest));
            }
        }
        Ok(None)
    }

    /// What exists from `from` on, in the order of the keys.
    pub(super) fn entries_from(&self, from: &[u8]) -> Merged {
        let mut merged = Merged {
            sources: Vec::new(),
            heap: BinaryHeap::new(),
        };
        for part in &self.parts {
            merged.sources.push(part.entries_from(from).peekable());
            merged.enqueue(merged.sources.len() - 1);
        }
        merged
    }

    /// The body of the frame at `location`.
    pub(super) fn read_body(&self, key: &[u8], location: &Location) -> Result<Vec<u8>> {
        let part = (location.segment as usize)
            .checked_sub(1)
            .and_then(|at| self.parts.get(at));
        let part = part
            .ok_or_else(|| Error::corrupted(format!("there is no segment {}", location.segment)))?;
        part.segment.read_body(key, location)
    }
}

/// The files of the segments in `folder`, which are numbered from 1 without a gap.
fn segment_paths(folder: &Path) -> Result<Vec<PathBuf>> {
    let names = fs::names(folder)?;
    let numbers = names
        .iter()
        .filter_map(|name| segment::number_of(name.to_str()?));
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    for (expected, &number) in (1..).zip(&numbers) {
        if number != expected {
            return Err(Error::corrupted(format!(
                "{} is missing",
                folder.join(segment::file_name(expected)).display()
            )));
        }
    }
    let path = |number| folder.join(segment::file_name(number));
    Ok(numbers.into_iter().map(path).collect())
}

impl Part {
    /// A segment's keys: from its footer, or else from its frames.
    pub(super) fn open(segment: Arc<Segment>) -> Result<Self> {
        if let Some(footer) = Footer::open(&segment)? {
            let end = segment.len()?;
            let last_sequence = footer.last_sequence;
            let keys = Keys::Footer(Arc::new(footer));
            return Ok(Self {
                segment,
                keys,
                end,
                last_sequence,
                sealed: true,
            });
        }
        let size = segment.len()?;
        let mut heads = Heads::new(&segment, segment.start, size);
        let (mut map, mut last_sequence) = (BTreeMap::new(), segment.first_sequence - 1);
        let end = for_each_batch(&mut heads, |batch| {
            for (head, location) in batch {
                last_sequence = head.sequence;
                let (key, latest) = Latest::of_frame(head, location);
                map.insert(key, latest);
            }
            Ok(())
        })?;
        // Only the last batch can have been cut short: the one before was synced first.
        if end < size && heads.any_after(end + 1, last_sequence + 1)? {
            return Err(Error::corrupted(format!(
                "{} is damaged at byte {}: valid frames follow after it",
                segment.path.display(),
                heads.offset
            )));
        }
        Ok(Self {
            last_sequence,
            segment,
            keys: Keys::Scanned(Arc::new(map)),
            end,
            sealed: false,
        })
    }

    /// What this segment says last of its keys from `from` on.
    pub(super) fn entries_from(&self, from: &[u8]) -> Source {
        match &self.keys {
            Keys::Footer(footer) => Box::new(Arc::clone(footer).entries_from(from)),
            Keys::Scanned(map) => {
                let (map, mut next) = (Arc::clone(map), Some(from.to_vec()));
                Box::new(std::iter::from_fn(move || {
                    let (key, latest) = map.range(next.take()?..).next()?;
                    // The smallest key after this one.
                    next = Some([key.as_slice(), &[0]].concat());
                    Some(Ok((key.clone(), latest.clone())))
                }))
            }
        }
    }
}

/// Calls `each` for every complete batch; returns where the last of these ends.
pub(super) fn for_each_batch(
    heads: &mut Heads,
    mut each: impl FnMut(Vec<(Head, Location)>) -> Result<()>,
) -> Result<u64> {
    let mut end = heads.offset;
    let mut batch = Vec::new();
    while let Some((head, offset)) = heads.next()? {
        let last = head.last;
        let location = Location {
            segment: heads.segment().number,
            offset,
            frame_len: heads.offset - offset,
            sequence: head.sequence,
        };
        batch.push((head, location));
        if last {
            end = heads.offset;
            each(std::mem::take(&mut batch))?;
        }
    }
    Ok(end)
}

type Source = Box<dyn Iterator<Item = Result<(Vec<u8>, Latest)>> + Send>;

/// Entries of several segments in the order of their keys, the newest of each key, deletes left out.
pub(super) struct Merged {
    sources: Vec<Peekable<Source>>,
    /// The next key of each source; of equal keys the newest segment's comes first.
    heap: BinaryHeap<(Reverse<Vec<u8>>, usize)>,
}

impl Merged {
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

impl Iterator for Merged {
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
