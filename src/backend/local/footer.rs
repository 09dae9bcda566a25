//! The footer of a sealed segment: its keys in order, with where their newest frames lie.
//!
//! Invariant: a block is used only if its checksum fits, so a lookup reads the block table and one
//! block, never the whole footer. Layout, after the last frame:
//!
//! ```text
//! block ...: entries, each: key length u16 | facts length u16 | kind u8 | offset u64
//!            frame length u64 | sequence number u64 | key | facts
//! table:     for each block: offset u64 | length u32 | XXH3-64 of the block | key length u16 | first key
//! trailer:   table's offset u64 | table's length u64 | XXH3-64 of the table | last sequence number u64
//!            keys u64 | version u16 | reserved u16 | XXH3-64 of the trailer so far | magic "LDBI"
//! ```

use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::frame::{Head, Kind};
use super::segment::{Location, Segment};
use crate::backend::{MAX_FACTS_BYTES, MAX_KEY_BYTES};
use crate::error::{Error, ErrorKind, Result};

const MAGIC: [u8; 4] = *b"LDBI";
const VERSION: u16 = 1;
const TRAILER: usize = 56;
const ENTRY_PREFIX: usize = 29;
const TABLE_PREFIX: usize = 22;
/// A block is closed once it holds this many bytes: a lookup reads one.
const BLOCK: usize = 16 << 10;
const MAX_BLOCK: usize = BLOCK + ENTRY_PREFIX + MAX_KEY_BYTES + MAX_FACTS_BYTES;

/// What the log says last of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Latest {
    pub(super) kind: Kind,
    pub(super) location: Location,
    pub(super) facts: Vec<u8>,
}

impl Latest {
    /// What the frame with `head` at `location` says of its key.
    pub(super) fn of_frame(head: Head, location: Location) -> (Vec<u8>, Self) {
        let latest = Self {
            kind: head.kind,
            location,
            facts: head.facts,
        };
        (head.key, latest)
    }
}

/// The footer for `entries`, which come in the order of their keys, to lie at `start`.
pub(super) fn write<'a>(
    start: u64,
    last_sequence: u64,
    entries: impl Iterator<Item = (&'a Vec<u8>, &'a Latest)>,
) -> Vec<u8> {
    let (mut out, mut table, mut keys) = (Vec::new(), Vec::new(), 0u64);
    let mut block = Vec::with_capacity(MAX_BLOCK);
    let mut first_key: &[u8] = &[];
    let mut close = |out: &mut Vec<u8>, block: &mut Vec<u8>, first_key: &[u8]| {
        table.extend_from_slice(&(start + out.len() as u64).to_le_bytes());
        table.extend_from_slice(&(block.len() as u32).to_le_bytes());
        table.extend_from_slice(&XxHash3_64::oneshot(block).to_le_bytes());
        table.extend_from_slice(&(first_key.len() as u16).to_le_bytes());
        table.extend_from_slice(first_key);
        out.append(block);
    };
    for (key, latest) in entries {
        if block.is_empty() {
            first_key = key;
        }
        push_entry(&mut block, key, latest);
        keys += 1;
        if block.len() >= BLOCK {
            close(&mut out, &mut block, first_key);
        }
    }
    if !block.is_empty() {
        close(&mut out, &mut block, first_key);
    }
    let mut trailer = Vec::with_capacity(TRAILER);
    trailer.extend_from_slice(&(start + out.len() as u64).to_le_bytes());
    trailer.extend_from_slice(&(table.len() as u64).to_le_bytes());
    trailer.extend_from_slice(&XxHash3_64::oneshot(&table).to_le_bytes());
    trailer.extend_from_slice(&last_sequence.to_le_bytes());
    trailer.extend_from_slice(&keys.to_le_bytes());
    trailer.extend_from_slice(&VERSION.to_le_bytes());
    trailer.extend_from_slice(&[0; 2]);
    let checksum = XxHash3_64::oneshot(&trailer);
    trailer.extend_from_slice(&checksum.to_le_bytes());
    trailer.extend_from_slice(&MAGIC);
    out.append(&mut table);
    out.append(&mut trailer);
    out
}

