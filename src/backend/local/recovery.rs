//! Opening for writing: what a crash left behind is put in order before the first new write.
//!
//! Invariant: only bytes that were never acknowledged are cut from the log, and they are kept in
//! `lost/`; the index is brought level with the log, or made anew from it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::catalog::{Catalog, Part, check_tail};
use super::checkpoint::{Checkpoint, LastClose, Position, check_log_reaches};
use super::disk::{Access, Medium, MediumFile};
use super::entry::entry_hash;
use super::footer::Latest;
use super::frame::Head;
use super::heads::{Heads, news};
use super::log::Active;
use super::segment::{Location, Segment, StoreId};
use super::tree::{self, Tree};
use super::view::merge;
use crate::error::{Error, Result};

/// Entries that go into the index in one step when it catches up.
const REBUILD_STEP: usize = 4096;

/// Bytes that are written once more at a time.
const REWRITE_STEP: u64 = 1 << 20;

/// The index as it was left.
#[derive(Default)]
pub(super) struct Known {
    /// Usable: it belongs to the store and agrees with the log as far as it goes.
    pub(super) level: Option<(Tree, Checkpoint)>,
    /// The last operation that is known to have been on the medium. It counts even where the index
    /// is of no other use: what it saw must be in the log.
    pub(super) synced: u64,
    /// The store was closed in order, and not opened for writing since.
    closed: bool,
}

impl Known {
    /// Opens the index in `folder`.
    ///
    /// # Errors
    /// `Io` if it may be whole, and something else is in the way. Any other failure means that it is
    /// to be made anew.
    pub(super) fn open(
        folder: &Path,
        store: StoreId,
        catalog: &Catalog,
        last: &LastClose,
    ) -> Result<Self> {
        let (synced, closed) = (last.synced, last.closed.is_some());
        let tree = match Tree::open(folder) {
            Err(error) if tree::is_passing(&error) => {
                let kept = format!(
                    "{} can't be opened now; it isn't made anew, because it may be whole",
                    folder.display()
                );
                return Err(Error::new(error.kind(), kept).with_source(error));
            }
            opened => opened.ok(),
        };
        let found = tree.and_then(|tree| Some((tree.checkpoint()?, tree)));
        let Some((checkpoint, tree)) = found.filter(|(known, _)| known.store == store) else {
            return Ok(Self {
                level: None,
                synced,
                closed,
            });
        };
        let agrees = checkpoint.compacted == catalog.newest_compacted()
            && lies_in(catalog, &checkpoint.position).unwrap_or(false)
            && (last.closed == Some(checkpoint) || tree.is_sound().unwrap_or(false));
        Ok(Self {
            level: agrees.then_some((tree, checkpoint)),
            synced: synced.max(checkpoint.position.synced),
            closed,
        })
    }
}

/// Whether the log has a batch that ends at `position`, the very one that the index saw.
fn lies_in(catalog: &Catalog, position: &Position) -> Result<bool> {
    let sealed = catalog
        .sealed
        .iter()
        .find(|p| p.segment.number() == position.segment);
    let segment = match (sealed, &catalog.active) {
        (Some(part), _) => &part.segment,
        (None, Some(active)) if active.number() == position.segment => active,
        _ => return Ok(false),
    };
    if position.last_offset == 0 {
        let begins = position.sequence + 1 == segment.header.first_sequence;
        return Ok(begins || sealed.is_some_and(|p| p.last_sequence == position.sequence));
    }
    let (at, end) = (position.last_offset, position.offset);
    if segment.file.len()? < end {
        return Ok(false);
    }
    let mut heads = Heads::from(segment, at, position.sequence, end);
    let Some((head, location)) = heads.next()? else {
        return Ok(false);
    };
    let (key, latest) = Latest::of_frame(head, location);
    Ok(heads.offset == end && entry_hash(&key, &latest) == position.last_hash)
}

/// The end of the log, and where writing goes on.
pub(super) struct Tail {
    pub(super) active: Option<Active>,
    pub(super) position: Position,
    /// A sentence for people if something had to be cut.
    pub(super) cut: Option<String>,
}

