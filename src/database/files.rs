//! Many images out of a store, into a folder.
//!
//! Invariant: a file appears whole or not at all, and never outside of the folder.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use super::Database;
use crate::archive::IMAGES;
use crate::error::{Error, ErrorKind, Result};
use crate::image_io::{ImageFormat, WriteOptions, write_image};
use crate::model::Decoded;
use crate::record::RecordId;

/// Decoded images that wait to be written, for each thread that writes.
const WAITING: usize = 2;

/// How [`Database::get_files`] decodes and writes.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// The decoder's name; `None` for the model that encoded each record.
    pub decoder: Option<String>,
    /// The format of the files.
    pub format: ImageFormat,
    /// How they are written.
    pub write: WriteOptions,
}

impl Database {
    /// Decodes the records whose ids begin with `prefix` and writes each to a file in `folder`, which is made if it
    /// isn't there. Decoding and writing overlap.
    ///
    /// A file is called as its id, with folders where the id has `/`, and the ending of the format behind it if the id
    /// doesn't end so already; characters that file systems don't take are percent-encoded. Files of these names are
    /// replaced. `each` is told of every record, in no order: what is to be said of its image, or why there is no file.
    ///
    /// When `stop` becomes true no more records are begun.
    ///
    /// # Errors
    /// `ModelNotFound`, `RuntimeUnavailable`, `ProviderUnavailable`; `Full`; what [`Store::entries`](crate::Store::entries)
    /// says. All else concerns one record, and is told.
    pub fn get_files(
        &self,
        prefix: &str,
        folder: &Path,
        options: &FileOptions,
        stop: &AtomicBool,
        each: &mut dyn FnMut(&RecordId, &Result<Vec<String>>),
    ) -> Result<()> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let over = AtomicBool::new(false);
        let stopped = || stop.load(Ordering::Relaxed) || over.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            let (send_image, image) = sync_channel(WAITING * threads);
            let (tell, told) = sync_channel(WAITING * threads);
            let image = std::sync::Arc::new(Mutex::new(image));
            let names = std::sync::Arc::new(Mutex::new(HashSet::new()));
            for _ in 0..threads {
                let (image, names, tell) = (image.clone(), names.clone(), tell.clone());
                scope.spawn(move || {
                    loop {
                        let next = image.lock().ok().and_then(|image| image.recv().ok());
                        let Some((id, decoded)) = next else { return };
                        let written = write(folder, &id, decoded, options, &names);
                        if tell.send((id, written)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop((image, names));
            let decoding = scope.spawn(move || {
                for entry in self.store().entries(prefix) {
                    if stopped() {
                        break;
                    }
                    self.decode_next(entry?.header.id, options, &send_image, &tell)?;
                }
                Ok(())
            });
            for (id, written) in told {
                if let Err(error) = &written
                    && error.kind() == ErrorKind::Full
                {
                    over.store(true, Ordering::Relaxed);
                }
                each(&id, &written);
            }
            decoding.join().unwrap_or(Ok(()))
        })
    }

    /// Decodes the record `id` and hands it on; its failure is told, but for those that no record would escape.
    fn decode_next(
        &self,
        id: RecordId,
        options: &FileOptions,
        pass_on: &SyncSender<(RecordId, Decoded)>,
        tell: &SyncSender<(RecordId, Result<Vec<String>>)>,
    ) -> Result<()> {
        use ErrorKind::{ModelNotFound, NotFound, ProviderUnavailable, RuntimeUnavailable};
        match self.get(id.as_str(), options.decoder.as_deref()) {
            Ok(decoded) => drop(pass_on.send((id, decoded))),
            // Removed since it was listed.
            Err(error) if error.kind() == NotFound => {}
            Err(error) => match error.kind() {
                ModelNotFound | RuntimeUnavailable | ProviderUnavailable => return Err(error),
                _ => drop(tell.send((id, Err(error)))),
            },
        }
        Ok(())
    }
}

fn write(
    folder: &Path,
    id: &RecordId,
    decoded: Decoded,
    options: &FileOptions,
    names: &Mutex<HashSet<String>>,
) -> Result<Vec<String>> {
    let ending = options.format.ending();
    let mut name = IMAGES.encode(id);
    if !name.to_ascii_lowercase().ends_with(&ending) {
        name.push_str(&ending);
    }
    let free = names
        .lock()
        .is_ok_and(|mut names| names.insert(name.clone()));
    if !free {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("another record of this run is in {name}"),
        ));
    }
    let bytes = write_image(&decoded.pixels, options.format, &options.write)?;
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        crate::fs::create_dir_all(parent)?;
    }
    crate::fs::write_file(&path, &bytes)?;
    Ok(decoded.notes)
}
