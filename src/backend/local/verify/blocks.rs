//! Bytes of a file, read in order and in large blocks.
//!
//! Invariant: a place that can't be read is zeros and is told by [`Blocks::unreadable`], so that one
//! bad sector doesn't hide what lies behind it; the buffer is never larger than the file.

use std::ops::Range;

use crate::backend::local::disk::MediumFile;
use crate::error::ErrorKind;

/// Bytes read at once.
const BLOCK: u64 = 2 << 20;

/// Where a block can't be read, it is read in pieces of this size.
const PIECE: usize = 4 << 10;

/// A window that moves over the first `size` bytes of a file.
pub(super) struct Blocks<'a> {
    file: &'a MediumFile,
    size: u64,
    buffer: Vec<u8>,
    start: u64,
    unreadable: Vec<Range<u64>>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(file: &'a MediumFile, size: u64) -> Self {
        Self {
            file,
            size,
            buffer: Vec::new(),
            start: 0,
            unreadable: Vec::new(),
        }
    }

    /// All that is at hand from `offset` on: at least `wanted` bytes, unless fewer are left.
    pub(super) fn at(&mut self, offset: u64, wanted: u64) -> &[u8] {
        let left = self.size.saturating_sub(offset);
        let wanted = wanted.min(left);
        let end = self.start + self.buffer.len() as u64;
        if offset < self.start || offset + wanted > end {
            let inside = (self.start..end).contains(&offset);
            let kept = if inside { (end - offset) as usize } else { 0 };
            self.buffer.drain(..self.buffer.len() - kept);
            self.buffer.resize(left.min(wanted.max(BLOCK)) as usize, 0);
            self.start = offset;
            self.read(kept);
        }
        let skipped = offset.saturating_sub(self.start) as usize;
        self.buffer.get(skipped..).unwrap_or_default()
    }

    /// What the operating system couldn't read, in order.
    pub(super) fn unreadable(self) -> Vec<Range<u64>> {
        self.unreadable
    }

    /// Fills the buffer from `kept` on.
    fn read(&mut self, kept: usize) {
        let offset = self.start + kept as u64;
        if self.file.read_at(&mut self.buffer[kept..], offset).is_ok() {
            return;
        }
        let (mut unreadable, mut offset) = (Vec::new(), offset);
        for piece in self.buffer[kept..].chunks_mut(PIECE) {
            let end = offset + piece.len() as u64;
            if let Err(error) = self.file.read_at(piece, offset) {
                piece.fill(0);
                // A file that a writer has cut meanwhile is shorter, and not unreadable.
                if error.kind() != ErrorKind::Corrupted {
                    unreadable.push(offset..end);
                }
            }
            offset = end;
        }
        for range in unreadable {
            match self.unreadable.last_mut() {
                Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
                _ => self.unreadable.push(range),
            }
        }
    }
}
