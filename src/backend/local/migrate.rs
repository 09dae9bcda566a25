//! Older formats, step by step to the present one.
//!
//! Invariant: each step ends with one atomic write of `store.json`, so a store has one format at any
//! time and a migration that was cut short goes on where it stood. The steps lie in `migrations/`.

use std::path::Path;

use super::checkpoint::check_log_reaches;
use super::disk::Medium;
use super::segment::StoreId;
use super::store_file::{FORMAT, StoreFile};
use super::view::View;
use super::{INDEX, LOCK, LocalBackend, SEGMENTS, catalog, segment, take_lock, tree};
use crate::error::{Error, ErrorKind, Result};

#[path = "../../../migrations/0001_gaps.rs"]
mod gaps;

/// One step from a format to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// The format it starts from.
    pub from: u32,
    /// The format it leads to.
    pub to: u32,
    /// What it does, as a sentence for people.
    pub what: &'static str,
}

type Run = fn(&Medium, &Path, StoreId) -> Result<()>;

/// All steps, oldest first.
const STEPS: [(Migration, Run); 1] = [(
    Migration {
        from: 1,
        to: 2,
        what: "allows compaction: store.json gets the new number, nothing else changes; the old one \
               is kept as store.format-1.json and undoes the step until something is compacted",
    },
    gaps::run,
)];

impl LocalBackend {
    /// The steps that [`migrate`](Self::migrate) would take; none if the store has the present format.
    ///
    /// # Errors
    /// `StoreNotFound`; `UnsupportedVersion` if a newer program wrote the store; `Corrupted`; `Io`.
    pub fn migrations(path: &Path) -> Result<Vec<Migration>> {
        let format = StoreFile::format(&Medium::system(), path)?;
        Ok(steps(format).map(|(step, _)| step).collect())
    }

    /// Brings the store at `path` to the present format, one step after the other; `done` gets each
    /// when it is durable. Cut short at any point, it can be called again.
    ///
    /// # Errors
    /// As [`migrations`](Self::migrations); `Locked` if a process writes to the store; `Full`.
    pub fn migrate(path: &Path, done: &mut dyn FnMut(&Migration)) -> Result<()> {
        let medium = Medium::system();
        let format = StoreFile::format(&medium, path)?;
        if format == FORMAT {
            return Ok(());
        }
        let _lock = take_lock(&path.join(LOCK))?;
        // Another process may have been at it until now.
        let format = StoreFile::format(&medium, path)?;
        for (step, run) in steps(format) {
            let store = StoreFile::any_format(&medium, path)?.id();
            let store = store.ok_or_else(|| {
                Error::corrupted(format!("{}: store.json has no valid id", path.display()))
            })?;
            run(&medium, path, store).map_err(|error| {
                let message = format!(
                    "{} stays at format {}: the step to {} can't be made",
                    path.display(),
                    step.from,
                    step.to
                );
                let kind = match error.kind() {
                    ErrorKind::Locked => ErrorKind::Io,
                    kind => kind,
                };
                Error::new(kind, message).with_source(error)
            })?;
            done(&step);
        }
        Ok(())
    }
}

fn steps(format: u32) -> impl Iterator<Item = (Migration, Run)> {
    STEPS
        .into_iter()
        .filter(move |(step, _)| step.from >= format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_lead_from_the_first_format_to_the_present_one_without_a_gap() {
        let mut format = 1;
        for (step, _) in STEPS {
            assert_eq!((step.from, step.to), (format, format + 1));
            format = step.to;
        }
        assert_eq!(format, FORMAT);
    }
}
