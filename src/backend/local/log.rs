//! The writing end of the log: frames go to the active segment, which is sealed when it is full.
//!
//! Invariant: what `append` was asked to sync was synced when it returns `Ok`; after a failed write
//! or sync nothing is written any more, because what the medium then holds isn't known.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::catalog::Part;
use super::checkpoint::Position;
use super::disk::Medium;
use super::entry::entry_hash;
use super::footer::{self, Latest};
use super::frame::{self, Head, Kind};
use super::heads::{Heads, news};
use super::segment::{Header, Location, Segment, StoreId};
use crate::backend::Operation;
use crate::error::{Error, ErrorKind, Result};

/// A segment is sealed before it grows beyond this, unless one batch alone is larger.
pub(super) const SEGMENT_BYTES: u64 = 256 << 20;

/// Bodies from this size on go to the medium from where they are; smaller ones are gathered first.
const LARGE: usize = 4 << 10;

/// The buffer they are gathered in is kept up to this size: fresh memory for each write would cost as
/// much as the copying.
const MAX_BUFFER: usize = 4 << 20;

/// What isn't synced at once is synced once it is this much.
const MAX_UNSYNCED_BYTES: u64 = 64 << 20;

pub(super) struct Log {
    pub(super) medium: Medium,
    pub(super) folder: PathBuf,
    pub(super) store: StoreId,
    /// The segment that frames go to; the next append makes one where there is none.
    pub(super) active: Option<Active>,
    pub(super) next_number: u32,
    pub(super) position: Position,
    pub(super) unsynced_bytes: u64,
    pub(super) buffer: Vec<u8>,
    pub(super) segment_bytes: u64,
    pub(super) poisoned: bool,
}

pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Where the next batch goes.
    pub(super) end: u64,
}

/// What an append did.
pub(super) struct Appended {
    /// The keys, in the order of the operations, and what the log now says of each.
    pub(super) news: Vec<(Vec<u8>, Latest)>,
    /// The segment that was sealed before, if one was.
    pub(super) sealed: Option<Part>,
}

impl Log {
    /// # Errors
    /// `Poisoned` if an earlier write failed.
    pub(super) fn check(&self) -> Result<()> {
        if !self.poisoned {
            return Ok(());
        }
        let folder = self.folder.display();
        Err(Error::new(
            ErrorKind::Poisoned,
            format!(
                "an earlier write to {folder} failed: the store takes no writes until it is opened anew"
            ),
        ))
    }

