//! Records become images again.
//!
//! Invariant: an image has exactly the size that went in, and the alpha; the same record, decoder and seed give the
//! same image; an original that is kept comes back unless a decoder is named.

use super::{Database, original_of};
use crate::error::{Error, ErrorKind, Result};
use crate::image_io::{Limits, read_image};
#[cfg(doc)]
use crate::model::Hub;
use crate::model::Sampling;
use crate::pixels::Pixels;
use crate::record::{Record, RecordId};

/// How [`Database::decode`] works.
#[derive(Debug, Clone, Default)]
pub struct DecodeOptions {
    /// The decoder's name; `None` for the model that encoded the image, or another of the same latent space.
    pub decoder: Option<String>,
    /// Steps of a decoder that samples; `None` for two.
    pub steps: Option<u32>,
    /// The seed of a decoder that samples; `None` for the record's id, so that every read gives the same image.
    pub seed: Option<String>,
    /// What an original that is kept may cost to read.
    pub limits: Limits,
}

impl DecodeOptions {
    /// By the decoder of this name.
    pub fn by(decoder: &str) -> Self {
        Self {
            decoder: Some(decoder.to_owned()),
            ..Self::default()
        }
    }

    /// Refuses steps and a seed, for which `what` has no use.
    fn refuse_sampling(&self, what: &str) -> Result<()> {
        if self.steps.is_none() && self.seed.is_none() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{what} doesn't sample: it has neither steps nor a seed"
        )))
    }
}

/// An image that came back.
#[derive(Debug, Clone)]
pub struct Image {
    /// The image at the size that its record says.
    pub pixels: Pixels,
    /// The decoder that made it of the latent; `None` if it was read from the original, which is kept beside the latent.
    pub decoder: Option<String>,
    /// Precision and execution provider of the decoder, such as `f32 cpu`; empty for an original.
    pub computed: String,
    /// What a person should know of it, as sentences.
    pub notes: Vec<String>,
}

impl Database {
    /// The image under `id`: its original if that is kept and no decoder is named, else decoded by `decoder`, or by the
    /// model that encoded it, or by another of the same latent space.
    ///
    /// # Errors
    /// `NotFound`; as [`decode`](Self::decode).
    pub fn get(&self, id: &str, decoder: Option<&str>) -> Result<Image> {
        let record = self.store().get(&RecordId::new(id)?)?;
        self.decode(&record, &decoder.map(DecodeOptions::by).unwrap_or_default())
    }

    /// The image of a record, as [`get`](Self::get) gives it.
    ///
    /// # Errors
    /// `ModelNotFound`; `InvalidInput` for steps or a seed where no decoder samples, and for a number of steps that it
    /// can't work in; `LimitExceeded` for an original beyond `options.limits`; what [`Hub::decode`] says.
    pub fn decode(&self, record: &Record, options: &DecodeOptions) -> Result<Image> {
        match (&record.original, &options.decoder) {
            (Some(file), None) => read_original(record, file, options),
            _ => self.decode_latent(record, options),
        }
    }

    /// The image of a record's latent, also where its original is kept.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub(crate) fn decode_latent(&self, record: &Record, options: &DecodeOptions) -> Result<Image> {
        let header = &record.header;
        let own = header.encoder.as_ref().map(|e| e.name.as_str());
        let decoder = match &options.decoder {
            Some(name) => name,
            None => self.hub().decoder_for(&header.latent_space, own)?,
        };
        let half = self.hub().model(decoder)?.decoder.as_ref();
        if half.is_some_and(|half| half.sampler.is_none()) {
            options.refuse_sampling(&format!("decoder `{decoder}`"))?;
        }
        let mut sampling = Sampling::of(options.seed.as_deref().unwrap_or(header.id.as_str()));
        sampling.steps = options.steps.unwrap_or(sampling.steps);
        let size = (header.width, header.height);
        let (latent, space) = (&record.latent, &header.latent_space);
        let made = (self.hub()).decode_sampled(decoder, latent, space, size, &sampling)?;
        Ok(Image {
            computed: made.computed(),
            decoder: Some(made.decoder),
            notes: made.notes,
            pixels: match &record.alpha {
                Some(alpha) => made.pixels.with_alpha(alpha.clone())?,
                None => made.pixels,
            },
        })
    }
}

/// The image of the file that is kept, prepared as it was for the encoder.
fn read_original(record: &Record, file: &[u8], options: &DecodeOptions) -> Result<Image> {
    let header = &record.header;
    let what = format!("the original of `{}`", header.id);
    options.refuse_sampling(&what)?;
    let read = read_image(file, &what, &options.limits)?;
    let pixels = original_of(header, read.pixels, &what).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => {
            Error::corrupted(format!("{what} is another image")).with_source(error)
        }
        _ => error,
    })?;
    Ok(Image {
        pixels,
        decoder: None,
        computed: String::new(),
        notes: Vec::new(),
    })
}