fn push_entry(out: &mut Vec<u8>, key: &[u8], latest: &Latest) {
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(&(latest.facts.len() as u16).to_le_bytes());
    out.push(latest.kind as u8);
    out.extend_from_slice(&latest.location.offset.to_le_bytes());
    out.extend_from_slice(&latest.location.frame_len.to_le_bytes());
    out.extend_from_slice(&latest.location.sequence.to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(&latest.facts);
}

#[derive(Debug)]
struct Block {
    first_key: Vec<u8>,
    offset: u64,
    length: usize,
    checksum: u64,
}

/// The block table of a sealed segment.
#[derive(Debug)]
pub(super) struct Footer {
    segment: Arc<Segment>,
    blocks: Vec<Block>,
    pub(super) last_sequence: u64,
    /// Where the footer begins and the frames end.
    pub(super) start: u64,
    /// Where the block table begins.
    pub(super) table: u64,
    /// Keys that the trailer says there are.
    pub(super) keys: u64,
}

impl Footer {
    /// The footer of `segment`; `None` if the file doesn't end in a valid one.
    pub(super) fn open(segment: &Arc<Segment>) -> Result<Option<Self>> {
        let size = segment.file.len()?;
        if size < segment.start + TRAILER as u64 {
            return Ok(None);
        }
        let mut trailer = [0; TRAILER];
        let trailer_at = size - TRAILER as u64;
        segment.file.read_at(&mut trailer, trailer_at)?;
        let number = |at: usize| {
            let bytes: [u8; 8] = std::array::from_fn(|i| trailer[at + i]);
            u64::from_le_bytes(bytes)
        };
        let version = u16::from_le_bytes([trailer[40], trailer[41]]);
        let (table_at, table_len) = (number(0), number(8));
        let valid = trailer.ends_with(&MAGIC)
            && XxHash3_64::oneshot(&trailer[..44]) == number(44)
            && version == VERSION
            && table_at >= segment.start
            && table_at.checked_add(table_len) == Some(trailer_at);
        if !valid {
            return Ok(None);
        }
        let mut table = vec![0; table_len as usize];
        segment.file.read_at(&mut table, table_at)?;
        if XxHash3_64::oneshot(&table) != number(16) {
            return Ok(None);
        }
        let blocks = read_table(&table, segment.start..table_at);
        Ok(blocks.map(|blocks| Self {
            segment: Arc::clone(segment),
            start: blocks.first().map_or(table_at, |block| block.offset),
            blocks,
            last_sequence: number(24),
            table: table_at,
            keys: number(32),
        }))
    }

    /// Whether every block is there as it was written.
    pub(super) fn is_whole(&self) -> Result<bool> {
        for block in 0..self.blocks.len() {
            match self.block_bytes(block) {
                Err(error) if error.kind() == ErrorKind::Corrupted => return Ok(false),
                read => drop(read?),
            }
        }
        Ok(true)
    }

    /// What this segment says last of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Latest>> {
        let after = self
            .blocks
            .partition_point(|b| b.first_key.as_slice() <= key);
        let Some(block) = after.checked_sub(1) else {
            return Ok(None);
        };
        let bytes = self.block_bytes(block)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (entry, after) = RawEntry::split(rest).ok_or_else(|| self.damaged(block))?;
            if entry.key == key {
                let latest = entry.latest(self.segment.number());
                return latest.ok_or_else(|| self.damaged(block)).map(Some);
            }
            rest = after;
        }
        Ok(None)
    }

    /// The entries from `from` on, in the order of their keys.
    pub(super) fn entries_from(
        self: Arc<Self>,
        from: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Latest)>> + Send + use<> {
        let after = self
            .blocks
            .partition_point(|b| b.first_key.as_slice() <= from);
        let first = after.saturating_sub(1);
        let from = from.to_vec();
        let blocks = first..self.blocks.len();
        blocks
            .flat_map(move |block| match self.read_block(block) {
                Ok(entries) => entries.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
            .skip_while(move |entry| entry.as_ref().is_ok_and(|(key, _)| *key < from))
    }

    /// Where its blocks lie.
    pub(super) fn blocks(&self) -> impl Iterator<Item = std::ops::Range<u64>> {
        let end = |block: &Block| block.offset + block.length as u64;
        self.blocks.iter().map(move |b| b.offset..end(b))
    }

    fn read_block(&self, block: usize) -> Result<Vec<(Vec<u8>, Latest)>> {
        let bytes = self.block_bytes(block)?;
        let (mut rest, mut entries) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (entry, after) = RawEntry::split(rest).ok_or_else(|| self.damaged(block))?;
            let latest = entry.latest(self.segment.number());
            let latest = latest.ok_or_else(|| self.damaged(block))?;
            entries.push((entry.key.to_vec(), latest));
            rest = after;
        }
        Ok(entries)
    }

    fn block_bytes(&self, index: usize) -> Result<Vec<u8>> {
        let block = &self.blocks[index];
        let mut bytes = vec![0; block.length];
        self.segment.file.read_at(&mut bytes, block.offset)?;
        if XxHash3_64::oneshot(&bytes) == block.checksum {
            Ok(bytes)
        } else {
            Err(self.damaged(index))
        }
    }

    fn damaged(&self, block: usize) -> Error {
        Error::corrupted(format!(
            "the footer of {} is damaged at byte {}",
            self.segment.path().display(),
            self.blocks[block].offset
        ))
    }
}

