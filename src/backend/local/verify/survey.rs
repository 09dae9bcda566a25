//! A whole store, segment by segment: what is damaged, and what the newest of each key is.
//!
//! Invariant: of every key the operation with the highest number decides, also where its frame is
//! damaged: an older version never stands in for it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Files, Found, relative};
use super::judge::{Judged, Surroundings, affected, judge};
use super::sweep::{State, sweep};
use super::{Damage, Finding, ItemCheck, Standing, Verification};
use crate::backend::local::checkpoint::{self, CLOSED, Checkpoint};
use crate::backend::local::disk::Medium;
use crate::backend::local::footer::Latest;
use crate::backend::local::frame::Kind;
use crate::backend::local::segment::{Location, Segment, StoreId};
use crate::backend::local::store_file::{self, StoreFile};
use crate::backend::local::{SEGMENTS, is_not_found};
use crate::error::{Error, ErrorKind, Result};

/// What the log says last of a key.
#[derive(Debug, Clone)]
pub(in crate::backend::local) struct Newest {
    pub(in crate::backend::local) kind: Kind,
    pub(in crate::backend::local) location: Location,
    /// The finding about it, where it is damaged.
    pub(in crate::backend::local) finding: Option<usize>,
}

/// What was found in a store.
#[derive(Debug, Default)]
pub(in crate::backend::local) struct Survey {
    /// Where it can be read.
    pub(in crate::backend::local) file: Option<StoreFile>,
    pub(in crate::backend::local) store: Option<StoreId>,
    pub(in crate::backend::local) segments: HashMap<u32, Arc<Segment>>,
    pub(in crate::backend::local) newest: HashMap<Vec<u8>, Newest>,
    /// Older versions of what is damaged, where they are whole.
    pub(in crate::backend::local) older: HashMap<Vec<u8>, Location>,
    /// Facts of frames whose heads are damaged, as the footer knows them.
    pub(in crate::backend::local) headless: HashMap<Vec<u8>, Latest>,
    pub(in crate::backend::local) verification: Verification,
}

