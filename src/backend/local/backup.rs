//! A copy of a store, also of one that is written to and compacted meanwhile.
//!
//! Invariant: what is copied is one view of the log: files that compaction takes away stay readable
//! while they are open. `store.json` comes last, so a copy that was cut short is no store.

use std::path::Path;

use super::catalog::{Keys, Part};
use super::checkpoint;
use super::disk::{Access, Medium, MediumFile};
use super::segment;
use super::verify::survey::Survey;
use super::{LOCK, LocalBackend, SEGMENTS, Step, Verification};
use super::{read_store_file, read_view, store_file, take_lock};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;

/// Bytes copied at once.
const BLOCK: usize = 4 << 20;

/// What a backup did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Backup {
    /// Segments that were copied.
    pub segments: u64,
    /// Bytes that were copied.
    pub bytes: u64,
    /// What reading the copy again found.
    pub verification: Verification,
}

impl LocalBackend {
    /// Copies the store at `path` to `to`, which must not exist or be an empty folder; other
    /// processes may write to the store meanwhile. The copy holds every batch that was acknowledged
    /// when the call began, is on the medium when it returns, and was read again.
    ///
    /// Where the store is damaged and can be opened, so is the copy: `verification` says where.
    ///
    /// # Errors
    /// What [`open_read_only`](Self::open_read_only) says; `StoreExists` and `InvalidInput` if `to`
    /// isn't empty; `Full` and `Io`. Nothing stays at `to` then.
    pub fn backup(
        path: &Path,
        to: &Path,
        progress: &mut dyn FnMut(Step, u64, u64),
    ) -> Result<Backup> {
        let medium = Medium::system();
        let (_, id) = read_store_file(&medium, path)?;
        let file = medium.read(&path.join(store_file::NAME))?;
        let file = file.ok_or_else(|| Error::corrupted("store.json is gone"))?;
        let marks = [
            checkpoint::closed_at(&medium, path)?,
            checkpoint::opened_at(&medium, path)?,
        ];
        let view = read_view(&medium, path, id)?;
        refuse_inside(path, to)?;
        let made = check_empty(&medium, to)?;
        fs::create_dir_all(to)?;
        let lock = take_lock(&to.join(LOCK))?;
        let mut copy = || {
            let (mut segments, mut bytes) = (0, 0);
            let total = view.parts.iter().map(length).sum::<Result<u64>>()?;
            let folder = to.join(SEGMENTS);
            medium.create_dir(&folder)?;
            for (part, length) in view.parts.iter().map(|part| (part, length(part))) {
                let target = folder.join(segment::file_name(part.segment.number()));
                let target = medium.open(&target, Access::Create)?;
                let length = length?;
                let copied = &mut |done| progress(Step::Copying, bytes + done, total);
                copy_file(&part.segment.file, &target, length, copied)?;
                bytes += length;
                segments += 1;
            }
            medium.sync_dir(&folder)?;
            medium.write_atomic(&to.join(store_file::NAME), &file)?;
            Ok((segments, bytes))
        };
        let copied = copy();
        drop(lock);
        let (segments, bytes) = copied.inspect_err(|_| discard(to, made))?;
        let witnesses: Vec<_> = marks.into_iter().flatten().collect();
        let checked = &mut |done, total| progress(Step::Checking, done, total);
        let nothing = &mut |_: &[u8], _: &[u8], _: &[u8]| Ok(());
        let survey = Survey::of(&medium, to, &witnesses, nothing, checked)?;
        Ok(Backup {
            segments,
            bytes,
            verification: survey.verification,
        })
    }
}

/// Bytes of a segment that belong to the view.
fn length(part: &Part) -> Result<u64> {
    let scanned = matches!(part.keys, Keys::Scanned(_));
    if scanned && part.segment.header.compacted.is_none() {
        // The active segment may have grown since; behind one with a damaged footer nothing is lost.
        return Ok(part.end);
    }
    part.segment.file.len()
}

fn copy_file(
    from: &MediumFile,
    to: &MediumFile,
    length: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut buffer = vec![0; BLOCK.min(length as usize)];
    let mut done = 0;
    while done < length {
        let piece = buffer.len().min((length - done) as usize);
        from.read_at(&mut buffer[..piece], done)?;
        to.write_at(&buffer[..piece], done)?;
        done += piece as u64;
        progress(done);
    }
    to.sync()
}

/// Whether `to` has to be made; an error if something is there.
fn check_empty(medium: &Medium, to: &Path) -> Result<bool> {
    let shown = to.display();
    let names = match std::fs::symlink_metadata(to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(Error::io("look at", to, error)),
        Ok(_) if !to.is_dir() => {
            return Err(Error::invalid(format!(
                "{shown} is a file, and a backup is a folder"
            )));
        }
        Ok(_) => medium.names(to)?,
    };
    if names.is_empty() {
        return Ok(false);
    }
    if names.iter().any(|name| name == store_file::NAME) {
        return Err(Error::new(
            ErrorKind::StoreExists,
            format!("{shown} is a store already"),
        ));
    }
    if names.iter().all(|name| name == LOCK || name == SEGMENTS) {
        return Err(
            Error::invalid(format!("{shown} is what an interrupted backup left"))
                .with_hint("remove it, then make the backup again"),
        );
    }
    Err(Error::invalid(format!("{shown} isn't empty")))
}

/// Refuses a folder inside the store that is to be copied there.
pub(super) fn refuse_inside(path: &Path, to: &Path) -> Result<()> {
    let Ok(store) = path.canonicalize() else {
        return Ok(());
    };
    let mut above = to;
    // The nearest folder that is there.
    while !above.exists() && above != fs::parent_of(above) {
        above = fs::parent_of(above);
    }
    match above.canonicalize() {
        Ok(above) if above.starts_with(&store) => Err(Error::invalid(format!(
            "{} lies inside the store {}",
            to.display(),
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Takes away what a backup that failed has made; the first error is the one worth telling.
fn discard(to: &Path, made: bool) {
    let _ = std::fs::remove_dir_all(to.join(SEGMENTS));
    let _ = std::fs::remove_file(to.join(LOCK));
    if made {
        let _ = std::fs::remove_dir(to);
    }
}
