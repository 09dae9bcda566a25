//! Records become images again.
//!
//! Invariant: an image has exactly the size that went in, and the alpha; the same record, decoder and seed give the
//! same image.

use super::Database;
use crate::error::{Error, Result};
use crate::model::{Decoded, Sampling};
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
}

impl DecodeOptions {
    /// By the decoder of this name.
    pub fn by(decoder: &str) -> Self {
        Self {
            decoder: Some(decoder.to_owned()),
            ..Self::default()
        }
    }
}

impl Database {
    /// The image under `id`, decoded by `decoder`, or by the model that encoded it, or by another
    /// of the same latent space.
    ///
    /// # Errors
    /// `NotFound`; `ModelNotFound`; what [`Hub::decode`](crate::Hub::decode) and [`Store::get`](crate::Store::get) say.
    pub fn get(&self, id: &str, decoder: Option<&str>) -> Result<Decoded> {
        let record = self.store().get(&RecordId::new(id)?)?;
        self.decode(&record, &decoder.map(DecodeOptions::by).unwrap_or_default())
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// `ModelNotFound`; `InvalidInput` for steps or a seed where the decoder doesn't sample, and for a number of steps
    /// that it can't work in; what [`Hub::decode`](crate::Hub::decode) says.
    pub fn decode(&self, record: &Record, options: &DecodeOptions) -> Result<Decoded> {
        let header = &record.header;
        let own = header.encoder.as_ref().map(|e| e.name.as_str());
        let decoder = match &options.decoder {
            Some(name) => name,
            None => self.hub().decoder_for(&header.latent_space, own)?,
        };
        let half = self.hub().model(decoder)?.decoder.as_ref();
        let samples = half.is_some_and(|half| half.sampler.is_some());
        if !samples && (options.steps.is_some() || options.seed.is_some()) {
            return Err(Error::invalid(format!(
                "decoder `{decoder}` doesn't sample: it has neither steps nor a seed"
            )));
        }
        let mut sampling = Sampling::of(options.seed.as_deref().unwrap_or(header.id.as_str()));
        sampling.steps = options.steps.unwrap_or(sampling.steps);
        let size = (header.width, header.height);
        let (latent, space) = (&record.latent, &header.latent_space);
        let mut image = (self.hub()).decode_sampled(decoder, latent, space, size, &sampling)?;
        if let Some(alpha) = &record.alpha {
            image.pixels = image.pixels.with_alpha(alpha.clone())?;
        }
        Ok(image)
    }
}
