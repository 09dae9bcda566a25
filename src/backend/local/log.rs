//! The writing end of the log: frames go to the active segment, which is sealed when it is full.
//!
//! Invariant: `append` returned `Ok` only after the frames were synced; after a failed write or
//! sync nothing is written any more, because what the medium then holds isn't known.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::footer::{self, Latest};
use super::frame::{Head, Kind};
use super::segment::{self, Heads, Location, Segment};
use super::view::for_each_batch;
use crate::backend::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// A segment is sealed before it grows beyond this, unless one batch alone is larger.
pub(super) const SEGMENT_BYTES: u64 = 256 << 20;

pub(super) struct Log {
    pub(super) folder: PathBuf,
    pub(super) active: Arc<Segment>,
    /// Where the next batch goes in the active segment.
    pub(super) end: u64,
    pub(super) next_sequence: u64,
    pub(super) segment_bytes: u64,
    pub(super) poisoned: bool,
}

impl Log {
    /// Writes and syncs `batch`; returns its keys and what the log now says of each.
    pub(super) fn append(&mut self, batch: Vec<Operation>) -> Result<Vec<(Vec<u8>, Latest)>> {
        if self.poisoned {
            return Err(Error::new(
                ErrorKind::Poisoned,
                format!(
                    "an earlier write to {} failed: the store takes no writes until it is opened anew",
                    self.active.path.display()
                ),
            ));
        }
        // Until the sync below returns, a failure leaves the medium in a state nobody knows.
        self.poisoned = true;
        let written = self.write(batch)?;
        self.poisoned = false;
        Ok(written)
    }

    fn write(&mut self, batch: Vec<Operation>) -> Result<Vec<(Vec<u8>, Latest)>> {
        let bytes: u64 = batch.iter().map(frame_len).sum();
        if self.end > self.active.start && self.end + bytes > self.segment_bytes {
            self.seal()?;
        }
        let (segment, last) = (Arc::clone(&self.active), batch.len() - 1);
        let mut out = Vec::with_capacity(bytes as usize);
        let mut written = Vec::with_capacity(batch.len());
        for (position, operation) in batch.into_iter().enumerate() {
            let (kind, key, facts, body) = match operation {
                Operation::Put {
                    key, bytes, facts, ..
                } => (Kind::Put, key, facts, bytes),
                Operation::Delete { key } => (Kind::Delete, key, vec![], vec![]),
            };
            let head = Head {
                kind,
                position: position as u32,
                last: position == last,
                sequence: self.next_sequence + position as u64,
                key,
                facts,
                body_len: body.len() as u64,
            };
            let offset = self.end + out.len() as u64;
            head.write(segment.seed_at(offset), &body, &mut out);
            let location = Location {
                segment: segment.number,
                offset,
                frame_len: self.end + out.len() as u64 - offset,
                sequence: head.sequence,
            };
            written.push(Latest::of_frame(head, location));
        }
        fs::write_all_at(&segment.file, &segment.path, &out, self.end)?;
        fs::sync_data(&segment.file, &segment.path)?;
        self.end += out.len() as u64;
        self.next_sequence += written.len() as u64;
        Ok(written)
    }

    /// Ends the active segment with its footer and begins the next.
    pub(super) fn seal(&mut self) -> Result<()> {
        let segment = &self.active;
        let mut heads = Heads::new(segment, segment.start, self.end);
        let mut newest = BTreeMap::new();
        for_each_batch(&mut heads, |batch| {
            newest.extend(
                batch
                    .into_iter()
                    .map(|(head, at)| Latest::of_frame(head, at)),
            );
            Ok(())
        })?;
        let footer = footer::write(self.end, self.next_sequence - 1, newest.iter());
        fs::write_all_at(&segment.file, &segment.path, &footer, self.end)?;
        fs::sync_data(&segment.file, &segment.path)?;
        self.next_segment()
    }

    /// Begins the segment after the active one, which is sealed.
    pub(super) fn next_segment(&mut self) -> Result<()> {
        let number = self.active.number + 1;
        let next = segment::create(&self.folder, self.active.store, number, self.next_sequence)?;
        self.end = next.start;
        self.active = Arc::new(next);
        Ok(())
    }
}

/// Bytes that an operation will take in the log.
fn frame_len(operation: &Operation) -> u64 {
    let (facts, body) = match operation {
        Operation::Put { facts, bytes, .. } => (facts.len(), bytes.len()),
        Operation::Delete { .. } => (0, 0),
    };
    Head::frame_len_of(operation.key().len(), facts, body as u64).unwrap_or(u64::MAX)
}
