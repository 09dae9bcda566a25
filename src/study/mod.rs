//! Images beside what comes back of them: by each decoder, and by the codecs of image files at as many bytes.
//!
//! Invariant: nothing is written to any store; every number is of the pixels beside it, measured against the original.

mod codec;
mod codings;
mod subject;
mod summary;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::database::{CodingChoice, Database, DecodeOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::half::f16;
use crate::image_io::{ImageFormat, Limits};
use crate::latent::{Latent, LatentShape};
use crate::metrics::measure;
use crate::pixels::Pixels;
use crate::quality::Quality;
use crate::record::Record;
pub use codings::{CodingFigures, Sample};
pub use subject::Subject;
pub use summary::{Summarized, Summary};

/// The codecs that images are compared with, in this order.
const CODECS: [ImageFormat; 3] = [ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Avif];

/// How a [`Study`] compares.
#[derive(Debug, Clone, Default)]
pub struct StudyOptions {
    /// The decoders' names; empty for all of the latent space, the record's own first.
    pub decoders: Vec<String>,
    /// The encoder of files; `None` for the database's default.
    pub encoder: Option<String>,
    /// Steps of decoders that sample; `None` for two.
    pub steps: Option<u32>,
    /// The seed of decoders that sample; `None` for the record's id.
    pub seed: Option<String>,
    /// What an image file may cost to read.
    pub limits: Limits,
    /// How the latents of files are kept.
    pub coding: CodingChoice,
}

/// One image, and all that is held against it.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The record's id, or the file's name.
    pub name: String,
    /// What went into the encoder, with the alpha that was kept beside the latent.
    pub original: Pixels,
    /// The name of the model that made the latent, where that is known.
    pub encoder: Option<String>,
    /// Which decoders may read the latent.
    pub latent_space: String,
    /// Bytes that the record takes in a store, without an original that is kept beside its latent.
    pub stored_bytes: u64,
    /// The decoders, then the codecs.
    pub contenders: Vec<Contender>,
    /// What a person should know of it, as sentences.
    pub notes: Vec<String>,
}

impl Compared {
    /// 8 x `bytes` / (width x height).
    pub fn bits_per_pixel(&self, bytes: u64) -> f64 {
        let pixels = f64::from(self.original.width()) * f64::from(self.original.height());
        8.0 * bytes as f64 / pixels
    }
}

/// What came back of an image in one way.
#[derive(Debug, Clone)]
pub struct Contender {
    /// The decoder's name, or the codec's as [`ImageFormat`] prints it.
    pub name: String,
    /// Which of the two it is.
    pub kind: Kind,
    /// Bytes that the image came back from: the record's as a store counts them, or the file's.
    pub bytes: u64,
    /// 8 x bytes / (width x height).
    pub bits_per_pixel: f64,
    /// The image that came back.
    pub pixels: Pixels,
    /// How near it is to the original.
    pub quality: Quality,
    /// How long one decoding took: of the latent with the model loaded, or of the file.
    pub time: Duration,
    /// What a person should know of it, as sentences.
    pub notes: Vec<String>,
}

/// What brought an image back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A model, of the latent.
    Decoder {
        /// Precision and execution provider, such as `f32 cpu`.
        computed: String,
    },
    /// A codec of image files.
    Codec {
        /// The highest quality, from 1 to 100, whose file takes no more bytes than the record.
        quality: u8,
    },
}

/// Compares images one by one, each with the memory of one.
pub struct Study<'a> {
    database: &'a Database,
    options: StudyOptions,
    /// Decoders that are loaded.
    warm: HashSet<String>,
}

impl<'a> Study<'a> {
    /// A study of records and files with the models of `database`.
    ///
    /// # Errors
    /// `ModelNotFound` for a decoder or an encoder that isn't there.
    pub fn new(database: &'a Database, options: StudyOptions) -> Result<Self> {
        for name in &options.decoders {
            if database.hub().model(name)?.decoder.is_none() {
                let what = format!("the model `{name}` has no decoder");
                return Err(Error::new(ErrorKind::ModelNotFound, what));
            }
        }
        if let Some(name) = &options.encoder {
            database.hub().model(name)?;
        }
        Ok(Self {
            database,
            options,
            warm: HashSet::new(),
        })
    }

