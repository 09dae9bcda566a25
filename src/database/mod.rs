//! Images by id: a store of records together with the models that make and read them.
//!
//! Invariant: an image is acknowledged only once its record is durable, and comes back at exactly
//! the size it went in.

mod coding;
mod decode;
mod prepare;
mod promise;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::backend::{LocalBackend, Mode, OpenOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::image_io::{Limits, ReadImage, Resize, read_image};
use crate::latent::Latent;
use crate::model::{Encoded, Hub};
use crate::pixels::Pixels;
use crate::record::{Coding, EncoderStamp, Record, RecordHeader, RecordId, Source, Tags};
use crate::store::{Entry, Store};

pub use coding::CodingChoice;
pub use decode::{DecodeOptions, Image};
pub use prepare::source_of;
pub(crate) use prepare::{Prepared, original_of, preparation, prepared_as};
pub use promise::{Below, Promise};

/// The property of a store that names its default encoder.
const ENCODER_PROPERTY: &str = "encoder";

/// The encoder of a store that names none.
pub const DEFAULT_ENCODER: &str = "tiny";

/// How [`Database::put`] and its kin work.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// The encoder's name; `None` for the store's default.
    pub encoder: Option<String>,
    /// Whether a record of this id may be replaced.
    pub replace: bool,
    /// What to do to the image first.
    pub resize: Option<Resize>,
    /// What an image file may cost to read.
    pub limits: Limits,
    /// What to say of the image.
    pub tags: Tags,
    /// Whether to keep the place where the picture was taken, if its file says it. It isn't kept unless told, because
    /// it may be somebody's home.
    pub keep_position: bool,
    /// How its latent is kept.
    pub coding: CodingChoice,
    /// How near the image must come back.
    pub promise: Promise,
}

/// A latent that was made elsewhere, and what must be known of it.
#[derive(Debug, Clone)]
pub struct ForeignLatent {
    /// The posterior mean, unscaled.
    pub latent: Latent,
    /// Which decoders may read it: the name in a model's manifest, such as `tiny-2`.
    pub latent_space: String,
    /// Name of the model that made it, where that is known.
    pub encoder: Option<String>,
    /// Width of the image in pixels.
    pub width: u32,
    /// Height of the image in pixels.
    pub height: u32,
    /// The file it came from.
    pub source: Option<Source>,
    /// The image's alpha, a byte a pixel, rows from the top.
    pub alpha: Option<Vec<u8>>,
    /// What to say of the image.
    pub tags: Tags,
    /// How it is kept.
    pub coding: Coding,
}

impl ForeignLatent {
    /// A latent of an image of `size` (width and height in pixels), of which nothing else is known.
    pub fn new(latent: Latent, latent_space: &str, size: (u32, u32)) -> Self {
        Self {
            latent,
            latent_space: latent_space.to_owned(),
            encoder: None,
            width: size.0,
            height: size.1,
            source: None,
            alpha: None,
            tags: Tags::default(),
            coding: Coding::default(),
        }
    }
}

/// What a put did.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The record's header and the bytes it takes.
    pub entry: Entry,
    /// What of the image was not kept, as sentences for people: further frames, an unreadable colour profile.
    pub notes: Vec<String>,
}

/// Images by id. See the crate's documentation for an example.
pub struct Database {
    store: Store,
    hub: Arc<Hub>,
    encoder: String,
    recovered: Option<String>,
}

impl Database {
    /// Makes an empty database in the folder `path`, whose default encoder is `encoder`, and opens
    /// it.
    ///
    /// # Errors
    /// As [`LocalBackend::create`]; `ModelNotFound` if there is no such encoder.
    pub fn create(path: impl AsRef<Path>, encoder: &str) -> Result<Self> {
        Self::create_with_hub(path, encoder, Arc::new(Hub::from_env()))
    }

