//! All frames of one segment, whatever lies between them.
//!
//! Invariant: every byte between the header and the end is in a frame whose checksums were looked at
//! or in a gap; behind a gap the sweep goes on with the next frame that is valid where it lies.

use std::ops::Range;

use super::ItemCheck;
use super::blocks::Blocks;
use crate::backend::local::footer::Latest;
use crate::backend::local::frame::{self, Head, Kind};
use crate::backend::local::segment::{Location, Segment};
use crate::error::Error;

/// What is wrong with a frame whose head is whole.
#[derive(Debug)]
pub(super) enum State {
    Whole,
    /// The body fails its checksum.
    Body,
    /// The file, or its frames, end inside the frame.
    Cut,
    /// The frame is as it was written, and what it holds is wrong all the same.
    Item(Error),
}

/// A frame whose head is whole.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) key: Vec<u8>,
    pub(super) latest: Latest,
    pub(super) last: bool,
    pub(super) first_unsynced: u64,
    pub(super) state: State,
}

impl Frame {
    pub(super) fn sequence(&self) -> u64 {
        self.latest.location.sequence
    }

    pub(super) fn range(&self) -> Range<u64> {
        let location = &self.latest.location;
        location.offset..location.offset + location.frame_len
    }
}

/// Bytes in which no valid frame lies.
#[derive(Debug)]
pub(super) struct Gap {
    pub(super) range: Range<u64>,
    /// How many frames were found before it.
    pub(super) after: usize,
}

/// What lies in a segment.
#[derive(Debug, Default)]
pub(super) struct Swept {
    pub(super) frames: Vec<Frame>,
    pub(super) gaps: Vec<Gap>,
    pub(super) unreadable: Vec<Range<u64>>,
}

/// Reads all of `segment` up to `end`, which is at most the file's length. `check` is asked about
/// every item whose checksum fits; `progress` gets the offset reached.
pub(super) fn sweep(
    segment: &Segment,
    end: u64,
    check: &mut ItemCheck<'_>,
    progress: &mut dyn FnMut(u64),
) -> Swept {
    let mut blocks = Blocks::new(&segment.file, end);
    let mut swept = Swept::default();
    let (mut offset, mut sequence) = (segment.start, segment.header.first_sequence);
    while offset < end {
        progress(offset);
        let Some(head) = head_at(segment, &mut blocks, offset, sequence) else {
            let next = find_frame(segment, &mut blocks, offset + 1..end, sequence, progress);
            let range = offset..next.unwrap_or(end);
            offset = range.end;
            let after = swept.frames.len();
            swept.gaps.push(Gap { range, after });
            continue;
        };
        let (last, first_unsynced) = (head.last, head.first_unsynced());
        sequence = head.sequence + 1;
        let length = head.frame_len().unwrap_or(u64::MAX);
        let state = state_of(segment, &mut blocks, offset..end, &head, check);
        let location = Location {
            segment: segment.number(),
            offset,
            frame_len: length.min(end - offset),
            sequence: head.sequence,
        };
        offset += location.frame_len;
        let (key, latest) = Latest::of_frame(head, location);
        swept.frames.push(Frame {
            key,
            latest,
            last,
            first_unsynced,
            state,
        });
    }
    swept.unreadable = blocks.unreadable();
    swept
}

/// The head of a frame at `offset`, if one lies there that can follow those before `sequence`.
fn head_at(segment: &Segment, blocks: &mut Blocks<'_>, offset: u64, sequence: u64) -> Option<Head> {
    let bytes = blocks.at(offset, frame::MAX_HEAD as u64);
    let head = Head::read(segment.seed_at(offset), bytes)?;
    let last = segment
        .header
        .compacted
        .map_or(u64::MAX - 1, |c| c.last_sequence);
    (sequence..=last).contains(&head.sequence).then_some(head)
}

fn state_of(
    segment: &Segment,
    blocks: &mut Blocks<'_>,
    within: Range<u64>,
    head: &Head,
    check: &mut ItemCheck<'_>,
) -> State {
    let fits = |length: &u64| *length <= within.end - within.start;
    let Some(length) = head.frame_len().filter(fits) else {
        return State::Cut;
    };
    // No more than the file has, so no length that somebody made up costs memory.
    let bytes = blocks.at(within.start, length);
    let body = bytes.get(head.len() as usize..length as usize);
    let seed = segment.seed_at(within.start);
    let Some(body) = body.and_then(|bytes| frame::checked_body(seed, bytes)) else {
        return State::Body;
    };
    match head.kind {
        Kind::Delete => State::Whole,
        Kind::Put => match check(&head.key, &head.facts, body) {
            Ok(()) => State::Whole,
            Err(error) => State::Item(error),
        },
    }
}

/// Where the next valid frame begins in `within`.
fn find_frame(
    segment: &Segment,
    blocks: &mut Blocks<'_>,
    within: Range<u64>,
    sequence: u64,
    progress: &mut dyn FnMut(u64),
) -> Option<u64> {
    let mut from = within.start;
    while let Some(offset) = find_magic(blocks, from..within.end, progress) {
        if head_at(segment, blocks, offset, sequence).is_some() {
            return Some(offset);
        }
        from = offset + 1;
    }
    None
}

/// Where the next bytes lie that begin like a frame.
pub(super) fn find_magic(
    blocks: &mut Blocks<'_>,
    within: Range<u64>,
    progress: &mut dyn FnMut(u64),
) -> Option<u64> {
    let magic = frame::MAGIC;
    let mut from = within.start;
    while from + magic.len() as u64 <= within.end {
        progress(from);
        let bytes = blocks.at(from, magic.len() as u64);
        if let Some(at) = bytes.windows(magic.len()).position(|w| w == magic) {
            return Some(from + at as u64).filter(|&at| at < within.end);
        }
        // The magic may begin in the last bytes that are at hand.
        from += (bytes.len() + 1).saturating_sub(magic.len()).max(1) as u64;
    }
    None
}