/// An entry as it lies in a block.
struct RawEntry<'a> {
    prefix: &'a [u8; ENTRY_PREFIX],
    key: &'a [u8],
    facts: &'a [u8],
}

impl<'a> RawEntry<'a> {
    /// The first entry of `bytes`, and what follows it.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (prefix, rest) = bytes.split_first_chunk::<ENTRY_PREFIX>()?;
        let [k0, k1, f0, f1, ..] = *prefix;
        let (key, rest) = rest.split_at_checked(u16::from_le_bytes([k0, k1]).into())?;
        let (facts, rest) = rest.split_at_checked(u16::from_le_bytes([f0, f1]).into())?;
        Some((Self { prefix, key, facts }, rest))
    }

    /// What it says; `None` if its kind is none.
    fn latest(&self, segment: u32) -> Option<Latest> {
        let number64 = |at: usize| Some(u64::from_le_bytes(*self.prefix[at..].first_chunk()?));
        Some(Latest {
            kind: Kind::from_byte(self.prefix[4])?,
            location: Location {
                segment,
                offset: number64(5)?,
                frame_len: number64(13)?,
                sequence: number64(21)?,
            },
            facts: self.facts.to_vec(),
        })
    }
}

/// The blocks of a table whose checksum fits; `None` if they leave `within` or are too large.
fn read_table(mut table: &[u8], within: std::ops::Range<u64>) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    while !table.is_empty() {
        let (prefix, rest) = table.split_first_chunk::<TABLE_PREFIX>()?;
        let offset = u64::from_le_bytes(*prefix[0..].first_chunk()?);
        let length = u32::from_le_bytes(*prefix[8..].first_chunk()?) as usize;
        let checksum = u64::from_le_bytes(*prefix[12..].first_chunk()?);
        let (key, rest) =
            rest.split_at_checked(u16::from_le_bytes([prefix[20], prefix[21]]).into())?;
        let inside = offset >= within.start && offset.checked_add(length as u64)? <= within.end;
        if !inside || length > MAX_BLOCK {
            return None;
        }
        blocks.push(Block {
            first_key: key.to_vec(),
            offset,
            length,
            checksum,
        });
        table = rest;
    }
    Some(blocks)
}