/// Finds the end of the log, cuts what a crash left behind it, and syncs what is before it.
pub(super) fn find_tail(
    medium: &Medium,
    catalog: &Catalog,
    known: &Known,
    lost: &Path,
) -> Result<Tail> {
    let (synced, closed) = (known.synced, known.closed);
    let known = known.level.as_ref().map(|(_, c)| c.position);
    let Some(segment) = &catalog.active else {
        let sequence = catalog.next_sequence() - 1;
        check_log_reaches(sequence, synced)?;
        let sealed = catalog.sealed.last();
        if let Some(part) = sealed {
            // A killed process may not have synced the footer, and the next segment says that it was.
            let file = medium.open(part.segment.path(), Access::Write)?;
            if !closed {
                write_again(&file, part.end..file.len()?)?;
            }
            file.sync()?;
        }
        let number = sealed.map_or(0, |part| part.segment.number());
        let end = position_at(number, 0, sequence);
        return Ok(Tail {
            active: None,
            position: known.filter(|k| k.sequence == sequence).unwrap_or(end),
            cut: None,
        });
    };
    let start = start_of(segment);
    // Where the index knows of what wasn't synced, a power cut may have taken that.
    let from = known
        .filter(|k| k.segment == start.segment && k.synced == k.sequence)
        .unwrap_or(start);
    let scan = Scan::of(segment, &from, synced)?;
    // Before anything is cut: what is known to have been synced must be there.
    check_log_reaches(scan.end.sequence, synced)?;
    let cut = cut_behind(medium, segment, scan.end.offset, lost)?;
    let file = medium.open(segment.path(), Access::Write)?;
    let segment = Arc::new(Segment::open(file, segment.number())?);
    // A killed process may have written a batch and not synced it. What the index knows must be on
    // the medium first, or a power cut would look like the loss of acknowledged records.
    if !closed {
        write_again(&segment.file, scan.unsynced..scan.end.offset)?;
    }
    segment.file.sync()?;
    Ok(Tail {
        active: Some(Active {
            end: scan.end.offset,
            segment,
        }),
        position: Position {
            synced: scan.end.sequence,
            ..scan.end
        },
        cut,
    })
}

/// Before the first frame of `segment`.
fn start_of(segment: &Segment) -> Position {
    let before = segment.header.first_sequence - 1;
    position_at(segment.number(), segment.start, before)
}

/// Where the last batch of an unsealed segment ends that is there as it was written, or that was
/// synced: `synced` is the last operation that is known to have been.
pub(super) fn end_of(segment: &Segment, synced: u64) -> Result<u64> {
    Ok(Scan::of(segment, &start_of(segment), synced)?.end.offset)
}

/// A walk over the frames that may be torn.
struct Scan {
    /// After the last batch that counts.
    end: Position,
    /// Before the first of the batches that may not be on the medium.
    unsynced: u64,
}

impl Scan {
    /// Walks over `segment` from `from` on.
    ///
    /// The bodies of frames that may not have been synced are read: those after the operation that
    /// the last frame knew to be synced, and after `synced`. A batch with a torn body, and all that
    /// follows it, was never acknowledged as synced.
    fn of(segment: &Segment, from: &Position, synced: u64) -> Result<Self> {
        let size = segment.file.len()?;
        let mut end = *from;
        let mut unsynced: Vec<(Position, Vec<(Head, Location)>)> = Vec::new();
        let mut heads = Heads::from(segment, from.offset, from.sequence + 1, size);
        heads.for_each_batch(|batch| {
            let first_unsynced = batch.iter().map(|(head, _)| head.first_unsynced()).max();
            let first_unsynced = first_unsynced.unwrap_or(0).max(synced + 1);
            unsynced.retain(|(_, earlier)| earlier.iter().any(|f| f.1.sequence >= first_unsynced));
            let before = end;
            if let Some((head, location)) = batch.last() {
                let (key, latest) = Latest::of_frame(head.clone(), *location);
                end.offset = location.offset + location.frame_len;
                end.sequence = location.sequence;
                end.last_offset = location.offset;
                end.last_hash = entry_hash(&key, &latest);
            }
            unsynced.push((before, batch));
            Ok(())
        })?;
        check_tail(segment, end.offset..size, end.sequence)?;
        let first = unsynced.first().map(|(before, _)| before.offset);
        let mut scan = Self {
            unsynced: first.unwrap_or(end.offset),
            end,
        };
        for (before, batch) in unsynced {
            for (head, location) in batch.iter().filter(|(_, l)| l.sequence > synced) {
                if segment.body_is_valid(head, location.offset)? {
                    continue;
                }
                let mut rest = Heads::from(segment, end.offset, end.sequence + 1, size);
                // Followed by what was written after a sync, it is damage: kept, and reported
                // when the record is read.
                if !rest.any_synced_after(end.offset, location.sequence)? {
                    scan.end = before;
                    return Ok(scan);
                }
            }
        }
        Ok(scan)
    }
}

