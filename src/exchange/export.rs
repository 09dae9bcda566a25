//! Each record as a latent file in a folder.
//!
//! Invariant: nothing is written outside the folder, whatever ids and links in it say; a file appears whole, or not at all.

use std::path::{Path, PathBuf};

use super::Exchanged;
use crate::archive::FILES;
use crate::database::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::latent_io::{LatentFormat, write_latent};
use crate::parallel::in_order;
use crate::record::{Record, RecordId};

impl Database {
    /// Writes the records whose ids begin with `prefix` as files of `format` below `folder`, which is made if it isn't
    /// there. `each` is told of every record, in the order of ids.
    ///
    /// The name of a record's file is its id, percent-encoded as in an archive, and the format's ending; a file of that
    /// name is replaced. Ids that differ by upper and lower case alone are one file where a file system knows no
    /// difference.
    ///
    /// # Errors
    /// What ends all: `Full`, a folder that can't be made, and what [`Store::entries`](crate::Store::entries) says.
    /// Failures of single records are told.
    pub fn export_files(
        &self,
        prefix: &str,
        format: LatentFormat,
        folder: &Path,
        each: &mut dyn FnMut(Exchanged),
    ) -> Result<()> {
        fs::create_dir_all(folder)?;
        let ids = self.store().entries(prefix);
        let ids = ids.map(|entry| Ok(entry?.header.id));
        let write = |id: Result<RecordId>| {
            let id = id?;
            let mut notes = Vec::new();
            let written = self.store().get(&id).and_then(|record| {
                notes.extend(left_out(&record, format));
                write_record(record, format, folder)
            });
            told(&id, written, notes)
        };
        in_order(ids, write, |results| {
            for result in results {
                each(result?);
            }
            Ok(())
        })
    }
}

/// What is told of a record; the error if no other could escape it.
pub(super) fn told(id: &RecordId, result: Result<()>, notes: Vec<String>) -> Result<Exchanged> {
    match result {
        Err(error) if error.kind() == ErrorKind::Full => Err(error),
        result => Ok(Exchanged {
            name: id.to_string(),
            result,
            notes,
        }),
    }
}

/// What of the record the format can't hold.
pub(super) fn left_out(record: &Record, format: LatentFormat) -> Option<String> {
    let lost = record.header.alpha && format == LatentFormat::Npy;
    lost.then(|| "the image's alpha is left out: npy holds values alone".into())
}

fn write_record(record: Record, format: LatentFormat, folder: &Path) -> Result<()> {
    let name = FILES.encode(&record.header.id);
    let bytes = write_latent(&record.into(), format)?;
    let file = format!("{name}.{}", format.name());
    let (folders, file) = file.rsplit_once('/').unwrap_or(("", &file));
    let path = make_folders(folder, folders)?.join(file);
    // Renamed over what is there, so that a link is replaced and not followed.
    fs::write_atomic(&path, &bytes)
}

/// Makes the folders `below` in `folder`, where they are missing. A link is none: it may lead anywhere.
fn make_folders(folder: &Path, below: &str) -> Result<PathBuf> {
    let mut path = folder.to_path_buf();
    for name in below.split('/').filter(|name| !name.is_empty()) {
        path.push(name);
        if !is_folder(&path)? {
            match std::fs::create_dir(&path) {
                // Another thread was faster, or what is there is none.
                Err(_) if is_folder(&path)? => {}
                Err(error) => return Err(Error::io("create the folder", &path, error)),
                Ok(()) => {}
            }
        }
    }
    Ok(path)
}

/// Whether a folder is there; an error if something else is.
fn is_folder(path: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(Error::invalid(format!(
            "{} is no folder, and a record's file belongs into it",
            path.display()
        ))),
        Err(_) => Ok(false),
    }
}
