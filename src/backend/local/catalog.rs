//! Which segments a log consists of, in the order of their operations.
//!
//! Invariant: the segments stand for all operations from 1 on without a gap or an overlap, so one
//! that is missing is noticed. A segment that compaction made supersedes those with lower numbers
//! whose operations it covers; what of these is still there is listed apart.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Access, Medium};
use super::footer::{Footer, Latest};
use super::heads::{Heads, news};
use super::segment::{self, Segment, StoreId};
use crate::error::{Error, ErrorKind, Result};

/// How often a reader looks again where segments went away while it looked.
const ATTEMPTS: u32 = 50;

/// The keys of one segment.
#[derive(Debug, Clone)]
pub(super) enum Keys {
    Footer(Arc<Footer>),
    Scanned(Arc<BTreeMap<Vec<u8>, Latest>>),
}

/// A segment and its keys.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) segment: Arc<Segment>,
    pub(super) keys: Keys,
    /// The last operation that it stands for.
    pub(super) last_sequence: u64,
    /// Where its last complete batch ends.
    pub(super) end: u64,
}

/// The segments of a log.
#[derive(Debug)]
pub(super) struct Catalog {
    /// Sealed segments, oldest first.
    pub(super) sealed: Vec<Part>,
    /// The last segment, where it isn't sealed.
    pub(super) active: Option<Arc<Segment>>,
    /// Files whose operations a compacted segment covers.
    pub(super) superseded: Vec<PathBuf>,
    /// No segment has this number or a higher one.
    pub(super) next_number: u32,
}

impl Catalog {
    /// Opens the segments in `folder`, which must all belong to `store`.
    ///
    /// # Errors
    /// `Corrupted` if one is missing, belongs elsewhere, or has frames after a damaged one.
    pub(super) fn open(medium: &Medium, folder: &Path, store: StoreId) -> Result<Self> {
        let mut listed = numbers(medium, folder)?;
        for _ in 0..ATTEMPTS {
            // While names come and go, a listing may have a compacted segment and miss an older one that holds what
            // replaced a record in it. Two listings that agree miss nothing.
            let before = std::mem::replace(&mut listed, numbers(medium, folder)?);
            if before != listed {
                continue;
            }
            match Self::of(medium, folder, store, &listed) {
                Ok(catalog) => return Ok(catalog),
                Err(error) => {
                    // Beside a writer that compacts, what was listed may be gone.
                    let before = std::mem::replace(&mut listed, numbers(medium, folder)?);
                    if before == listed {
                        return Err(error);
                    }
                }
            }
        }
        Err(Error::new(
            ErrorKind::Io,
            format!(
                "the segments in {} change faster than they can be opened",
                folder.display()
            ),
        ))
    }

    fn of(medium: &Medium, folder: &Path, store: StoreId, numbers: &[u32]) -> Result<Self> {
        let mut segments = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let path = folder.join(segment::file_name(number));
            let segment = Segment::open(medium.open(&path, Access::Read)?, number)?;
            if segment.header.store != store {
                return Err(wrong(&segment, "belongs to another store"));
            }
            segments.push(Arc::new(segment));
        }
        if segments.is_empty() {
            return Err(Error::corrupted(format!(
                "{} holds no segment",
                folder.display()
            )));
        }
        let mut catalog = Self {
            sealed: Vec::with_capacity(segments.len()),
            active: None,
            superseded: Vec::new(),
            next_number: numbers.iter().max().map_or(1, |n| n.saturating_add(1)),
        };
        segments.sort_by_key(|s| (s.header.first_sequence, Reverse(s.number())));
        let mut rest = segments.into_iter().peekable();
        while let Some(segment) = rest.next() {
            let (first, expected) = (segment.header.first_sequence, catalog.next_sequence());
            if first < expected && catalog.supersedes(&segment) {
                catalog.superseded.push(segment.path().to_path_buf());
                continue;
            }
            if first < expected {
                return Err(wrong(
                    &segment,
                    &format!("begins at operation {first}, which another segment holds"),
                ));
            }
            if first > expected {
                return Err(wrong(
                    &segment,
                    &format!(
                        "begins at operation {first}, and the one before it, with the operations from \
                         {expected} on, is missing"
                    ),
                ));
            }
            let last = rest.peek().is_none() && segment.header.compacted.is_none();
            match Footer::open(&segment)? {
                // Only a segment behind it tells that a footer was synced.
                Some(footer) if !last || footer.is_whole()? => {
                    catalog.sealed.push(Part::of(segment, footer));
                }
                _ if last => catalog.active = Some(segment),
                // The footer is damaged; the frames say the same.
                _ => catalog.sealed.push(Part::scan(&segment)?),
            }
        }
        Ok(catalog)
    }

    /// The operation after those of the sealed segments.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sealed
            .last()
            .map_or(1, |part| part.last_sequence.saturating_add(1))
    }

    /// The number of the newest segment that compaction made; 0 if there is none.
    pub(super) fn newest_compacted(&self) -> u32 {
        let compacted = self.sealed.iter().map(|part| &part.segment);
        let numbers = compacted.filter(|s| s.header.compacted.is_some());
        numbers.map(|s| s.number()).max().unwrap_or(0)
    }

    /// Whether `segment`, which begins within the last part, was compacted into it.
    fn supersedes(&self, segment: &Segment) -> bool {
        self.sealed.last().is_some_and(|part| {
            let by = &part.segment.header;
            by.compacted.is_some() && by.number > segment.number()
        })
    }
}

