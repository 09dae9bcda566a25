//! What is wrong with one segment, from what lies in it and what its footer and its neighbours say.
//!
//! Invariant: the rule of opening holds here too (see `recovery.rs`): only behind the last operation
//! that is known to have been synced, and only in the active segment, may a crash have torn a write.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use super::files::Found;
use super::sweep::{Frame, Gap, State, Swept};
use super::{Affected, Damage, Finding, Standing};
use crate::backend::local::footer::{Footer, Latest};
use crate::backend::local::frame::Kind;

/// What is known of a segment from elsewhere.
pub(super) struct Surroundings<'a> {
    pub(super) file: &'a Path,
    /// The last operation before the next segment, where there is one.
    pub(super) ends: Option<u64>,
    /// The last operation that is known to have been on the medium.
    pub(super) synced: u64,
    /// The last operation of the log when it was closed in order, if it was.
    pub(super) closed: Option<u64>,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) findings: Vec<Finding>,
    pub(super) note: Option<String>,
    /// Frames that count.
    pub(super) frames: Vec<Frame>,
    /// Operations that the footer names and whose frames aren't there, with the finding about each.
    pub(super) lost: Vec<(Vec<u8>, Latest, usize)>,
    /// The last operation that the segment stands for.
    pub(super) last_sequence: u64,
}

struct Judge<'a> {
    found: &'a Found,
    around: &'a Surroundings<'a>,
    /// What the footer says, in the order of the keys.
    entries: Vec<(Vec<u8>, Latest)>,
    footer_whole: bool,
    /// Whether writes may go on behind the last frame.
    active: bool,
    swept: Swept,
    judged: Judged,
}

/// Judges a segment in which `swept` was found.
pub(super) fn judge(found: &Found, swept: Swept, around: &Surroundings<'_>) -> Judged {
    let compacted = found.segment.header.compacted.is_some();
    let mut judge = Judge {
        found,
        around,
        entries: Vec::new(),
        footer_whole: false,
        active: !compacted && found.footer.is_none() && around.ends.is_none(),
        swept,
        judged: Judged::default(),
    };
    judge.read_footer();
    if judge.active {
        judge.leave_out_the_tail();
    }
    judge.gaps();
    judge.frames();
    judge.compare_footer();
    let mut judged = judge.judged;
    judged.frames = judge.swept.frames;
    judged
}