    /// As [`create`](Self::create), with the models of `hub`.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_with_hub(path: impl AsRef<Path>, encoder: &str, hub: Arc<Hub>) -> Result<Self> {
        hub.encoder(encoder)?;
        Self::make(path.as_ref(), encoder)?;
        Ok(Self::open(path)?.with_hub(hub))
    }

    fn make(path: &Path, encoder: &str) -> Result<()> {
        let properties = [(ENCODER_PROPERTY.to_owned(), encoder.to_owned())];
        LocalBackend::create_with(path, properties.into())
    }

    /// Opens the database in the folder `path` for reading and writing.
    ///
    /// # Errors
    /// As [`LocalBackend::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &OpenOptions::default())
    }

    /// As [`open`](Self::open), with `options`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        Ok(Self::of(LocalBackend::open_with(path.as_ref(), options)?))
    }

    /// Opens the database in the folder `path`, made first if nothing is there.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_or_create_with(path, &OpenOptions::default())
    }

    /// As [`open_or_create`](Self::open_or_create), with `options`.
    ///
    /// # Errors
    /// As [`open_or_create`](Self::open_or_create).
    pub fn open_or_create_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        match Self::open_with(&path, options) {
            Err(error) if error.kind() == ErrorKind::StoreNotFound && !path.as_ref().is_file() => {
                match Self::make(path.as_ref(), DEFAULT_ENCODER) {
                    // Another process may have been faster.
                    Err(error) if error.kind() != ErrorKind::StoreExists => Err(error),
                    _ => Self::open_with(path, options),
                }
            }
            other => other,
        }
    }

    /// Opens the database in the folder `path` for reading, also while another process writes.
    /// What is written later is seen after [`Store::refresh`].
    ///
    /// # Errors
    /// As [`LocalBackend::open_read_only`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::of(LocalBackend::open_read_only(path.as_ref())?))
    }

    fn of(backend: LocalBackend) -> Self {
        let recovered = backend.recovered().map(str::to_owned);
        Self {
            recovered,
            ..Self::over(Store::new(backend))
        }
    }

    /// A database over any store.
    pub fn over(store: Store) -> Self {
        let encoder = store.property(ENCODER_PROPERTY);
        Self {
            store,
            hub: Arc::new(Hub::from_env()),
            encoder: encoder.unwrap_or_else(|| DEFAULT_ENCODER.into()),
            recovered: None,
        }
    }

    /// The same database, with the models of `hub`.
    #[must_use]
    pub fn with_hub(mut self, hub: Arc<Hub>) -> Self {
        self.hub = hub;
        self
    }

    /// The records by themselves.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The models.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The name of the encoder that puts use unless told otherwise.
    pub fn default_encoder(&self) -> &str {
        &self.encoder
    }

    /// What opening had to put in order after a crash, as a sentence for people.
    pub fn recovered(&self) -> Option<&str> {
        self.recovered.as_deref()
    }

    /// Encodes `pixels` and keeps them under `id`. When it returns, the record is durable.
    ///
    /// # Errors
    /// `InvalidInput` for a bad id; `AlreadyExists` unless `options.replace`; `BelowPromise` if the image would come back
    /// worse than `options.promise` allows; what [`Hub::encode`] and [`Store::put`] say.
    pub fn put(&self, id: &str, pixels: &Pixels, options: &PutOptions) -> Result<Stored> {
        let id = self.check_id(id, options)?;
        let pixels = Prepared::of(Cow::Borrowed(pixels), options)?;
        self.put_prepared(id, pixels, options)
    }

    /// Reads the image file at `path`, encodes it and keeps it under `id`.
    ///
    /// # Errors
    /// `Io` if the file can't be read; as [`put_bytes`](Self::put_bytes).
    pub fn put_file(
        &self,
        id: &str,
        path: impl AsRef<Path>,
        options: &PutOptions,
    ) -> Result<Stored> {
        let path = path.as_ref();
        // What is refused anyway is refused before the file is read.
        self.check_id(id, options)?;
        let bytes = crate::fs::read_file(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.put_bytes(id, &bytes, &name, options)
    }

    /// Encodes the image file in `bytes`, which is called `name`, and keeps it under `id`.
    ///
    /// # Errors
    /// `UnsupportedImage` and `LimitExceeded` if the file can't be read as an image; as
    /// [`put`](Self::put).
    pub fn put_bytes(
        &self,
        id: &str,
        bytes: &[u8],
        name: &str,
        options: &PutOptions,
    ) -> Result<Stored> {
        self.check_id(id, options)?;
        let image = read_image(bytes, name, &options.limits)?;
        self.put_read(id, image, (bytes, name), options)
    }

    /// Encodes an image that was read from a file, given by its bytes and its name, and keeps it under `id`.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_read(
        &self,
        id: &str,
        image: ReadImage,
        (bytes, name): (&[u8], &str),
        options: &PutOptions,
    ) -> Result<Stored> {
        let id = self.check_id(id, options)?;
        let file = options.promise.may_keep().then(|| bytes.to_vec());
        let source = Some(source_of(bytes, name));
        let image = Prepared::of_file(image, (source, file), options)?;
        self.put_prepared(id, image, options)
    }

    /// Keeps a latent that was made elsewhere under `id`. No model is needed.
    ///
    /// # Errors
    /// `InvalidInput` for a bad id or latent space; `ModelMismatch` if a known model of the latent
    /// space would have made another shape; `AlreadyExists` unless `replace`; as [`Store::put`].
    pub fn put_latent(&self, id: &str, latent: ForeignLatent, replace: bool) -> Result<Stored> {
        let record = self.foreign_record(RecordId::new(id)?, latent)?;
        self.keep(record, replace, Vec::new())
    }

    /// The record of a latent that was made elsewhere.
    pub(crate) fn foreign_record(&self, id: RecordId, latent: ForeignLatent) -> Result<Record> {
        let size = (latent.width, latent.height);
        self.hub
            .check_shape(latent.latent.shape(), &latent.latent_space, size)?;
        let shape = latent.latent.shape();
        let header = RecordHeader {
            alpha: latent.alpha.is_some(),
            encoder: latent.encoder.map(|name| EncoderStamp {
                name,
                fingerprint: None,
                computed: String::new(),
            }),
            source: latent.source,
            tags: latent.tags,
            created_ms: now_ms(),
            ..RecordHeader::new(id, size, shape, &latent.latent_space)
        };
        let mut record = Record {
            header,
            latent: latent.latent,
            alpha: latent.alpha,
            original: None,
        };
        record.recode(latent.coding)?;
        Ok(record)
    }

    /// Removes the record `id`, durably.
    ///
    /// # Errors
    /// `NotFound`; what [`Store::remove`] says.
    pub fn remove(&self, id: &str) -> Result<()> {
        self.store.remove(&[RecordId::new(id)?])
    }

    fn put_prepared(&self, id: RecordId, image: Prepared, options: &PutOptions) -> Result<Stored> {
        let encoded = self.hub.encode(self.encoder_of(options), &image.colors)?;
        let (record, notes) = self.record(id, image, encoded, options)?;
        self.keep(record, options.replace, notes)
    }

    /// The record of an image that was encoded, and what to tell of it.
    pub(crate) fn record(
        &self,
        id: RecordId,
        image: Prepared,
        encoded: Encoded,
        options: &PutOptions,
    ) -> Result<(Record, Vec<String>)> {
        let spec = self.hub.model(self.encoder_of(options))?;
        let mut notes = image.notes;
        notes.extend(encoded.notes.iter().cloned());
        let size = (image.colors.width(), image.colors.height());
        let header = RecordHeader {
            alpha: image.alpha.is_some(),
            encoder: Some(EncoderStamp {
                name: spec.name.clone(),
                fingerprint: spec.encoder_fingerprint(),
                computed: encoded.computed(),
            }),
            source: image.source,
            preparation: preparation(options),
            tiling: encoded.tiling,
            exif: image.exif,
            tags: options.tags.clone(),
            created_ms: now_ms(),
            ..RecordHeader::new(id, size, encoded.latent.shape(), &spec.latent_space)
        };
        let mut record = Record {
            header,
            latent: encoded.latent,
            alpha: image.alpha,
            original: None,
        };
        if !options.promise.measures() && !options.coding.measures() {
            self.bring_to(options.coding, &mut record, None)?;
            return Ok((record, notes));
        }
        let original = match &record.alpha {
            Some(alpha) => image.colors.with_alpha(alpha.clone())?,
            None => image.colors,
        };
        self.bring_to(options.coding, &mut record, Some(&original))?;
        if options.promise.measures() {
            notes.extend(self.hold(&options.promise, &mut record, &original, image.file)?);
        }
        Ok((record, notes))
    }

    /// The name of the encoder that puts with `options` use.
    pub(crate) fn encoder_of<'a>(&'a self, options: &'a PutOptions) -> &'a str {
        options.encoder.as_deref().unwrap_or(&self.encoder)
    }

    /// Refuses a bad id, and one that is taken, before any work is done for it.
    fn check_id(&self, id: &str, options: &PutOptions) -> Result<RecordId> {
        let id = RecordId::new(id)?;
        if !options.replace && self.store.contains(&id)? {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("`{id}` exists already"),
            ));
        }
        Ok(id)
    }

    fn keep(&self, record: Record, replace: bool, notes: Vec<String>) -> Result<Stored> {
        let mode = if replace { Mode::Replace } else { Mode::Create };
        self.store.put(std::slice::from_ref(&record), mode)?;
        let stored_bytes = self.store.stored_bytes(&record.header.id)?;
        let entry = Entry {
            // Another thread may have removed it since.
            stored_bytes: stored_bytes.unwrap_or_default(),
            header: record.header,
        };
        Ok(Stored { entry, notes })
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| d.as_millis() as u64)
}