fn wrong(segment: &Segment, what: &str) -> Error {
    Error::corrupted(format!("{} {what}", segment.path().display()))
}

/// The numbers of the segments in `folder`, in rising order.
pub(super) fn numbers(medium: &Medium, folder: &Path) -> Result<Vec<u32>> {
    let names = medium.names(folder)?;
    let mut numbers: Vec<_> = names
        .iter()
        .filter_map(|name| segment::number_of(name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl Part {
    fn of(segment: Arc<Segment>, footer: Footer) -> Self {
        let compacted = segment.header.compacted;
        Self {
            last_sequence: compacted.map_or(footer.last_sequence, |c| c.last_sequence),
            end: footer.start,
            keys: Keys::Footer(Arc::new(footer)),
            segment,
        }
    }

    /// A segment that was just sealed.
    pub(super) fn sealed(segment: &Arc<Segment>) -> Result<Self> {
        match Footer::open(segment)? {
            Some(footer) => Ok(Self::of(Arc::clone(segment), footer)),
            None => Self::scan(segment),
        }
    }

    /// The keys of a segment from its frames, of which all must be there.
    ///
    /// # Errors
    /// `Corrupted` if valid frames follow invalid bytes.
    pub(super) fn scan(segment: &Arc<Segment>) -> Result<Self> {
        Self::scan_to(segment, segment.file.len()?)
    }

    /// The same of what lies before `limit`.
    pub(super) fn scan_to(segment: &Arc<Segment>, limit: u64) -> Result<Self> {
        let mut heads = Heads::new(segment, limit);
        let (mut map, mut last_sequence) = (BTreeMap::new(), segment.header.first_sequence - 1);
        let mut frames = 0;
        let end = heads.for_each_batch(|batch| {
            frames += batch.len() as u64;
            map.extend(news(batch).into_iter().inspect(|(_, latest)| {
                last_sequence = latest.location.sequence;
            }));
            Ok(())
        })?;
        check_tail(segment, end..limit, last_sequence)?;
        let compacted = segment.header.compacted;
        if let Some(made) = compacted.filter(|made| made.frames != frames) {
            let what = format!(
                "is damaged at byte {end}: {frames} of its {} frames are before it",
                made.frames
            );
            return Err(wrong(segment, &what));
        }
        Ok(Self {
            last_sequence: compacted.map_or(last_sequence, |c| c.last_sequence),
            end,
            segment: Arc::clone(segment),
            keys: Keys::Scanned(Arc::new(map)),
        })
    }

    /// Bytes of its frames.
    pub(super) fn frame_bytes(&self) -> u64 {
        self.end - self.segment.start
    }

    /// What this segment says last of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Latest>> {
        match &self.keys {
            Keys::Footer(footer) => match footer.get(key) {
                Err(damaged) => self.by_frames(damaged)?.get(key),
                found => found,
            },
            Keys::Scanned(map) => Ok(map.get(key).cloned()),
        }
    }

    /// The same segment with the keys that its frames say, where a block of the footer is damaged.
    ///
    /// # Errors
    /// The one that was met, if it is another, or if the frames are damaged too.
    fn by_frames(&self, met: Error) -> Result<Self> {
        if met.kind() != ErrorKind::Corrupted {
            return Err(met);
        }
        let scanned = Self::scan(&self.segment).ok();
        scanned.filter(|part| part.end == self.end).ok_or(met)
    }

    /// What this segment says last of its keys from `from` on.
    pub(super) fn entries_from(&self, from: &[u8]) -> Entries<'static> {
        match &self.keys {
            Keys::Footer(footer) => {
                let (part, mut next) = (self.clone(), from.to_vec());
                let mut entries: Entries<'static> = Box::new(Arc::clone(footer).entries_from(from));
                Box::new(std::iter::from_fn(move || {
                    let mut entry = entries.next()?;
                    if let Err(damaged) = entry {
                        match part.by_frames(damaged) {
                            Ok(scanned) => entries = scanned.entries_from(&next),
                            Err(error) => return Some(Err(error)),
                        }
                        entry = entries.next()?;
                    }
                    if let Ok((key, _)) = &entry {
                        next = after(key);
                    }
                    Some(entry)
                }))
            }
            Keys::Scanned(map) => {
                let (map, mut next) = (Arc::clone(map), Some(from.to_vec()));
                Box::new(std::iter::from_fn(move || {
                    let (key, latest) = map.range(next.take()?..).next()?;
                    next = Some(after(key));
                    Some(Ok((key.clone(), latest.clone())))
                }))
            }
        }
    }
}

/// The smallest key after `key`.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// What one segment says of its keys, in their order.
pub(super) type Entries<'a> = Box<dyn Iterator<Item = Result<(Vec<u8>, Latest)>> + Send + 'a>;

/// Refuses what no crash explains in `rest`, which begins where the last complete batch of a segment ends, and ends
/// where the walk over the segment did: beside a writer, whole batches follow there by now.
///
/// # Errors
/// `Corrupted` if a frame lies there that was written when operation `last_sequence + 1` had been
/// synced.
pub(super) fn check_tail(segment: &Segment, rest: Range<u64>, last_sequence: u64) -> Result<()> {
    let Range {
        start: end,
        end: size,
    } = rest;
    let mut rest = Heads::from(segment, end, last_sequence + 1, size);
    if end < size && rest.any_synced_after(end + 1, last_sequence + 1)? {
        return Err(wrong(
            segment,
            &format!("is damaged at byte {end}: valid frames follow after it"),
        ));
    }
    Ok(())
}
