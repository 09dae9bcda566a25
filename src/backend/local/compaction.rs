//! Compaction: segments with much garbage are rewritten without it.
//!
//! Invariant: nothing is lost at any kill point. A new segment is written whole and synced under a
//! temporary name; renaming it is the commit, and only then do those it replaces go. Operations
//! keep their numbers, so the order of the log stays what it was. A delete is kept as long as an
//! older segment holds what it deletes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::catalog::Part;
use super::disk::{Access, MediumFile};
use super::footer::{self, Latest};
use super::frame::{Head, Kind};
use super::heads::Heads;
use super::segment::{self, Compacted, Header, Location, Segment};
use super::tree::Move;
use super::writer::{Writer, locked};
use crate::backend::Compaction;
use crate::error::{Error, Result};
use crate::fs;

/// Garbage in a segment, as a part of its frames, from which `compact` rewrites it.
const WORTHWHILE: f64 = 0.05;

/// Garbage in all segments from which compaction begins by itself, as a part of their frames: it
/// then takes the segments that are this much garbage. In bytes, it must be a quarter of a full
/// segment.
const TOO_MUCH: f64 = 0.5;
const QUARTER: u64 = 4;

/// Segments smaller than this part of a full one are put together.
const SMALL: u64 = 4;

/// Bytes that are written at once, and entries that the index takes at once.
const WRITE: usize = 1 << 20;
const MOVES: usize = 4096;

/// The frames that stay of a group of segments.
struct Plan {
    frames: Vec<(Head, Location)>,
    /// Bytes of all of them, and of the deletes among them.
    bytes: u64,
    retained: u64,
}

