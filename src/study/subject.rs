//! What is compared: an image file, or a record with its original.
//!
//! Invariant: an original has the size that its record says, prepared as it was for the encoder.

use std::path::{Path, PathBuf};

use super::StudyOptions;
use crate::database::{Database, DecodeOptions, Prepared, PutOptions, original_of, source_of};
use crate::error::{Error, Result};
use crate::fs::read_file;
use crate::image_io::{Limits, read_image};
use crate::pixels::Pixels;
use crate::record::{Record, RecordHeader, RecordId};
use crate::store::Store;

/// One image to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A file, which is encoded as a put does it, and kept nowhere.
    File(PathBuf),
    /// A record.
    Record {
        /// Its id.
        id: RecordId,
        /// The file it was made of; `None` for the original that the record keeps.
        original: Option<PathBuf>,
    },
}

/// A latent, and what it is held against.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) original: Pixels,
    pub(super) record: Record,
    pub(super) stored_bytes: u64,
    pub(super) notes: Vec<String>,
}

pub(super) fn find(
    database: &Database,
    options: &StudyOptions,
    subject: &Subject,
) -> Result<Found> {
    match subject {
        Subject::File(path) => of_file(database, options, path),
        Subject::Record { id, original } => of_record(database, options, id, original.as_deref()),
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// Encodes a file as a put under its own name would.
pub(super) fn of_file(database: &Database, options: &StudyOptions, path: &Path) -> Result<Found> {
    let (name, bytes) = (name_of(path), read_file(path)?);
    let image = read_image(&bytes, &name, &options.limits)?;
    let original = image.pixels.clone();
    let put = PutOptions {
        encoder: options.encoder.clone(),
        coding: options.coding,
        ..PutOptions::default()
    };
    let source = Some(source_of(&bytes, &name));
    let prepared = Prepared::of_file(image, (source, None), &put)?;
    let model = database.encoder_of(&put);
    let encoded = database.hub().encode(model, &prepared.colors)?;
    // A file's name may hold what an id may not.
    let id = RecordId::new(name.replace(char::is_control, "_"))?;
    let (record, notes) = database.record(id, prepared, encoded, &put)?;
    Ok(Found {
        name,
        original,
        stored_bytes: Store::bytes_of(&record)?,
        record,
        notes,
    })
}

fn of_record(
    database: &Database,
    options: &StudyOptions,
    id: &RecordId,
    original: Option<&Path>,
) -> Result<Found> {
    let mut record = database.store().get(id)?;
    let mut notes = Vec::new();
    let original = match original {
        Some(path) => given(&record.header, path, &options.limits, &mut notes)?,
        None if record.original.is_some() => kept(database, &record, &options.limits)?,
        None => {
            let what = format!("`{id}` has no original to be compared with");
            return Err(Error::invalid(what).with_hint("name its file with --original"));
        }
    };
    let stored_bytes = match record.original.take() {
        Some(file) => {
            record.header.original = false;
            let bytes = file.len();
            notes.push(format!(
                "the original that `{id}` keeps, {bytes} bytes, isn't counted"
            ));
            Store::bytes_of(&record)?
        }
        // Another process may have removed it since.
        None => database.store().stored_bytes(id)?.unwrap_or_default(),
    };
    Ok(Found {
        name: id.to_string(),
        original,
        stored_bytes,
        record,
        notes,
    })
}

/// The original that a record keeps.
pub(super) fn kept(database: &Database, record: &Record, limits: &Limits) -> Result<Pixels> {
    let options = DecodeOptions {
        limits: *limits,
        ..DecodeOptions::default()
    };
    Ok(database.decode(record, &options)?.pixels)
}

/// The original in a file.
fn given(
    header: &RecordHeader,
    path: &Path,
    limits: &Limits,
    notes: &mut Vec<String>,
) -> Result<Pixels> {
    let (name, bytes) = (name_of(path), read_file(path)?);
    let image = read_image(&bytes, &name, limits)?;
    notes.extend(image.notes.iter().map(ToString::to_string));
    let pixels = original_of(header, image.pixels, &name)?;
    let source = header.source.as_ref();
    if source.is_some_and(|source| source.blake3 != source_of(&bytes, &name).blake3) {
        notes.push(format!(
            "{name} isn't the very file that `{}` was made of: their bytes differ",
            header.id
        ));
    }
    Ok(pixels)
}
