//! Salvaging what is whole of a damaged store into a new one.
//!
//! Invariant: the damaged store isn't changed unless it is to be replaced, and then only renamed,
//! once the new one was read again. An item whose newest version is damaged is lost and said to be:
//! no older version takes its place. What was deleted stays deleted.

mod copy;
mod witness;

use std::ffi::OsString;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use super::backup::refuse_inside;
use super::disk::Medium;
use super::frame::Kind;
use super::lock::{take_lock, take_lock_if_there};
use super::tree::Tree;
use super::verify::survey::{Survey, file_of};
use super::{ItemCheck, LOCK, LocalBackend, Step, Verification};
use crate::error::{Error, Result};
use crate::fs;
use copy::Copied;

/// How [`LocalBackend::repair`] works.
#[derive(Debug, Clone, Default)]
pub struct RepairOptions {
    /// Where the repaired store goes, which must not exist; `None` for the store's own path with
    /// `.repaired` behind it.
    pub to: Option<PathBuf>,
    /// Whether the repaired store takes the place of the damaged one, which then gets `.damaged`
    /// behind its name.
    pub replace: bool,
}

/// What a repair did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Repair {
    /// Where the repaired store is.
    pub path: PathBuf,
    /// Where the damaged store was moved to, if it was replaced.
    pub damaged: Option<PathBuf>,
    /// Items in the repaired store.
    pub records: u64,
    /// Items that were lost, in the order of their keys.
    pub lost: Vec<Lost>,
    /// Operations that may have changed items nobody can name.
    pub unknown: Vec<Unknown>,
    /// What was found in the damaged store, what the index knew included.
    pub verification: Verification,
    /// What else is worth knowing, as sentences.
    pub notes: Vec<String>,
}

impl Repair {
    /// Whether something was lost, or may have been.
    pub fn lost_something(&self) -> bool {
        !self.lost.is_empty() || !self.unknown.is_empty()
    }
}

/// An item that was lost.
#[derive(Debug)]
#[non_exhaustive]
pub struct Lost {
    /// Its key.
    pub key: Vec<u8>,
    /// The operation that put it.
    pub operation: u64,
    /// What is wrong with it.
    pub why: String,
    /// The segment's file and the bytes in which an older version lies in the damaged store.
    pub older: Option<(PathBuf, Range<u64>)>,
}

/// Operations that can't be read and that nothing names.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unknown {
    /// Their numbers are among these.
    pub operations: RangeInclusive<u64>,
    /// The segment's file, or the folder `segments` where it is missing.
    pub file: PathBuf,
    /// The bytes they lie in, where the file is there.
    pub bytes: Option<Range<u64>>,
    /// How many items in the repaired store are older than they are, and so may be what they
    /// replaced or deleted.
    pub candidates: u64,
    /// The keys of these, if they are few.
    pub candidate_keys: Vec<Vec<u8>>,
}

/// More candidates than this aren't named.
const MOST_CANDIDATES: usize = 100;

impl LocalBackend {
    /// Makes a new store of all that is whole in the one at `path`, which may be damaged so that it
    /// can't be opened. No other process may write to it meanwhile.
    ///
    /// `check` is asked about every item, as by [`verify`](Self::verify); what it finds wrong is lost.
    /// While it works, it keeps everything in the folder `to` with `.partial` behind its name.
    ///
    /// # Errors
    /// What [`verify`](Self::verify) says; `Locked`; `InvalidInput` if something is in the way;
    /// `Full` and `Io`. Nothing stays then, and the store is as it was.
    pub fn repair(
        path: &Path,
        options: &RepairOptions,
        check: &mut ItemCheck<'_>,
        progress: &mut dyn FnMut(Step, u64, u64),
    ) -> Result<Repair> {
        let medium = Medium::system();
        let path = &real_path(path)?;
        let to = match &options.to {
            Some(to) => to.clone(),
            None => beside(path, ".repaired"),
        };
        let (partial, damaged) = (beside(&to, ".partial"), beside(path, ".damaged"));
        refuse_inside(path, &to)?;
        refuse_existing(&to, "")?;
        refuse_existing(&partial, "of a repair that was interrupted or is under way")?;
        if options.replace {
            refuse_existing(&damaged, "and the damaged store can't get its name")?;
        }
        // Without `replace` nothing is made in the damaged store.
        let lock = if options.replace {
            Some(take_lock(&path.join(LOCK))?)
        } else {
            take_lock_if_there(&path.join(LOCK))?
        };
        fs::create_dir_all(fs::parent_of(&to))?;
        medium.create_dir(&partial)?;
        let made = salvage(&medium, path, &partial, check, progress).and_then(|made| {
            medium.rename(&partial.join(STORE), &to)?;
            Ok(made)
        });
        // What is left is a copy of the index.
        let _ = std::fs::remove_dir_all(&partial);
        let mut repair = made?;
        repair.path.clone_from(&to);
        if options.replace {
            if cfg!(windows) {
                drop(lock);
            }
            medium.rename(path, &damaged)?;
            medium.rename(&to, path).inspect_err(|_| {
                // Better a damaged store under its name than none.
                let _ = medium.rename(&damaged, path);
            })?;
            repair.path.clone_from(path);
            repair.damaged = Some(damaged);
        }
        Ok(repair)
    }
}