impl Survey {
    /// Looks through the store at `path`. `witnesses` say what else is known to have been synced.
    pub(in crate::backend::local) fn of(
        medium: &Medium,
        path: &Path,
        witnesses: &[Checkpoint],
        check: &mut ItemCheck<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self> {
        let mut survey = Self::default();
        survey.read_store_file(medium, path)?;
        // Read before the segments: a log only grows.
        let closed = survey.read_closed(medium, path)?;
        let opened = checkpoint::opened_at(medium, path).unwrap_or_default();
        let files = match Files::open(medium, &path.join(SEGMENTS), survey.store) {
            Err(error) if is_not_found(&error) && survey.file.is_some() => Files {
                store: survey.store,
                ..Files::default()
            },
            other => other?,
        };
        // Where a writer has opened the store since, a write may be under way.
        let still_closed = closed == checkpoint::closed_at(medium, path).unwrap_or_default();
        if files.found.is_empty() && files.headless.is_empty() {
            // Without segments and without its file this is no store at all.
            StoreFile::read(medium, path)?;
            let finding = Finding::new(Damage::Missing, Path::new(SEGMENTS), "holds no segment");
            survey.verification.findings.push(finding);
        }
        survey.store = files.store;
        let ours = |c: &&Checkpoint| Some(c.store) == files.store;
        let synced = witnesses.iter().chain(&closed).chain(&opened).filter(ours);
        let synced = synced.map(|c| c.position.synced).max().unwrap_or(0);
        let closed = closed.as_ref().filter(ours).filter(|_| still_closed);
        let closed = closed.map(|c| c.position.sequence);
        let (mut newer, mut why) = (0u64, String::new());
        let check = &mut |key: &[u8], facts: &[u8], body: &[u8]| match check(key, facts, body) {
            Err(error) if error.kind() == ErrorKind::UnsupportedVersion => {
                newer += 1;
                why = format!("{error:#}");
                Ok(())
            }
            other => other,
        };
        survey.walk(files, synced, closed, check, progress);
        if newer > 0 {
            let note = format!("whole, but not looked into: {newer} ({why})");
            survey.verification.notes.push(note);
        }
        survey.finish();
        Ok(survey)
    }

    fn read_store_file(&mut self, medium: &Medium, path: &Path) -> Result<()> {
        let damage = match StoreFile::read(medium, path) {
            Ok(file) => {
                self.store = file.id();
                self.file = Some(file);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::UnsupportedVersion => return Err(error),
            Err(error) if !path.join(SEGMENTS).is_dir() => return Err(error),
            Err(error) if error.kind() == ErrorKind::StoreNotFound => "is missing".to_owned(),
            Err(error) => format!("can't be read: {error:#}"),
        };
        let finding = Finding::new(Damage::StoreFile, Path::new(store_file::NAME), damage);
        self.verification.findings.push(finding);
        Ok(())
    }

    fn read_closed(&mut self, medium: &Medium, path: &Path) -> Result<Option<Checkpoint>> {
        let there = || Ok::<_, Error>(medium.read(&path.join(CLOSED))?.is_some());
        let closed = checkpoint::closed_at(medium, path);
        if let Ok(None) = &closed
            && there()?
            // A writer may just have closed the store.
            && checkpoint::closed_at(medium, path)?.is_none()
            && there()?
        {
            let what = "the file fails its checksum; opening for writing and closing makes it anew";
            let finding = Finding::new(Damage::Closed, Path::new(CLOSED), what);
            self.verification.findings.push(finding);
        }
        closed.or_else(|error| {
            let what = format!("can't be read: {error:#}");
            let finding = Finding::new(Damage::Closed, Path::new(CLOSED), what);
            self.verification.findings.push(finding);
            Ok(None)
        })
    }

    fn walk(
        &mut self,
        files: Files,
        synced: u64,
        closed: Option<u64>,
        check: &mut ItemCheck<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) {
        let total = files.found.iter().map(|found| found.size).sum();
        self.verification.findings.extend(files.findings);
        self.verification.notes.extend(files.notes);
        let (mut expected, mut done) = (1, 0);
        let mut placed: Option<Found> = None;
        let mut rest = files.found.into_iter().peekable();
        while let Some(found) = rest.next() {
            let header = found.segment.header;
            let (file, first) = (relative(found.segment.path()), header.first_sequence);
            let begin = done;
            done += found.size;
            if self.store != Some(header.store) {
                let finding = Finding::new(Damage::Misplaced, &file, "belongs to another store");
                self.verification.findings.push(finding);
                continue;
            }
            if first < expected {
                let supersedes = placed.as_ref().is_some_and(|placed| {
                    let by = &placed.segment.header;
                    by.compacted.is_some() && by.number > header.number
                });
                self.out_of_place(&file, first, supersedes);
                continue;
            }
            if first > expected
                && !files
                    .headless
                    .iter()
                    .any(|h| ends(h.footer.as_ref()) == Some(first - 1))
            {
                self.missing(expected, first - 1);
            }
            let next = rest
                .peek()
                .map(|next| next.segment.header.first_sequence - 1);
            let around = Surroundings {
                file: &file,
                ends: next.filter(|&next| next >= first),
                synced,
                closed,
            };
            let end = found
                .footer
                .as_ref()
                .map_or(found.size, |footer| footer.start);
            let swept = sweep(&found.segment, end, check, &mut |at| {
                progress(begin + at, total);
            });
            let judged = judge(&found, swept, &around);
            expected = judged.last_sequence + 1;
            self.verification.segments += 1;
            self.verification.bytes += found.size;
            self.take(judged);
            self.segments
                .insert(header.number, Arc::clone(&found.segment));
            placed = Some(found);
        }
        for headless in files.headless {
            expected = expected.max(ends(headless.footer.as_ref()).map_or(0, |last| last + 1));
            self.take_headless(headless);
        }
        if expected <= synced {
            self.missing(expected, synced);
        }
        progress(total, total);
    }

    fn out_of_place(&mut self, file: &Path, first: u64, superseded: bool) {
        if superseded {
            self.verification.notes.push(format!(
                "{} was compacted into another segment; opening for writing removes it",
                file.display()
            ));
            return;
        }
        let what = format!("begins at operation {first}, which another segment holds");
        let finding = Finding::new(Damage::Misplaced, file, what);
        self.verification.findings.push(finding);
    }

    fn missing(&mut self, from: u64, to: u64) {
        let what =
            "operations are in no segment that is here: a segment is lost or was cut".to_owned();
        let mut finding = Finding::new(Damage::Missing, Path::new(SEGMENTS), what);
        finding.unnamed = Some(from..=to);
        self.verification.findings.push(finding);
    }

    /// Takes over what one segment says, in the order of its operations.
    fn take(&mut self, judged: Judged) {
        let offset = self.verification.findings.len();
        let mut damaged: HashMap<u64, usize> = HashMap::new();
        for (at, finding) in judged.findings.iter().enumerate() {
            for affected in &finding.affected {
                damaged.insert(affected.operation, offset + at);
            }
        }
        self.verification.findings.extend(judged.findings);
        self.verification.notes.extend(judged.note);
        let mut news = Vec::with_capacity(judged.frames.len());
        for frame in judged.frames {
            let sound = matches!(frame.state, State::Whole | State::Item(_));
            self.verification.frames += u64::from(sound);
            let finding = damaged.get(&frame.sequence()).copied();
            news.push((frame.key, frame.latest, finding));
        }
        for (key, latest, finding) in judged.lost {
            self.headless.insert(key.clone(), latest.clone());
            news.push((key, latest, Some(offset + finding)));
        }
        news.sort_by_key(|(_, latest, _)| latest.location.sequence);
        for (key, latest, finding) in news {
            self.learn(key, &latest, finding);
        }
    }

    /// Takes over one operation.
    pub(in crate::backend::local) fn learn(
        &mut self,
        key: Vec<u8>,
        latest: &Latest,
        finding: Option<usize>,
    ) {
        let new = Newest {
            kind: latest.kind,
            location: latest.location,
            finding,
        };
        let before = self.newest.get(&key);
        if before.is_some_and(|before| before.location.sequence > new.location.sequence) {
            return;
        }
        match (before, new.kind, finding) {
            (Some(before), Kind::Put, Some(_)) => {
                if before.kind == Kind::Put && before.finding.is_none() {
                    self.older.insert(key.clone(), before.location);
                }
            }
            _ => drop(self.older.remove(&key)),
        }
        self.newest.insert(key, new);
    }

    /// A segment of which only the footer can be read, if that.
    fn take_headless(&mut self, headless: super::files::Headless) {
        let what = "the segment's header is damaged, and without it no frame can be checked";
        let finding = Finding::new(Damage::Header, &headless.file, what);
        let mut finding = finding.at(0..headless.size);
        let at = self.verification.findings.len();
        self.verification.segments += 1;
        self.verification.bytes += headless.size;
        let entries = headless
            .footer
            .into_iter()
            .flat_map(|f| f.entries_from(b""));
        for (key, latest) in entries.filter_map(Result::ok) {
            finding.affected.push(affected(&key, &latest));
            self.learn(key, &latest, Some(at));
        }
        self.verification.findings.push(finding);
    }

    /// Says of every operation in the findings what it means, now that all are known.
    fn finish(&mut self) {
        let Self {
            newest,
            verification,
            ..
        } = self;
        for affected in verification
            .findings
            .iter_mut()
            .flat_map(|f| &mut f.affected)
        {
            let latest = newest.get(&affected.key);
            let superseded = latest.is_some_and(|l| l.location.sequence > affected.operation);
            if superseded && affected.standing == Standing::Live {
                affected.standing = Standing::Superseded;
            }
        }
        let puts = newest.values().filter(|newest| newest.kind == Kind::Put);
        for put in puts {
            verification.records += 1;
            verification.damaged_records += u64::from(put.finding.is_some());
        }
    }
}

fn ends(footer: Option<&Arc<crate::backend::local::footer::Footer>>) -> Option<u64> {
    footer.map(|footer| footer.last_sequence)
}

/// The path of a file of the store, as findings name it.
pub(in crate::backend::local) fn file_of(location: &Location) -> PathBuf {
    relative(Path::new(&crate::backend::local::segment::file_name(
        location.segment,
    )))
}