/// Writes what can be read in `range` to the same place. After a sync that failed, Linux takes what
/// wasn't written for clean: it is read from memory, and no later sync would put it on the medium.
fn write_again(file: &MediumFile, range: Range<u64>) -> Result<()> {
    let mut at = range.start;
    while at < range.end {
        let mut bytes = vec![0; (range.end - at).min(REWRITE_STEP) as usize];
        file.read_at(&mut bytes, at)?;
        file.write_at(&bytes, at)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// Moves what lies behind `end` to `lost`; returns a sentence for people if there was something.
fn cut_behind(medium: &Medium, segment: &Segment, end: u64, lost: &Path) -> Result<Option<String>> {
    let size = segment.file.len()?;
    if end == size {
        return Ok(None);
    }
    let mut torn = vec![0; (size - end) as usize];
    segment.file.read_at(&mut torn, end)?;
    medium.create_dir(lost)?;
    let names = medium.names(lost)?;
    let name = (1..=names.len() + 1)
        .map(|n| format!("{:08}-{end}-{n}.torn", segment.number()))
        .find(|name| !names.contains(name));
    let kept = lost.join(name.unwrap_or_default());
    medium.write_atomic(&kept, &torn)?;
    let file = medium.open(segment.path(), Access::Write)?;
    file.set_len(end)?;
    file.sync()?;
    Ok(Some(format!(
        "{} bytes of a write that was never acknowledged were moved to {}",
        torn.len(),
        kept.display()
    )))
}

/// The index level with the log: as it was left, caught up, or made anew in `folder`.
pub(super) fn level_index(
    catalog: &Catalog,
    tail: &Tail,
    known: Known,
    store: StoreId,
    folder: &Path,
) -> Result<Tree> {
    if let Some((tree, checkpoint)) = known.level {
        // An index that is ahead saw what was never synced and is gone.
        if checkpoint.position.sequence <= tail.position.sequence {
            replay(catalog, tail, &tree, checkpoint.position)?;
            return Ok(tree);
        }
        drop(tree);
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|e| Error::io("remove", folder, e))?;
    }
    let tree = Tree::open(folder)?;
    let last = catalog.sealed.last();
    let number = last.map_or(0, |part| part.segment.number());
    let sealed = position_at(number, 0, catalog.next_sequence() - 1);
    let entries = merge(catalog.sealed.iter().map(|part| part.entries_from(b"")));
    tree.fill(entries, store, catalog.newest_compacted(), sealed)?;
    replay(catalog, tail, &tree, sealed)?;
    Ok(tree)
}

/// A position before any frame that is known.
fn position_at(segment: u32, offset: u64, sequence: u64) -> Position {
    Position {
        segment,
        offset,
        sequence,
        synced: sequence,
        last_offset: 0,
        last_hash: 0,
    }
}

/// Brings the index from `known` to the end of the log.
fn replay(catalog: &Catalog, tail: &Tail, tree: &Tree, known: Position) -> Result<()> {
    for part in &catalog.sealed {
        if part.last_sequence <= known.sequence {
            continue;
        }
        if part.segment.header.first_sequence > known.sequence {
            replay_part(part, tree)?;
        } else {
            let end = part.segment.file.len()?;
            replay_frames(&part.segment, tree, known, end)?;
        }
    }
    if let Some(Active { segment, end }) = &tail.active {
        let from = if known.segment == segment.number() {
            known
        } else {
            start_of(segment)
        };
        replay_frames(segment, tree, from, *end)?;
    }
    // Also where nothing was to be done: the index then says so.
    tree.apply([], tail.position)
}

/// Puts the frames behind `from` into the index.
fn replay_frames(segment: &Segment, tree: &Tree, from: Position, end: u64) -> Result<()> {
    let mut heads = Heads::from(segment, from.offset, from.sequence + 1, end);
    let (mut step, mut reached) = (BTreeMap::new(), from);
    heads.for_each_batch(|batch| {
        let batch = news(batch);
        if let Some((key, latest)) = batch.last() {
            let location = latest.location;
            reached.offset = location.offset + location.frame_len;
            reached.sequence = location.sequence;
            reached.synced = location.sequence;
            reached.last_offset = location.offset;
            reached.last_hash = entry_hash(key, latest);
        }
        step.extend(batch);
        if step.len() >= REBUILD_STEP {
            tree.apply(&std::mem::take(&mut step), reached)?;
        }
        Ok(())
    })?;
    tree.apply(&step, reached)
}

/// Puts all that a sealed segment says into the index. The checkpoint passes the segment only with
/// the last step: a rebuild that is cut short goes on from the segment's start.
fn replay_part(part: &Part, tree: &Tree) -> Result<()> {
    let segment = &part.segment;
    let start = start_of(segment);
    let mut step = BTreeMap::new();
    for entry in part.entries_from(b"") {
        let (key, latest) = entry?;
        step.insert(key, latest);
        if step.len() == REBUILD_STEP {
            tree.apply(&std::mem::take(&mut step), start)?;
        }
    }
    let whole = Position {
        sequence: part.last_sequence,
        synced: part.last_sequence,
        ..start
    };
    tree.apply(&step, whole)
}