fn read<T: Clone>(lock: &RwLock<T>) -> T {
    lock.read().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Writer {
    /// Rewrites all segments with garbage worth it. `progress` gets the bytes of segments looked
    /// through, and of all that will be.
    pub(super) fn compact(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Compaction> {
        let _one_at_a_time = locked(&self.compacting);
        self.seal_garbage()?;
        let sealed = read(&self.sealed);
        let groups = self.groups(&sealed, WORTHWHILE, true)?;
        let size = |group: &[Part]| group.iter().map(Part::frame_bytes).sum::<u64>();
        let total = groups.iter().map(|group| size(group)).sum();
        let (mut sum, mut done) = (Compaction::default(), 0);
        for group in &groups {
            self.compact_group(group, &mut sum, &mut |bytes| progress(done + bytes, total))?;
            done += size(group);
        }
        Ok(sum)
    }

    /// Rewrites one group of segments if there is too much garbage, and nobody is at it already.
    pub(super) fn compact_a_little(&self) -> Result<()> {
        let Ok(_one_at_a_time) = self.compacting.try_lock() else {
            return Ok(());
        };
        let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner);
        let all: u64 = sealed.iter().map(Part::frame_bytes).sum();
        let least = self.settings.segment_bytes / QUARTER;
        if all < least {
            return Ok(());
        }
        let live = self.index().live_bytes_lately();
        let live: u64 = sealed.iter().map(|part| live_of(part, &live)).sum();
        let garbage = all.saturating_sub(live);
        if garbage < least || (garbage as f64) < TOO_MUCH * all as f64 {
            return Ok(());
        }
        let parts = sealed.clone();
        drop(sealed);
        let groups = self.groups(&parts, TOO_MUCH, false)?;
        match groups.first() {
            Some(group) => self.compact_group(group, &mut Compaction::default(), &mut |_| ()),
            None => Ok(()),
        }
    }

    /// Seals the active segment if it has garbage worth it.
    fn seal_garbage(&self) -> Result<()> {
        let mut log = locked(&self.log);
        let Some(active) = &log.active else {
            return Ok(());
        };
        let live = self.index().live_bytes()?;
        let live = live.get(&active.segment.number()).copied().unwrap_or(0);
        let frames = active.end - active.segment.start;
        if is_garbage(frames, live, WORTHWHILE) {
            let sealed = log.seal()?;
            self.add_segments(&log, sealed);
        }
        Ok(())
    }

    /// Neighbouring segments that become one: each with garbage, or small and beside another.
    fn groups(&self, parts: &[Part], threshold: f64, merge: bool) -> Result<Vec<Vec<Part>>> {
        let live = self.index().live_bytes()?;
        let (mut groups, mut group, mut bytes) = (Vec::new(), Vec::<Part>::new(), 0);
        let garbage = |part: &Part| is_garbage(part.frame_bytes(), live_of(part, &live), threshold);
        let mut close = |group: &mut Vec<Part>| {
            let group = std::mem::take(group);
            if group.iter().any(garbage) || (merge && group.len() > 1) {
                groups.push(group);
            }
        };
        for part in parts {
            let stays = live_of(part, &live);
            let small = merge && part.frame_bytes() < self.settings.segment_bytes / SMALL;
            if !(small || garbage(part)) || bytes + stays > self.settings.segment_bytes {
                close(&mut group);
                bytes = 0;
            }
            if small || garbage(part) {
                group.push(part.clone());
                bytes += stays;
            }
        }
        close(&mut group);
        Ok(groups)
    }

    fn compact_group(
        &self,
        group: &[Part],
        sum: &mut Compaction,
        progress: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(());
        };
        let plan = self.plan(group)?;
        self.space.check(plan.bytes + plan.bytes / 8, true)?;
        let mut log = locked(&self.log);
        log.check()?;
        let number = log.next_number;
        log.next_number += 1;
        drop(log);
        let header = Header {
            store: first.segment.header.store,
            number,
            first_sequence: first.segment.header.first_sequence,
            compacted: Some(Compacted {
                last_sequence: last.last_sequence,
                frames: plan.frames.len() as u64,
                retained: plan.retained,
            }),
        };
        let path = self.segments_folder().join(segment::file_name(number));
        let temporary = fs::temporary_name(&path);
        let copied = self.copy(group, plan.frames, header, &temporary, progress);
        let committed = copied.and_then(|moves| {
            // A process that is killed after the commit then leaves an index that knows all but it.
            self.index().flush()?;
            let mut log = locked(&self.log);
            // What made frames garbage may not be synced yet; a power cut must not take both.
            log.sync()?;
            // A failure leaves it open whether the new segment is there after a power cut.
            log.critical(|_| {
                self.medium.rename(&temporary, &path)?;
                self.commit_compaction(group, number, &path, &moves)
            })
        });
        let part = committed.inspect_err(|_| {
            // It may be there or not; under its own name it stays.
            let _ = self.medium.remove(&temporary);
        })?;
        sum.bytes_after += part.segment.file.len()?;
        for old in group {
            sum.files += 1;
            sum.bytes_before += old.segment.file.len()?;
            let mut segments = self
                .segments
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            segments.remove(&old.segment.number());
            drop(segments);
            self.medium.remove(old.segment.path())?;
        }
        self.medium.sync_dir(&self.segments_folder())
    }

    fn segments_folder(&self) -> PathBuf {
        self.folder.join(super::SEGMENTS)
    }

    /// Which frames of `group` must stay.
    fn plan(&self, group: &[Part]) -> Result<Plan> {
        let sealed = read(&self.sealed);
        let first = group.first().map(|part| part.segment.number());
        let older = sealed
            .iter()
            .take_while(|part| Some(part.segment.number()) != first);
        let older: Vec<_> = older.collect();
        let mut plan = Plan {
            frames: Vec::new(),
            bytes: 0,
            retained: 0,
        };
        for part in group {
            let mut heads = Heads::new(&part.segment, part.end);
            while let Some((head, location)) = heads.next()? {
                let latest = self.index().get(&head.key)?;
                let stays = match (head.kind, latest) {
                    (Kind::Put, latest) => latest.is_some_and(|l| l.location == location),
                    (Kind::Delete, Some(_)) => false,
                    (Kind::Delete, None) => {
                        let holds = |part: &&Part| part.get(&head.key).map(|f| f.is_some());
                        older.iter().map(holds).try_fold(false, |a, b| Ok(a | b?))?
                    }
                };
                if stays {
                    plan.bytes += location.frame_len;
                    if head.kind == Kind::Delete {
                        plan.retained += location.frame_len;
                    }
                    plan.frames.push((head, location));
                }
            }
            if heads.offset != part.end {
                return Err(Error::corrupted(format!(
                    "{} is damaged at byte {}",
                    part.segment.path().display(),
                    heads.offset
                )));
            }
        }
        // Replaced or deleted meanwhile, a frame may stay for nothing; but none may be missing.
        let live = self.index().live_bytes()?;
        let numbers = group.iter().map(|part| part.segment.number());
        let live: u64 = numbers.filter_map(|number| live.get(&number)).sum();
        if plan.bytes - plan.retained < live {
            return Err(Error::corrupted(format!(
                "of {live} bytes in the segments {} to {} that the index points to, {} were found",
                group.first().map_or(0, |part| part.segment.number()),
                group.last().map_or(0, |part| part.segment.number()),
                plan.bytes - plan.retained
            )));
        }
        Ok(plan)
    }

    /// Writes the frames of `plan` as a segment of its own and syncs it; returns where they went.
    fn copy(
        &self,
        group: &[Part],
        frames: Vec<(Head, Location)>,
        header: Header,
        path: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Move>> {
        let file = self.medium.open(path, Access::Create)?;
        file.write_at(&header.to_bytes(), 0)?;
        let target = Segment::open(file, header.number)?;
        let mut out = Output {
            file: &target.file,
            written: target.start,
            buffer: Vec::with_capacity(WRITE),
        };
        let mut moves = Vec::with_capacity(frames.len());
        let (mut done, mut source) = (0, 0);
        for (head, from) in frames {
            while group[source].segment.number() != from.segment {
                done += group[source].frame_bytes();
                source += 1;
            }
            let segment = &group[source].segment;
            let body = segment.read_body(&head.key, &from)?;
            let offset = out.written + out.buffer.len() as u64;
            let head = Head {
                unsynced: 0,
                last: true,
                ..head
            };
            head.write(target.seed_at(offset), &body, &mut out.buffer);
            let to = Location {
                segment: header.number,
                offset,
                ..from
            };
            let (key, to) = Latest::of_frame(head, to);
            moves.push(Move { key, from, to });
            if out.buffer.len() >= WRITE {
                out.write()?;
                progress(done + from.offset - segment.start);
            }
        }
        out.write()?;
        let newest: BTreeMap<_, _> = moves.iter().map(|moved| (&moved.key, &moved.to)).collect();
        let last_sequence = header.compacted.map_or(0, |c| c.last_sequence);
        let footer = footer::write(out.written, last_sequence, newest.into_iter());
        target.file.write_at(&footer, out.written)?;
        target.file.sync()?;
        Ok(moves)
    }

    /// Points index and readers of this process to the segment that was just renamed to `path`.
    fn commit_compaction(
        &self,
        group: &[Part],
        number: u32,
        path: &Path,
        moves: &[Move],
    ) -> Result<Part> {
        let file = self.medium.open(path, Access::Read)?;
        let segment = Arc::new(Segment::open(file, number)?);
        let part = Part::sealed(&segment)?;
        let segments = self.segments.write();
        let mut segments = segments.unwrap_or_else(PoisonError::into_inner);
        segments.insert(number, segment);
        drop(segments);
        for step in moves.chunks(MOVES) {
            self.index().relocate(step, None)?;
        }
        self.index().relocate(&[], Some(number))?;
        let mut sealed = self.sealed.write().unwrap_or_else(PoisonError::into_inner);
        let first = group.first().map(|part| part.segment.number());
        let at = sealed
            .iter()
            .position(|p| Some(p.segment.number()) == first);
        if let Some(at) = at {
            sealed.splice(at..at + group.len(), [part.clone()]);
        }
        Ok(part)
    }
}

/// Frames on their way to a file.
struct Output<'a> {
    file: &'a MediumFile,
    written: u64,
    buffer: Vec<u8>,
}

impl Output<'_> {
    fn write(&mut self) -> Result<()> {
        self.file.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Bytes of frames in `part` that compaction would keep.
fn live_of(part: &Part, live: &BTreeMap<u32, u64>) -> u64 {
    let retained = part.segment.header.compacted.map_or(0, |c| c.retained);
    let live = live.get(&part.segment.number()).copied();
    live.unwrap_or(0).saturating_add(retained)
}

fn is_garbage(frames: u64, live: u64, threshold: f64) -> bool {
    frames.saturating_sub(live) as f64 > threshold * frames as f64
}