impl Judge<'_> {
    fn first(&self) -> u64 {
        self.found.segment.header.first_sequence
    }

    fn finding(&self, damage: Damage, what: impl Into<String>) -> Finding {
        Finding::new(damage, self.around.file, what)
    }

    /// The last operation that the segment should hold, where that is known.
    fn expected_last(&self) -> Option<u64> {
        let footer = self.found.footer.as_ref().map(|f| f.last_sequence);
        let compacted = self.found.segment.header.compacted;
        compacted
            .map(|c| c.last_sequence)
            .or(footer)
            .or(self.around.ends)
    }

    fn last_frame(&self) -> u64 {
        self.swept
            .frames
            .last()
            .map_or(self.first() - 1, Frame::sequence)
    }

    fn read_footer(&mut self) {
        let Some(footer) = self.found.footer.clone() else {
            return;
        };
        self.footer_whole = true;
        let mut end = footer.start;
        for block in footer.blocks() {
            if block.start != end {
                self.footer_whole = false;
                let finding =
                    self.finding(Damage::Footer, "the footer's blocks aren't side by side");
                self.judged
                    .findings
                    .push(finding.at(end.min(block.start)..block.start.max(end)));
            }
            end = block.end;
        }
        if end != footer.table {
            let finding = self.finding(
                Damage::Footer,
                "bytes lie between the footer's blocks and table",
            );
            self.judged
                .findings
                .push(finding.at(end.min(footer.table)..footer.table.max(end)));
        }
        for entry in Footer::entries_from(footer, b"") {
            match entry {
                Ok(entry) => self.entries.push(entry),
                Err(error) => {
                    self.footer_whole = false;
                    let finding = self.finding(Damage::Footer, error.to_string());
                    self.judged.findings.push(finding);
                }
            }
        }
    }

    /// Takes what opening for writing would cut out of what was found.
    fn leave_out_the_tail(&mut self) {
        let Swept { frames, gaps, .. } = &mut self.swept;
        let witnessed = frames.iter().map(|frame| frame.first_unsynced - 1).max();
        let first = self.found.segment.header.first_sequence;
        let synced = self
            .around
            .synced
            .max(first - 1)
            .max(witnessed.unwrap_or(0));
        let before = |at: usize| {
            at.checked_sub(1)
                .map_or(first - 1, |at| frames[at].sequence())
        };
        let torn_frame = frames.iter().position(|frame| {
            frame.sequence() > synced && matches!(frame.state, State::Body | State::Cut)
        });
        let torn_gap = gaps
            .iter()
            .map(|gap| gap.after)
            .find(|&at| before(at) >= synced);
        let open = |frame: &&Frame| !frame.last && frame.sequence() > synced;
        let open = frames.last().filter(open).map(|_| frames.len());
        let torn = [torn_frame, torn_gap, open].into_iter().flatten().min();
        self.judged.last_sequence = synced.max(before(frames.len()));
        let Some(mut keep) = torn else { return };
        while keep > 0 && !frames[keep - 1].last && frames[keep - 1].sequence() > synced {
            keep -= 1;
        }
        let at = |frame: &Frame| frame.latest.location.offset;
        let from_gap = gaps
            .iter()
            .find(|gap| gap.after == keep)
            .map(|gap| gap.range.start);
        let from = from_gap.into_iter().chain(frames.get(keep).map(at)).min();
        let from = from.unwrap_or(self.found.size);
        frames.truncate(keep);
        gaps.retain(|gap| gap.range.start < from);
        let last = frames.last().map_or(first - 1, Frame::sequence);
        self.judged.last_sequence = synced.max(last);
        let (bytes, file) = (from..self.found.size, self.around.file.display());
        if bytes.is_empty() {
            return;
        }
        if self.around.closed == Some(last) {
            let what = "bytes lie behind the end of a log that was closed in order";
            let finding = self.finding(Damage::Tail, what).at(bytes);
            self.judged.findings.push(finding);
        } else if self.ends_like_a_footer() {
            let what = "the footer is damaged; no record is lost by that";
            let finding = self.finding(Damage::Footer, what).at(bytes);
            self.judged.findings.push(finding);
        } else {
            self.judged.note = Some(format!(
                "{file} bytes {}..{}: a write under way, or cut short by a crash: opening for writing \
                 moves it to lost/",
                bytes.start, bytes.end
            ));
        }
    }

    fn ends_like_a_footer(&self) -> bool {
        let mut end = [0; 4];
        let at = self.found.size.saturating_sub(4);
        self.found.segment.file.read_at(&mut end, at).is_ok() && &end == b"LDBI"
    }

    /// Tells what should have been where no valid frame is.
    fn gaps(&mut self) {
        let frames_end = self
            .found
            .footer
            .as_ref()
            .map_or(self.found.size, |f| f.start);
        let made = self.found.segment.header.compacted;
        let missing = made.map(|made| made.frames.saturating_sub(self.swept.frames.len() as u64));
        let last = match self.expected_last() {
            _ if self.active => self.judged.last_sequence,
            Some(last) => last,
            None => self.last_frame(),
        };
        self.judged.last_sequence = last;
        let mut gaps = std::mem::take(&mut self.swept.gaps);
        let ends_in_gap = gaps
            .last()
            .is_some_and(|g| g.after == self.swept.frames.len());
        let complete = missing.map_or(self.last_frame() >= last, |missing| missing == 0);
        let told = missing.is_some() && !gaps.is_empty() && self.found.footer.is_some();
        if !ends_in_gap && !complete && !told {
            // The file was cut where a frame begins.
            let (range, after) = (frames_end..frames_end, self.swept.frames.len());
            gaps.push(Gap { range, after });
        }
        for gap in gaps {
            self.gap(gap, last, missing);
        }
        let footer_expected = !self.active && self.found.footer.is_none();
        let mut findings = self.judged.findings.iter();
        if footer_expected && !findings.any(|f| f.damage == Damage::Footer) {
            let what = "the footer is damaged or missing; no record is lost by that";
            let end = self
                .swept
                .frames
                .last()
                .map_or(0, |frame| frame.range().end);
            let finding = self.finding(Damage::Footer, what).at(end..self.found.size);
            self.judged.findings.push(finding);
        }
    }

    fn gap(&mut self, gap: Gap, last: u64, missing: Option<u64>) {
        let frames = &self.swept.frames;
        let before = gap.after.checked_sub(1).map(|at| frames[at].sequence());
        let from = before.map_or(self.first(), |before| before + 1);
        let to = frames
            .get(gap.after)
            .map_or(last, |next| next.sequence() - 1);
        let none = from > to || missing == Some(0);
        if none && gap.after == frames.len() && self.found.footer.is_none() {
            let what = "the footer is damaged; no record is lost by that";
            let finding = self.finding(Damage::Footer, what).at(gap.range);
            self.judged.findings.push(finding);
            return;
        }
        let what = match (none, gap.range.is_empty(), missing) {
            (true, ..) => "no valid frame lies here, and none is missing".to_owned(),
            (_, true, None) if from == to => {
                format!("the file ends here, and operation {from} is gone")
            }
            (_, true, None) => {
                format!("the file ends here, and operations {from} to {to} are gone")
            }
            (_, true, Some(_)) => "the file ends here, and operations are gone".to_owned(),
            (_, false, Some(_)) => "operations can't be read".to_owned(),
            (_, false, None) if from == to => format!("operation {from} can't be read"),
            (_, false, None) => format!("operations {from} to {to} can't be read"),
        };
        let mut finding = self.finding(Damage::Frames, what).at(gap.range);
        let at = self.judged.findings.len();
        let mut named = 0;
        for (key, latest) in &self.entries {
            let operation = latest.location.sequence;
            if !none && (from..=to).contains(&operation) {
                named += 1;
                finding.affected.push(affected(key, latest));
                self.judged.lost.push((key.clone(), latest.clone(), at));
            }
        }
        // What a whole footer doesn't name was replaced in the same segment.
        let unnamed = !none && !self.footer_whole && named < to - from + 1;
        finding.unnamed = unnamed.then_some(from..=to);
        if !none && !unnamed && named == 0 {
            finding.what += "; what was written there was replaced since, as the footer knows";
        }
        self.judged.findings.push(finding);
    }

    /// Tells which frames are damaged.
    fn frames(&mut self) {
        for frame in &self.swept.frames {
            let (damage, what) = match &frame.state {
                State::Whole => continue,
                State::Body => (Damage::Body, "the body fails its checksum".to_owned()),
                State::Cut => (Damage::Body, "the file ends inside the frame".to_owned()),
                State::Item(error) => (Damage::Item, format!("{error:#}")),
            };
            let mut finding = self.finding(damage, what).at(frame.range());
            finding.affected.push(affected(&frame.key, &frame.latest));
            self.judged.findings.push(finding);
        }
        for range in &self.swept.unreadable {
            let finding = self.finding(Damage::Unreadable, "the system can't read these bytes");
            self.judged.findings.push(finding.at(range.clone()));
        }
    }

    /// Tells where the footer and the frames disagree.
    fn compare_footer(&mut self) {
        let Some(footer) = self.found.footer.clone() else {
            return;
        };
        let range: Range<u64> = footer.start..self.found.size;
        let mut newest: HashMap<&[u8], &Latest> = HashMap::new();
        for frame in &self.swept.frames {
            newest.insert(&frame.key, &frame.latest);
        }
        let mut wrong = Vec::new();
        let lost = self.judged.lost.iter().map(|(key, ..)| key.as_slice());
        let lost: HashSet<&[u8]> = lost.collect();
        let mut before: Option<&[u8]> = None;
        for (key, latest) in &self.entries {
            let name = String::from_utf8_lossy(key);
            if before.is_some_and(|before| before >= key.as_slice()) {
                wrong.push(format!("the footer's keys aren't in order at `{name}`"));
            }
            before = Some(key);
            let frame = newest.remove(key.as_slice());
            if lost.contains(key.as_slice()) || frame == Some(latest) {
                continue;
            }
            let operation = latest.location.sequence;
            wrong.push(format!(
                "the footer says something else of `{name}` (operation {operation}) than the frames"
            ));
        }
        if self.footer_whole {
            let lacking = newest.len();
            if lacking > 0 {
                wrong.push(format!("the footer lacks {lacking} of the frames' keys"));
            }
            let entries = self.entries.len() as u64;
            if entries != footer.keys {
                let keys = footer.keys;
                wrong.push(format!(
                    "the footer has {entries} keys and says it has {keys}"
                ));
            }
        }
        let compacted = self.found.segment.header.compacted;
        let ends = compacted.map_or(self.around.ends, |c| Some(c.last_sequence));
        let says = footer.last_sequence;
        let disagrees = |&ends: &u64| ends < says || compacted.is_some() && ends != says;
        if let Some(ends) = ends.filter(disagrees) {
            wrong.push(format!(
                "the footer says that it ends at operation {says}, and it ends at {ends}"
            ));
        }
        for what in wrong {
            let finding = self.finding(Damage::Footer, what).at(range.clone());
            self.judged.findings.push(finding);
        }
    }
}

/// Whether it is live is known when the whole log is.
pub(super) fn affected(key: &[u8], latest: &Latest) -> Affected {
    Affected {
        key: key.to_vec(),
        operation: latest.location.sequence,
        standing: match latest.kind {
            Kind::Put => Standing::Live,
            Kind::Delete => Standing::Delete,
        },
    }
}
