//! Opening for writing: what a crash left behind is put in order before the first new write.
//!
//! Invariant: only bytes that were never acknowledged are cut from the log, and they are kept in
//! `lost/`; the index is brought level with the log, or made anew from it.

use std::path::Path;
use std::sync::Arc;

use super::footer::Latest;
use super::index::{Checkpoint, Index};
use super::segment::{Heads, Segment, StoreId};
use super::view::{Part, View, for_each_batch};
use crate::error::{Error, Result};
use crate::fs;

/// Entries that go into the index in one step when it is rebuilt.
const REBUILD_STEP: usize = 4096;

/// Cuts what a crash left at the end of the last segment and was never acknowledged.
///
/// Returns a sentence for people if there was something to cut.
pub(super) fn cut_torn_tail(
    view: &mut View,
    known: Option<Checkpoint>,
    lost: &Path,
) -> Result<Option<String>> {
    let Some(part) = view.parts.last() else {
        return Ok(None);
    };
    if let Some(known) = known {
        // Before anything is cut: what the index knows was acknowledged.
        check_log_reaches(part.last_sequence, &known)?;
    }
    if part.sealed {
        return Ok(None);
    }
    let segment = Arc::clone(&part.segment);
    let end = valid_end(part, known)?;
    let size = segment.len()?;
    if end == size {
        return Ok(None);
    }
    let mut torn = vec![0; (size - end) as usize];
    fs::read_exact_at(&segment.file, &segment.path, &mut torn, end)?;
    fs::create_dir_all(lost)?;
    let kept = lost.join(format!("{:08}-{end}.torn", segment.number));
    fs::write_atomic(&kept, &torn)?;

    let file = fs::open_writable(&segment.path)?;
    file.set_len(end)
        .map_err(|e| Error::io("cut", &segment.path, e))?;
    fs::sync_data(&file, &segment.path)?;
    let reopened = Segment::open(segment.path.clone(), segment.number, fs::open)?;
    view.parts.pop();
    view.parts.push(Part::open(Arc::new(reopened))?);
    Ok(Some(format!(
        "{} bytes of a write that was never acknowledged were moved to {}",
        torn.len(),
        kept.display()
    )))
}

/// Where the acknowledged frames of an unsealed segment end.
///
/// Heads were checked when the part was opened. Only the last batch can be unsynced, so only its
/// bodies are read; a batch that the index knows, or that a frame of a later one follows, was
/// synced, and damage to it is no torn write.
fn valid_end(part: &Part, known: Option<Checkpoint>) -> Result<u64> {
    let segment = &part.segment;
    let from = match known {
        Some(known) if known.segment == segment.number => known.offset,
        _ => segment.start,
    };
    let mut last = Vec::new();
    for_each_batch(&mut Heads::new(segment, from, part.end), |batch| {
        last = batch;
        Ok(())
    })?;
    for (head, location) in &last {
        if !segment.body_is_valid(head, location.offset)? {
            let mut rest = Heads::new(segment, part.end, segment.len()?);
            let synced = rest.any_after(part.end, head.batch())?;
            return Ok(if synced { part.end } else { last[0].1.offset });
        }
    }
    Ok(part.end)
}

/// The index as it was left, before it is compared with the log.
pub(super) struct Known(Option<Index>);

impl Known {
    /// How far into the log the index reaches, if it can be opened and belongs to the store.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.0.as_ref()?.checkpoint()
    }
}

/// Opens the index in `folder` as it is.
pub(super) fn known(folder: &Path, store: StoreId) -> Known {
    let index = Index::open(folder).ok();
    Known(index.filter(|index| index.checkpoint().is_some_and(|known| known.store == store)))
}

/// The index level with the log: as it was left, caught up, or made anew in `folder`.
pub(super) fn index_for(view: &View, store: StoreId, folder: &Path, known: Known) -> Result<Index> {
    if let Some(index) = known.0 {
        match index.checkpoint() {
            Some(known) if agrees(&known, view, &index)? => {
                replay(view, Some(known), store, &index)?;
                return Ok(index);
            }
            _ => drop(index),
        }
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|e| Error::io("remove", folder, e))?;
    }
    let index = Index::open(folder)?;
    replay(view, None, store, &index)?;
    Ok(index)
}

/// # Errors
/// `Corrupted` if the index knows of more than the log holds: then acknowledged records are gone,
/// or so damaged that no frame is to be seen.
fn check_log_reaches(log_ends: u64, known: &Checkpoint) -> Result<()> {
    if known.sequence <= log_ends {
        return Ok(());
    }
    Err(Error::corrupted(format!(
        "the log ends at operation {log_ends}, but {} were acknowledged: segments are damaged, lost \
         or put back from an older copy (to accept the loss, remove the folder `index` of the store)",
        known.sequence
    )))
}

/// Whether the index, which belongs to this store, is in step with the log and holds what it says.
fn agrees(known: &Checkpoint, view: &View, index: &Index) -> Result<bool> {
    let Some(part) = view
        .parts
        .iter()
        .find(|p| p.segment.number == known.segment)
    else {
        return Ok(false);
    };
    // The frame that comes next in the log must be the one that comes next in the count.
    let next = Heads::new(&part.segment, known.offset, part.end).next()?;
    let in_step = match next {
        Some((head, _)) => head.sequence == known.sequence + 1,
        None => part.last_sequence == known.sequence,
    };
    Ok(in_step && (known.clean || index.count()? == known.keys))
}

/// Brings the index from `known` to the end of the log.
fn replay(view: &View, known: Option<Checkpoint>, store: StoreId, index: &Index) -> Result<()> {
    let first = known.map_or(1, |known| known.segment);
    for part in view
        .parts
        .iter()
        .filter(|part| part.segment.number >= first)
    {
        let reached = Checkpoint {
            store,
            segment: part.segment.number,
            offset: part.segment.start,
            sequence: 0,
            keys: 0,
            clean: false,
        };
        match known {
            Some(known) if known.segment == part.segment.number => {
                let mut heads = Heads::new(&part.segment, known.offset, part.end);
                for_each_batch(&mut heads, |batch| {
                    let end = batch
                        .last()
                        .map(|(_, l)| (l.offset + l.frame_len, l.sequence));
                    let (offset, sequence) = end.unwrap_or((known.offset, known.sequence));
                    let news: Vec<_> = batch
                        .into_iter()
                        .map(|(head, location)| Latest::of_frame(head, location))
                        .collect();
                    let reached = Checkpoint {
                        offset,
                        sequence,
                        ..reached
                    };
                    index.apply(&news, reached)
                })?;
            }
            _ => rebuild_part(part, index, reached)?,
        }
    }
    Ok(())
}

/// Puts all that a segment says into the index. The checkpoint passes the segment only with the
/// last step: a rebuild that is cut short goes on from the segment's start.
fn rebuild_part(part: &Part, index: &Index, reached: Checkpoint) -> Result<()> {
    let mut news = Vec::with_capacity(REBUILD_STEP);
    for entry in part.entries_from(b"") {
        news.push(entry?);
        if news.len() == REBUILD_STEP {
            index.apply(
                &news,
                Checkpoint {
                    sequence: part.segment.first_sequence - 1,
                    ..reached
                },
            )?;
            news.clear();
        }
    }
    let whole = Checkpoint {
        offset: part.end,
        sequence: part.last_sequence,
        ..reached
    };
    index.apply(&news, whole)
}