/// The name of the new store while it is made.
const STORE: &str = "store";

/// Makes the new store in the folder `partial`.
fn salvage(
    medium: &Medium,
    path: &Path,
    partial: &Path,
    check: &mut ItemCheck<'_>,
    progress: &mut dyn FnMut(Step, u64, u64),
) -> Result<Repair> {
    let index = witness::open_copy(path, &partial.join("index"));
    let witnesses: Vec<_> = index.iter().filter_map(Tree::checkpoint).collect();
    let read = &mut |done, total| progress(Step::Reading, done, total);
    let mut survey = Survey::of(medium, path, &witnesses, check, read)?;
    let mut notes = Vec::new();
    if let Some(index) = &index {
        notes.extend(witness::ask(index, &mut survey)?);
    }
    drop(index);
    let properties = survey.file.as_ref().map(|file| file.properties.clone());
    if properties.is_none() {
        notes.push(
            "store.json can't be read: the repaired store has the usual default encoder".into(),
        );
    }
    let target = partial.join(STORE);
    let copied = copy::copy(medium, &survey, &target, properties, check, progress)?;
    let checked = &mut |done, total| progress(Step::Checking, done, total);
    let again = Survey::of(medium, &target, &[], check, checked)?;
    if !again.verification.is_sound() || again.verification.records != copied.records {
        let (found, wrote) = (again.verification.records, copied.records);
        let first = again.verification.findings.first();
        let first = first
            .map(|finding| format!("; {finding}"))
            .unwrap_or_default();
        return Err(Error::corrupted(format!(
            "the repaired store is damaged itself: {found} of {wrote} records are there{first}"
        )));
    }
    notes.extend(copied.notes.iter().cloned());
    Ok(Repair {
        path: target,
        damaged: None,
        records: copied.records,
        lost: lost(&survey, &copied),
        unknown: unknown(&survey, &copied),
        verification: survey.verification,
        notes,
    })
}

fn lost(survey: &Survey, copied: &Copied) -> Vec<Lost> {
    let mut lost: Vec<_> = copied
        .lost
        .iter()
        .map(|(key, why)| Lost {
            operation: survey.newest[key].location.sequence,
            why: why.clone(),
            older: survey.older.get(key).map(|older| {
                let range = older.offset..older.offset + older.frame_len;
                (file_of(older), range)
            }),
            key: key.clone(),
        })
        .collect();
    lost.sort_by(|a, b| a.key.cmp(&b.key));
    lost
}

fn unknown(survey: &Survey, copied: &Copied) -> Vec<Unknown> {
    let findings = survey.verification.findings.iter();
    let unnamed = findings.filter_map(|finding| Some((finding, finding.unnamed.clone()?)));
    let unknown = unnamed.map(|(finding, operations)| {
        let older = survey.newest.iter().filter(|(key, newest)| {
            newest.kind == Kind::Put
                && newest.location.sequence < *operations.end()
                && !copied.lost.contains_key(*key)
        });
        let candidates = older.clone().count() as u64;
        let mut keys: Vec<_> = older.map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys.truncate(if keys.len() > MOST_CANDIDATES {
            0
        } else {
            keys.len()
        });
        Unknown {
            operations,
            file: finding.file.clone(),
            bytes: finding.bytes.clone(),
            candidates,
            candidate_keys: keys,
        }
    });
    unknown.collect()
}

/// A path with a name of its own, links followed.
fn real_path(path: &Path) -> Result<PathBuf> {
    let link = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
    if link || path.file_name().is_none() {
        let real = path.canonicalize();
        return real.map_err(|e| Error::io("look at", path, e));
    }
    Ok(path.to_path_buf())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(ending);
    path.with_file_name(name)
}

fn refuse_existing(path: &Path, why: &str) -> Result<()> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    let shown = path.display();
    let message = match why {
        "" => format!("{shown} exists already"),
        why if why.starts_with("of") => format!("{shown} is there: it is {why}"),
        why => format!("{shown} exists already, {why}"),
    };
    Err(Error::invalid(message).with_hint("move it away or remove it first"))
}
