//! Each record's image as a file in a folder.
//!
//! Invariant: a file appears whole or not at all, and never outside of the folder.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Exchanged;
use super::export::told;
use crate::archive::IMAGES;
use crate::database::{self, Database, DecodeOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::image_io::{ImageFormat, WriteOptions, write_image};
use crate::parallel::in_order;
use crate::record::RecordId;

/// How [`Database::export_images`] decodes and writes.
#[derive(Debug, Clone)]
pub struct ImageExport {
    /// How records are decoded.
    pub decode: DecodeOptions,
    /// The format of the files.
    pub format: ImageFormat,
    /// How they are written.
    pub write: WriteOptions,
}

/// An image that is to become a file.
struct Image {
    id: RecordId,
    decoded: Result<database::Image>,
}

impl Database {
    /// Decodes the records whose ids begin with `prefix` and writes each to a file in `folder`, which is made if it
    /// isn't there. Decoding and writing overlap.
    ///
    /// A file is called as its id, with folders where the id has `/`, and the ending of the format behind it if the id
    /// doesn't end so already; characters that file systems don't take are percent-encoded. Files of these names are
    /// replaced; of two records of one name, such as `a` and `a.png`, the second fails. `each` is told of every record,
    /// in the order of ids.
    ///
    /// When `stop` becomes true no more records are begun.
    ///
    /// # Errors
    /// What ends all: `ModelNotFound`, `RuntimeUnavailable`, `ProviderUnavailable`, `Full`, and what
    /// [`Store::entries`](crate::Store::entries) says. Failures of single records are told.
    pub fn export_images(
        &self,
        prefix: &str,
        folder: &Path,
        options: &ImageExport,
        stop: &AtomicBool,
        each: &mut dyn FnMut(Exchanged),
    ) -> Result<()> {
        let entries = self.store().entries(prefix);
        let entries = entries.take_while(|_| !stop.load(Ordering::Relaxed));
        // One after another: a model uses all cores by itself.
        let images = entries.filter_map(|entry| match entry {
            Ok(entry) => self.image(entry.header.id, prefix, options).transpose(),
            Err(error) => Some(Err(error)),
        });
        let write = |image: Result<Image>| {
            let Image { id, decoded } = image?;
            let mut notes = Vec::new();
            let written = decoded.and_then(|decoded| {
                write_file(
                    &folder.join(file_name(&id, options.format)),
                    &decoded,
                    options,
                )?;
                notes = decoded.notes;
                Ok(())
            });
            told(&id, written, notes)
        };
        in_order(images, write, |results| {
            for result in results {
                each(result?);
            }
            Ok(())
        })
    }

    /// Decodes the record `id`; `None` if it was removed since it was listed. An error is one that no record would
    /// escape.
    fn image(&self, id: RecordId, prefix: &str, options: &ImageExport) -> Result<Option<Image>> {
        use ErrorKind::{ModelNotFound, NotFound, ProviderUnavailable, RuntimeUnavailable};
        let decoded = match self.before(&id, prefix, options.format)? {
            None => {
                let record = self.store().get(&id);
                record.and_then(|record| self.decode(&record, &options.decode))
            }
            Some(other) => Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("its file would have the same name as that of `{other}`"),
            )),
        };
        match decoded.as_ref().err().map(Error::kind) {
            Some(NotFound) => Ok(None),
            Some(ModelNotFound | RuntimeUnavailable | ProviderUnavailable) => decoded.map(|_| None),
            _ => Ok(Some(Image { id, decoded })),
        }
    }

    /// The record whose file has the name of that of `id`: the one whose id lacks the ending.
    fn before(&self, id: &RecordId, prefix: &str, format: ImageFormat) -> Result<Option<RecordId>> {
        let stem = id.as_str().strip_suffix(&format.ending());
        let other = stem.filter(|stem| stem.starts_with(prefix));
        let other = other.and_then(|stem| RecordId::new(stem).ok());
        let other = other.filter(|other| file_name(other, format) == file_name(id, format));
        match other {
            Some(other) if self.store().contains(&other)? => Ok(Some(other)),
            _ => Ok(None),
        }
    }
}

fn file_name(id: &RecordId, format: ImageFormat) -> String {
    let ending = format.ending();
    let mut name = IMAGES.encode(id);
    if !name.to_ascii_lowercase().ends_with(&ending) {
        name.push_str(&ending);
    }
    name
}

fn write_file(path: &Path, decoded: &database::Image, options: &ImageExport) -> Result<()> {
    let bytes = write_image(&decoded.pixels, options.format, &options.write)?;
    if let Some(parent) = path.parent() {
        crate::fs::create_dir_all(parent)?;
    }
    crate::fs::write_file(path, &bytes)
}