    /// Holds against one image what each decoder and each codec makes of it.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` for a record without an original, one of another size, and steps or a seed where no
    /// decoder samples; `ModelMismatch` for a decoder of another latent space; what reading, encoding and decoding say.
    pub fn compare(&mut self, subject: &Subject) -> Result<Compared> {
        let found = subject::find(self.database, &self.options, subject)?;
        let header = &found.record.header;
        let mut compared = Compared {
            name: found.name,
            original: found.original,
            encoder: header.encoder.as_ref().map(|encoder| encoder.name.clone()),
            latent_space: header.latent_space.clone(),
            stored_bytes: found.stored_bytes,
            contenders: Vec::new(),
            notes: found.notes,
        };
        for decoder in self.decoders(&found.record)? {
            let contender = self.decoded(&compared, &found.record, &decoder)?;
            compared.contenders.push(contender);
        }
        for format in CODECS {
            match self.coded(&compared, format) {
                Ok(contender) => compared.contenders.push(contender),
                // As where a side is longer than the format can hold.
                Err(error) if error.kind() == ErrorKind::UnsupportedImage => {
                    compared.notes.push(format!("without {format}: {error:#}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(compared)
    }

    /// The names of the decoders that are to read a record.
    fn decoders(&self, record: &Record) -> Result<Vec<String>> {
        let (hub, header) = (self.database.hub(), &record.header);
        let mut names = self.options.decoders.clone();
        if names.is_empty() {
            let own = header.encoder.as_ref().map(|encoder| &*encoder.name);
            let first = hub.decoder_for(&header.latent_space, own)?;
            let others = hub.models().iter().filter(|model| {
                model.decoder.is_some()
                    && model.latent_space == header.latent_space
                    && model.name != first
            });
            names.push(first.to_owned());
            names.extend(others.map(|model| model.name.clone()));
        }
        let sampling = self.options.steps.is_some() || self.options.seed.is_some();
        if sampling && !names.iter().any(|name| self.samples(name)) {
            return Err(Error::invalid(format!(
                "steps and a seed are for decoders that sample, which none of `{}` does",
                names.join("`, `")
            )));
        }
        Ok(names)
    }

    fn samples(&self, decoder: &str) -> bool {
        let model = self.database.hub().model(decoder).ok();
        let half = model.and_then(|model| model.decoder.as_ref());
        half.is_some_and(|half| half.sampler.is_some())
    }

    fn decoded(&mut self, of: &Compared, record: &Record, decoder: &str) -> Result<Contender> {
        let mut options = DecodeOptions::by(decoder);
        if self.samples(decoder) {
            options.steps = self.options.steps;
            options.seed.clone_from(&self.options.seed);
        }
        self.warm_up(decoder, &of.latent_space);
        let begun = Instant::now();
        let image = self.database.decode_latent(record, &options)?;
        let time = begun.elapsed();
        Ok(Contender {
            name: decoder.to_owned(),
            kind: Kind::Decoder {
                computed: image.computed,
            },
            bytes: of.stored_bytes,
            bits_per_pixel: of.bits_per_pixel(of.stored_bytes),
            quality: measure(&of.original, &image.pixels)?,
            pixels: image.pixels,
            time,
            notes: image.notes,
        })
    }

    /// Has a decoder loaded before it is timed, by a latent of one cell.
    fn warm_up(&mut self, decoder: &str, latent_space: &str) {
        let Ok(model) = self.database.hub().model(decoder) else {
            return;
        };
        if !self.warm.insert(decoder.to_owned()) {
            return;
        }
        let shape = LatentShape {
            channels: model.latent_channels,
            height: 1,
            width: 1,
        };
        let side = model.spatial_compression_ratio;
        let zeros = vec![f16::ZERO; shape.channels as usize];
        if let Ok(latent) = Latent::new(shape, zeros) {
            let hub = self.database.hub();
            // Where this fails, decoding the image itself says why.
            let _ = hub.decode(decoder, &latent, latent_space, (side, side));
        }
    }

    fn coded(&self, of: &Compared, format: ImageFormat) -> Result<Contender> {
        let fitted = codec::fit(&of.original, format, of.stored_bytes)?;
        let begun = Instant::now();
        let pixels = codec::read(&fitted.file, format, &self.options.limits)?;
        let time = begun.elapsed();
        let bytes = fitted.file.len() as u64;
        let mut notes = Vec::new();
        if bytes > of.stored_bytes {
            notes.push(format!(
                "quality 1 takes {bytes} bytes, more than the {} of the record",
                of.stored_bytes
            ));
        }
        Ok(Contender {
            name: format.to_string(),
            kind: Kind::Codec {
                quality: fitted.quality,
            },
            bytes,
            bits_per_pixel: of.bits_per_pixel(bytes),
            quality: measure(&of.original, &pixels)?,
            pixels,
            time,
            notes,
        })
    }
}