    /// Runs `step`, during which a failure leaves the medium in a state that nobody knows.
    pub(super) fn critical<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.check()?;
        self.poisoned = true;
        let done = step(self)?;
        self.poisoned = false;
        Ok(done)
    }

    /// Writes `batches` one after the other, each whole or not at all, and syncs them if told to.
    pub(super) fn append(&mut self, batches: Vec<Vec<Operation>>, sync: bool) -> Result<Appended> {
        self.critical(|log| {
            let bytes: u64 = batches.iter().flatten().map(frame_len).sum();
            let full = |active: &Active| {
                active.end > active.segment.start && active.end + bytes > log.segment_bytes
            };
            let sealed = if log.active.as_ref().is_some_and(full) {
                log.seal_active()?
            } else {
                None
            };
            let news = log.write(batches, bytes, sync)?;
            Ok(Appended { news, sealed })
        })
    }

    fn write(
        &mut self,
        batches: Vec<Vec<Operation>>,
        bytes: u64,
        sync: bool,
    ) -> Result<Vec<(Vec<u8>, Latest)>> {
        let (segment, start) = self.active()?;
        let mut frames = Frames {
            small: std::mem::take(&mut self.buffer),
            ..Frames::default()
        };
        let mut news = Vec::new();
        let mut position = self.position;
        for batch in batches {
            let last = batch.len() - 1;
            for (at, operation) in batch.into_iter().enumerate() {
                let (kind, key, facts, body) = match operation {
                    Operation::Put {
                        key, bytes, facts, ..
                    } => (Kind::Put, key, facts, bytes),
                    Operation::Delete { key } => (Kind::Delete, key, vec![], vec![]),
                };
                let sequence = position.sequence + 1;
                let head = Head {
                    kind,
                    unsynced: (sequence - position.synced - 1) as u32,
                    last: at == last,
                    sequence,
                    key,
                    facts,
                    body_len: body.len() as u64,
                };
                let offset = start + frames.len();
                frames.push(&head, segment.seed_at(offset), body);
                let location = Location {
                    segment: segment.number(),
                    offset,
                    frame_len: start + frames.len() - offset,
                    sequence,
                };
                position.sequence = sequence;
                news.push(Latest::of_frame(head, location));
            }
        }
        debug_assert_eq!(frames.len(), bytes);
        segment.file.write_parts_at(&frames.parts(), start)?;
        let end = start + bytes;
        if let (Some(active), Some((key, latest))) = (&mut self.active, news.last()) {
            active.end = end;
            position.segment = segment.number();
            position.offset = end;
            position.last_offset = latest.location.offset;
            position.last_hash = entry_hash(key, latest);
        }
        self.position = position;
        self.unsynced_bytes += bytes;
        if frames.small.capacity() <= MAX_BUFFER {
            self.buffer = frames.small;
            self.buffer.clear();
        }
        if sync || self.unsynced_bytes > MAX_UNSYNCED_BYTES {
            self.sync_active(&segment)?;
        }
        Ok(news)
    }

    /// The segment that frames go to, and where.
    fn active(&mut self) -> Result<(Arc<Segment>, u64)> {
        if let Some(active) = &self.active {
            return Ok((Arc::clone(&active.segment), active.end));
        }
        let header = Header {
            store: self.store,
            number: self.next_number,
            first_sequence: self.position.sequence + 1,
            compacted: None,
        };
        let segment = Arc::new(Segment::create(&self.medium, &self.folder, header)?);
        let end = segment.start;
        self.next_number += 1;
        self.active = Some(Active {
            segment: Arc::clone(&segment),
            end,
        });
        Ok((segment, end))
    }

    fn sync_active(&mut self, segment: &Segment) -> Result<()> {
        segment.file.sync()?;
        self.position.synced = self.position.sequence;
        self.unsynced_bytes = 0;
        Ok(())
    }

    /// Syncs what was written without.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.critical(|log| match &log.active {
            Some(active) if log.position.synced < log.position.sequence => {
                let segment = Arc::clone(&active.segment);
                log.sync_active(&segment)
            }
            _ => Ok(()),
        })
    }

    /// Ends the active segment with its footer, unless it is empty.
    pub(super) fn seal(&mut self) -> Result<Option<Part>> {
        self.critical(Self::seal_active)
    }

    fn seal_active(&mut self) -> Result<Option<Part>> {
        let Some(Active { segment, end }) = &self.active else {
            return Ok(None);
        };
        let (segment, end) = (Arc::clone(segment), *end);
        if end == segment.start {
            return Ok(None);
        }
        // A footer on the medium says that all frames before it are there.
        if self.position.synced < self.position.sequence {
            self.sync_active(&segment)?;
        }
        let mut newest = BTreeMap::new();
        let scanned = Heads::new(&segment, end).for_each_batch(|batch| {
            newest.extend(news(batch));
            Ok(())
        })?;
        if scanned != end {
            // Bit rot in the meantime: a footer now would hide what lies behind it.
            return Err(Error::corrupted(format!(
                "{} is damaged at byte {scanned}",
                segment.path().display()
            )));
        }
        let last_sequence = self.position.sequence;
        let footer = footer::write(end, last_sequence, newest.iter());
        segment.file.write_at(&footer, end)?;
        segment.file.sync()?;
        self.active = None;
        Ok(Some(Part::sealed(&segment)?))
    }
}

/// Frames on their way to the log: large bodies stay where they are.
#[derive(Default)]
struct Frames {
    /// Everything else, as it follows one another.
    small: Vec<u8>,
    /// Large bodies, and how much of `small` comes before each.
    large: Vec<(usize, Vec<u8>)>,
    large_bytes: u64,
}

impl Frames {
    fn len(&self) -> u64 {
        self.small.len() as u64 + self.large_bytes
    }

    fn push(&mut self, head: &Head, seed: u64, body: Vec<u8>) {
        if body.len() < LARGE {
            head.write(seed, &body, &mut self.small);
            return;
        }
        head.write_head(seed, &mut self.small);
        let checksum = frame::checksum(seed, &body);
        self.large_bytes += body.len() as u64;
        self.large.push((self.small.len(), body));
        self.small.extend_from_slice(&checksum);
    }

    fn parts(&self) -> Vec<&[u8]> {
        let (mut parts, mut from) = (Vec::with_capacity(2 * self.large.len() + 1), 0);
        for (before, body) in &self.large {
            parts.extend([&self.small[from..*before], body]);
            from = *before;
        }
        parts.push(&self.small[from..]);
        parts
    }
}

/// Bytes that an operation will take in the log.
pub(super) fn frame_len(operation: &Operation) -> u64 {
    let (facts, body) = match operation {
        Operation::Put { facts, bytes, .. } => (facts.len(), bytes.len()),
        Operation::Delete { .. } => (0, 0),
    };
    Head::frame_len_of(operation.key().len(), facts, body as u64).unwrap_or(u64::MAX)
}
