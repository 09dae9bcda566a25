//! The models a program knows, and those it has loaded.
//!
//! Invariant: ONNX Runtime starts with the first model that is needed, so whatever needs none runs
//! without it; each half of a model is loaded once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::builtin;
use super::provider::Provider;
use super::runtime::Runtime;
use super::session::Session;
use super::spaces;
use super::spec::ModelSpec;
use crate::error::{Error, ErrorKind, Result};
use crate::latent::{Latent, LatentShape};
use crate::pixels::Pixels;

/// How a [`Hub`] runs models.
#[derive(Debug, Clone, Default)]
pub struct HubOptions {
    /// The library of ONNX Runtime or its folder; `None` to look for it, see
    /// [`Runtime::candidates`].
    pub runtime: Option<PathBuf>,
    /// Which execution provider runs the models.
    pub provider: Provider,
}

/// Knows models by name, loads them when they are needed, and runs them.
pub struct Hub {
    options: HubOptions,
    models: Vec<ModelSpec>,
    runtime: OnceLock<Runtime>,
    sessions: Mutex<HashMap<(String, Side), Arc<Session>>>,
}

/// A latent, and what made it.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The posterior mean.
    pub latent: Latent,
    /// The execution provider that ran the encoder; never `Auto`.
    pub provider: Provider,
}

/// Pixels, and what made them.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The image at its own size.
    pub pixels: Pixels,
    /// The decoder's name.
    pub decoder: String,
    /// The execution provider that ran the decoder; never `Auto`.
    pub provider: Provider,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Encoder,
    Decoder,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::Encoder => "encoder",
            Side::Decoder => "decoder",
        }
    }
}

impl Hub {
    /// A hub with the built-in models. Nothing is loaded yet.
    ///
    /// Looking for ONNX Runtime, when the first model is needed, reads the environment unless
    /// `options.runtime` is given.
    pub fn new(options: HubOptions) -> Self {
        Self {
            options,
            models: vec![builtin::tiny()],
            runtime: OnceLock::new(),
            sessions: Mutex::default(),
        }
    }

    /// A hub that looks for ONNX Runtime where the environment says and runs on whatever works.
    pub fn from_env() -> Self {
        Self::new(HubOptions::default())
    }

    /// All models that are known.
    pub fn models(&self) -> &[ModelSpec] {
        &self.models
    }

