//! Walking over the frames of a segment without reading their bodies.
//!
//! Invariant: the walk ends at the first place where no frame lies that continues the count; what
//! lies behind is never skipped in silence: [`Heads::any_synced_after`] tells damage from a torn write.

use super::footer::Latest;
use super::frame::{self, Head};
use super::segment::{Location, Segment};
use crate::error::Result;

/// Walks over the heads of a segment's frames up to `end`, which is at most the file's length.
pub(super) struct Heads<'a> {
    segment: &'a Segment,
    /// Where the next frame would lie; after the last one, where it ends.
    pub(super) offset: u64,
    /// The operation that comes next; where compaction left some out, the first that may.
    next_sequence: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
}

impl<'a> Heads<'a> {
    /// Bytes read at once where frames are small.
    const READ: usize = 8 << 10;

    /// Walks from the first frame.
    pub(super) fn new(segment: &'a Segment, end: u64) -> Self {
        Self::from(segment, segment.start, segment.header.first_sequence, end)
    }

    /// Walks from `offset`, where operation `sequence` lies.
    pub(super) fn from(segment: &'a Segment, offset: u64, sequence: u64, end: u64) -> Self {
        Self {
            segment,
            offset,
            next_sequence: sequence,
            end,
            buffer: Vec::new(),
            buffer_start: offset,
        }
    }

    /// The next frame and where it lies.
    pub(super) fn next(&mut self) -> Result<Option<(Head, Location)>> {
        let offset = self.offset;
        let seed = self.segment.seed_at(offset);
        let Some(head) = Head::read(seed, self.bytes_at(offset)?) else {
            return Ok(None);
        };
        let continues = match self.segment.header.compacted {
            None => head.sequence == self.next_sequence,
            Some(made) => (self.next_sequence..=made.last_sequence).contains(&head.sequence),
        };
        let end = head
            .frame_len()
            .and_then(|length| offset.checked_add(length));
        let Some(end) = end.filter(|&end| continues && end <= self.end) else {
            return Ok(None);
        };
        self.offset = end;
        self.next_sequence = head.sequence + 1;
        let location = Location {
            segment: self.segment.number(),
            offset,
            frame_len: end - offset,
            sequence: head.sequence,
        };
        Ok(Some((head, location)))
    }

    /// Calls `each` for every complete batch; returns where the last of these ends.
    pub(super) fn for_each_batch(
        &mut self,
        mut each: impl FnMut(Vec<(Head, Location)>) -> Result<()>,
    ) -> Result<u64> {
        let mut end = self.offset;
        let mut batch = Vec::new();
        while let Some((head, location)) = self.next()? {
            let last = head.last;
            batch.push((head, location));
            if last {
                end = self.offset;
                each(std::mem::take(&mut batch))?;
            }
        }
        Ok(end)
    }

    /// Whether at some byte from `from` on a frame lies that was written when operation `sequence`
    /// was on the medium already.
    pub(super) fn any_synced_after(&mut self, from: u64, sequence: u64) -> Result<bool> {
        for offset in from..self.end {
            let seed = self.segment.seed_at(offset);
            let bytes = self.bytes_at(offset)?;
            // Comparing the magic first: a checksum at every byte would take minutes.
            if bytes.starts_with(&frame::MAGIC)
                && Head::read(seed, bytes).is_some_and(|head| head.first_unsynced() > sequence)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The bytes from `offset` on: enough for any head, or all that are left.
    fn bytes_at(&mut self, offset: u64) -> Result<&[u8]> {
        let left = self.end.saturating_sub(offset);
        let wanted = left.min(frame::MAX_HEAD as u64);
        let buffered = self.buffer_start + self.buffer.len() as u64;
        if offset < self.buffer_start || offset + wanted > buffered {
            // Beyond what was read: a large body was passed over, and another may follow.
            let most = if offset > buffered {
                frame::MAX_HEAD
            } else {
                Self::READ
            };
            self.buffer.resize(left.min(most as u64) as usize, 0);
            self.buffer_start = offset;
            self.segment.file.read_at(&mut self.buffer, offset)?;
        }
        Ok(&self.buffer[(offset - self.buffer_start) as usize..])
    }
}

/// The keys of a batch and what it says of each.
pub(super) fn news(batch: Vec<(Head, Location)>) -> Vec<(Vec<u8>, Latest)> {
    let of_frame = |(head, location)| Latest::of_frame(head, location);
    batch.into_iter().map(of_frame).collect()
}
