//! From an input to an image that is ready to be encoded, or to the reason why it won't be.
//!
//! Invariant: a file is decoded only if its record is missing or to be replaced.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::input::{Input, Origin};
use super::{IngestOptions, Outcome};
use crate::database::{
    Below, CodingChoice, Database, Prepared, Promise, PutOptions, preparation, prepared_as,
    source_of,
};
use crate::error::{Error, ErrorKind, Result};
use crate::image_io::read_image;
use crate::record::{Coding, RecordHeader, RecordId, Source};

/// An image that is to be encoded.
pub(super) struct Ready<'a> {
    pub(super) id: RecordId,
    pub(super) image: Prepared,
    /// What was done to it, and is said of it.
    pub(super) options: Cow<'a, PutOptions>,
    /// Whether it replaces a stale record.
    pub(super) update: bool,
    pub(super) source_bytes: u64,
}

/// What reading an input came to.
pub(super) enum Read<'a> {
    Ready(Box<Ready<'a>>),
    Done {
        id: Option<RecordId>,
        outcome: Outcome,
        source_bytes: u64,
    },
}

/// What readers share.
pub(super) struct Reader<'a> {
    database: &'a Database,
    options: &'a IngestOptions,
    /// The ids of this run: half of the BLAKE3 of each, because a million ids would take ten times as much.
    taken: Mutex<HashSet<[u8; 16]>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(database: &'a Database, options: &'a IngestOptions) -> Self {
        Self {
            database,
            options,
            taken: Mutex::default(),
        }
    }

    /// Gives an input its id and keeps that from others, if it can be made without the file. Inputs come here in their
    /// order, so that of two with one id it is always the later that fails.
    pub(super) fn name(&self, input: &mut Input) -> Result<()> {
        if input.id.is_none() && self.options.id.needs_hash() {
            return Ok(());
        }
        let id = match input.id.take() {
            Some(id) => id,
            None => self.options.id.id(&input.path, None)?,
        };
        let free = self.take(&id);
        let shown = id.to_string();
        input.id = Some(id);
        if free {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("another input of this run has the id `{shown}`"),
        ))
    }

    /// Reads an input that was named.
    pub(super) fn read(&self, input: Input) -> Read<'a> {
        let mut source_bytes = 0;
        let mut id = input.id.clone();
        let outcome = match self.try_read(input, &mut id, &mut source_bytes) {
            Ok(Read::Ready(ready)) => return Read::Ready(ready),
            Ok(Read::Done { outcome, .. }) => outcome,
            Err(error) => Outcome::Failed(error),
        };
        Read::Done {
            id,
            outcome,
            source_bytes,
        }
    }

    fn try_read(
        &self,
        mut input: Input,
        told: &mut Option<RecordId>,
        source_bytes: &mut u64,
    ) -> Result<Read<'a>> {
        let origin = input.origin();
        let limit = self.options.put.limits.max_alloc_bytes;
        let bytes = input.read(self.database.store(), limit)?;
        *source_bytes = bytes.len() as u64;
        let name = file_name(&origin);
        let source = source_of(&bytes, &name);
        let done = |outcome| {
            Ok(Read::Done {
                id: None,
                outcome,
                source_bytes: 0,
            })
        };
        let id = if let Some(id) = told {
            id.clone()
        } else {
            let id = self.options.id.id(&input.path, Some(&source.blake3))?;
            *told = Some(id.clone());
            // The id has the file's hash in it: whoever has it too is the same file.
            if !self.take(&id) {
                return done(Outcome::Skipped);
            }
            id
        };
        let mut options = Cow::Borrowed(&self.options.put);
        let update = match self.database.store().header(&id) {
            Ok(entry) => {
                if input.again {
                    options = Cow::Owned(self.options_of(entry.header.clone())?);
                }
                match self.difference(&entry.header, &source, &options)? {
                    None => return done(Outcome::Skipped),
                    Some(_) if input.again || self.options.update => true,
                    Some(difference) => return done(Outcome::Stale(difference)),
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if self.options.dry_run {
            return done(if update {
                Outcome::Updated
            } else {
                Outcome::Stored
            });
        }
        let image = read_image(&bytes, &name, &options.limits)?;
        let file = options.promise.may_keep().then_some(bytes);
        Ok(Read::Ready(Box::new(Ready {
            id,
            image: Prepared::of_file(image, (Some(source), file), &options)?,
            options,
            update,
            source_bytes: *source_bytes,
        })))
    }

    /// Keeps `id` from other inputs; `false` if one has it.
    fn take(&self, id: &RecordId) -> bool {
        let hash = blake3::hash(id.as_bytes());
        let (halves, _) = hash.as_bytes().as_chunks::<16>();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(halves[0])
    }

    /// The options that made the record of `header`, but for the encoder.
    fn options_of(&self, header: RecordHeader) -> Result<PutOptions> {
        Ok(PutOptions {
            resize: prepared_as(&header)?,
            keep_position: header.exif.position.is_some(),
            promise: self.promise_of(&header),
            coding: match header.coding {
                // What nothing is written as any more.
                Coding::Planes => CodingChoice::default(),
                coding => CodingChoice::Of(coding),
            },
            tags: header.tags,
            ..self.options.put.clone()
        })
    }

    /// What was measured is measured again, and an original that is kept stays, however near the image comes back.
    fn promise_of(&self, header: &RecordHeader) -> Promise {
        let promise = self.options.put.promise;
        if header.original {
            return Promise {
                min_psnr: Some(f64::INFINITY),
                below: Below::KeepOriginal,
                ..promise
            };
        }
        Promise {
            measure: promise.measure || header.measured.is_some(),
            ..promise
        }
    }

    /// In what the record of `header` differs from what would be stored of `source`.
    fn difference(
        &self,
        header: &RecordHeader,
        source: &Source,
        options: &PutOptions,
    ) -> Result<Option<String>> {
        let wanted = self
            .database
            .hub()
            .model(self.database.encoder_of(options))?;
        let mut differences = Vec::new();
        if header.source.as_ref().map(|source| source.blake3) != Some(source.blake3) {
            differences.push("of another file".to_owned());
        }
        let by = |name: &str| format!("encoded by {name} and not by {}", wanted.name);
        match &header.encoder {
            None => differences.push(by("an unknown model")),
            Some(stamp) if stamp.fingerprint == wanted.encoder_fingerprint() => {}
            Some(stamp) if stamp.name == wanted.name => {
                differences.push(format!("encoded by another `{}`, {stamp}", wanted.name));
            }
            Some(stamp) => differences.push(by(&stamp.to_string())),
        }
        let prepared = preparation(options);
        if header.preparation != prepared {
            let shown = |text: &str| {
                if text.is_empty() {
                    "as it is".to_owned()
                } else {
                    text.to_owned()
                }
            };
            differences.push(format!(
                "prepared {} and not {}",
                shown(&header.preparation),
                shown(&prepared)
            ));
        }
        let promise = &options.promise;
        match &header.measured {
            None if promise.measures() => differences.push("not measured".to_owned()),
            Some(measured) if !header.original => {
                differences.extend(promise.broken_by(&measured.quality));
            }
            _ => {}
        }
        Ok((!differences.is_empty()).then(|| differences.join(", ")))
    }
}

fn file_name(origin: &Origin) -> String {
    let path = origin
        .member
        .as_ref()
        .map_or(origin.path.as_path(), |member| member.as_ref());
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