    /// The model called `name`.
    ///
    /// # Errors
    /// `ModelNotFound`, naming those that are known.
    pub fn model(&self, name: &str) -> Result<&ModelSpec> {
        let known = || {
            self.models
                .iter()
                .map(|m| m.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        self.models
            .iter()
            .find(|model| model.name == name)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::ModelNotFound,
                    format!(
                        "there is no model `{}` (known: {})",
                        name.escape_debug(),
                        known()
                    ),
                )
            })
    }

    /// `scaling_factor` and `shift_factor` of a latent space: a diffusion model works on
    /// `(latent - shift_factor) * scaling_factor`.
    ///
    /// # Errors
    /// `InvalidInput` if neither a known model nor the table of common spaces names it.
    pub fn scaling(&self, latent_space: &str) -> Result<(f64, f64)> {
        let model = self
            .models
            .iter()
            .find(|model| model.latent_space == latent_space);
        let factors = model.map(|model| (model.scaling_factor, model.shift_factor));
        factors
            .or_else(|| spaces::factors(latent_space))
            .ok_or_else(|| {
                Error::invalid(format!(
                    "the scaling of the latent space `{}` is not known",
                    latent_space.escape_debug()
                ))
            })
    }

    /// Refuses a latent whose shape can't belong to an image of `width` x `height` pixels in
    /// `latent_space`. Of a space that nothing is known of, anything is taken.
    pub(crate) fn check_shape(
        &self,
        shape: LatentShape,
        latent_space: &str,
        (width, height): (u32, u32),
    ) -> Result<()> {
        let mismatch = |expected: String| {
            Err(Error::new(
                ErrorKind::ModelMismatch,
                format!(
                    "a latent of `{latent_space}` for {width}x{height} pixels has {expected}, and this one has the shape {shape}"
                ),
            ))
        };
        let model = self
            .models
            .iter()
            .find(|model| model.latent_space == latent_space);
        if let Some(model) = model {
            let expected = model.latent_shape(width, height);
            if shape != expected {
                return mismatch(format!("the shape {expected}"));
            }
        } else if let Some(channels) = spaces::channels(latent_space)
            && shape.channels != channels
        {
            return mismatch(format!("{channels} channels"));
        }
        Ok(())
    }

    /// ONNX Runtime, loaded now if it wasn't before.
    ///
    /// # Errors
    /// As [`Runtime::discover`].
    pub fn runtime(&self) -> Result<&Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = Runtime::discover(self.options.runtime.as_deref())?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    /// Runs the smallest image through the built-in encoder on `provider`, to see whether that
    /// really works.
    ///
    /// # Errors
    /// `RuntimeUnavailable`; `ProviderUnavailable` or `Inference` with the reason.
    pub fn try_provider(&self, provider: Provider) -> Result<()> {
        let side = builtin::tiny().spatial_compression_ratio;
        let grey = Pixels::from_rgb(side, side, vec![128; 3 * (side * side) as usize])?;
        let shape = builtin::tiny().latent_shape(side, side);
        let session = Session::load(
            self.runtime()?,
            provider,
            "the encoder of `tiny`",
            builtin::ENCODER,
        )?;
        session.encode(&grey, shape).map(drop)
    }

    /// Encodes an image of any size with the model called `encoder`.
    ///
    /// # Errors
    /// `ModelNotFound`, `RuntimeUnavailable`, `ProviderUnavailable`, `Inference`.
    pub fn encode(&self, encoder: &str, pixels: &Pixels) -> Result<Encoded> {
        let spec = self.model(encoder)?;
        let session = self.session(spec, Side::Encoder)?;
        let padded = pixels.pad_to_multiple(spec.spatial_compression_ratio);
        let shape = spec.latent_shape(pixels.width(), pixels.height());
        Ok(Encoded {
            latent: session.encode(&padded, shape)?,
            provider: session.provider,
        })
    }

    /// Decodes a latent of `latent_space` with the model called `decoder` to `width` x `height`
    /// pixels.
    ///
    /// # Errors
    /// `ModelMismatch` if the decoder reads another latent space, or the latent is too small for
    /// the image; otherwise as [`encode`](Self::encode).
    pub fn decode(
        &self,
        decoder: &str,
        latent: &Latent,
        latent_space: &str,
        (width, height): (u32, u32),
    ) -> Result<Decoded> {
        let spec = self.model(decoder)?;
        if spec.latent_space != latent_space {
            return Err(Error::new(
                ErrorKind::ModelMismatch,
                format!(
                    "decoder `{decoder}` reads the latent space `{}`, and the latent is of `{latent_space}`",
                    spec.latent_space
                ),
            ));
        }
        if latent.shape() != spec.latent_shape(width, height) {
            return Err(Error::new(
                ErrorKind::ModelMismatch,
                format!(
                    "decoder `{decoder}` needs a latent of shape {} for {width}x{height} pixels, and it has {}",
                    spec.latent_shape(width, height),
                    latent.shape()
                ),
            ));
        }
        let session = self.session(spec, Side::Decoder)?;
        let whole = session.decode(latent, spec.spatial_compression_ratio)?;
        let exact = (whole.width(), whole.height()) == (width, height);
        Ok(Decoded {
            pixels: if exact {
                whole
            } else {
                whole.crop(0, 0, width, height)?
            },
            decoder: spec.name.clone(),
            provider: session.provider,
        })
    }

    /// The name of a model that decodes `latent_space`: `preferred` if it does, else any.
    ///
    /// # Errors
    /// `ModelNotFound` if none does.
    pub fn decoder_for(&self, latent_space: &str, preferred: Option<&str>) -> Result<&str> {
        let mut fit = self
            .models
            .iter()
            .filter(|model| model.latent_space == latent_space && model.decoder.is_some());
        let first = fit.clone().next();
        let best = fit
            .find(|model| Some(model.name.as_str()) == preferred)
            .or(first);
        best.map(|model| model.name.as_str()).ok_or_else(|| {
            Error::new(
                ErrorKind::ModelNotFound,
                format!("there is no decoder for the latent space `{latent_space}`"),
            )
        })
    }

    fn session(&self, spec: &ModelSpec, side: Side) -> Result<Arc<Session>> {
        // The lock is held while loading, so that a model asked for twice is loaded once.
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (spec.name.clone(), side);
        if let Some(session) = sessions.get(&key) {
            return Ok(Arc::clone(session));
        }
        let name = format!("the {} of `{}`", side.name(), spec.name);
        let (half, graph) = match side {
            Side::Encoder => (&spec.encoder, builtin::ENCODER),
            Side::Decoder => (&spec.decoder, builtin::DECODER),
        };
        if half.is_none() {
            return Err(Error::new(
                ErrorKind::ModelNotFound,
                format!("the model `{}` has no {}", spec.name, side.name()),
            ));
        }
        let session = Session::load(self.runtime()?, self.options.provider, &name, graph)?;
        let session = Arc::new(session);
        sessions.insert(key, Arc::clone(&session));
        Ok(session)
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::from_env()
    }
}
