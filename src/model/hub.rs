//! The models a program knows, and those it has loaded.
//!
//! Invariant: ONNX Runtime starts with the first model that is needed, so whatever needs none runs
//! without it; sessions are loaded once and shared between threads.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::attempt::Attempt;
use super::budget::Choice;
use super::builtin;
use super::folder::{BrokenModel, ModelsFolder};
use super::precision::Precision;
use super::provider::Provider;
use super::registry::Registry;
use super::run::{Job, Scope, Sessions, Side};
use super::runtime::Runtime;
use super::sampler::Sampling;
use super::session::Failure;
use super::spec::{ModelSpec, Sampler};
use crate::error::{Error, ErrorKind, Result};
use crate::latent::{Latent, LatentShape};
use crate::pixels::Pixels;
use crate::tile::{TilePolicy, Tiling};

/// How a [`Hub`] runs models.
#[derive(Debug, Clone, Default)]
pub struct HubOptions {
    /// The library of ONNX Runtime or its folder; `None` to look for it, see
    /// [`Runtime::candidates`].
    pub runtime: Option<PathBuf>,
    /// The folder of models; `None` for the built-in models alone.
    pub models: Option<PathBuf>,
    /// Which execution provider runs the models.
    pub provider: Provider,
    /// What they compute in; `None` for f16 on GPUs, where a model has it, and f32 on CPUs.
    pub precision: Option<Precision>,
    /// Threads that one run on the CPU uses; `None` for one a core.
    pub threads: Option<usize>,
    /// How many runs of one model may go on at once, each with a copy of the weights; 0 for one.
    pub sessions: usize,
    /// Whether large images go through the models in tiles.
    pub tile: TilePolicy,
    /// Bytes that running models on the CPU may take before [`TilePolicy::Auto`] cuts an image into tiles;
    /// `None` for [`HubOptions::DEFAULT_MEMORY`].
    pub memory: Option<u64>,
}

impl HubOptions {
    /// 4 GiB: a number and no share of the machine's memory, so that an image becomes the same latent on every
    /// machine.
    pub const DEFAULT_MEMORY: u64 = 4 << 30;
}

/// Knows models by name, loads them when they are needed, and runs them.
pub struct Hub {
    pub(super) options: HubOptions,
    folder: Option<ModelsFolder>,
    registry: OnceLock<Registry>,
    runtime: OnceLock<Runtime>,
    pub(super) sessions: Sessions,
}

/// A latent, and what made it.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The posterior mean.
    pub latent: Latent,
    /// The execution provider that ran the encoder; never `Auto`.
    pub provider: Provider,
    /// What the encoder computed in.
    pub precision: Precision,
    /// The tiles that the image was encoded in; `None` if it was encoded whole.
    pub tiling: Option<Tiling>,
    /// Why it wasn't the first choice of both, as sentences for people.
    pub notes: Vec<String>,
}

impl Encoded {
    /// Precision and provider as records keep them, such as `f32 cpu`, or `f32 cuda:0 after f16
    /// overflow`.
    pub fn computed(&self) -> String {
        computed(self.precision, self.provider, &self.notes)
    }
}

fn computed(precision: Precision, provider: Provider, notes: &[String]) -> String {
    let retried = notes.iter().any(|note| note.contains("overflowed"));
    let after = if retried { " after f16 overflow" } else { "" };
    format!("{precision} {provider}{after}")
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
    /// What the decoder computed in.
    pub precision: Precision,
    /// The tiles that the latent was decoded in; `None` if it was decoded whole.
    pub tiling: Option<Tiling>,
    /// Why it wasn't the first choice of both, as sentences for people.
    pub notes: Vec<String>,
}

impl Decoded {
    /// Precision and provider, such as `f32 cpu`, or `f32 cuda:0 after f16 overflow`.
    pub fn computed(&self) -> String {
        computed(self.precision, self.provider, &self.notes)
    }
}

impl Hub {
    /// A hub with the built-in models and those of `options.models`. Nothing is loaded yet; the
    /// folder is read once, when a model is first asked for.
    ///
    /// Looking for ONNX Runtime, when the first model is run, reads the environment unless
    /// `options.runtime` is given.
    pub fn new(options: HubOptions) -> Self {
        Self {
            folder: options.models.as_ref().map(ModelsFolder::new),
            options,
            registry: OnceLock::new(),
            runtime: OnceLock::new(),
            sessions: Sessions::default(),
        }
    }

    /// A hub that looks for models and ONNX Runtime where the environment says, and runs on
    /// whatever works. Reads the environment.
    pub fn from_env() -> Self {
        Self::new(HubOptions {
            models: ModelsFolder::from_env().map(|folder| folder.path().to_path_buf()),
            ..HubOptions::default()
        })
    }

    fn registry(&self) -> &Registry {
        self.registry
            .get_or_init(|| Registry::read(self.folder.as_ref()))
    }

    /// The folder of models, where there is one.
    pub fn models_folder(&self) -> Option<&ModelsFolder> {
        self.folder.as_ref()
    }

    /// All models that can be used, the built-in first.
    pub fn models(&self) -> &[ModelSpec] {
        self.registry().models()
    }

    /// Models whose manifests can't be used.
    pub fn broken_models(&self) -> &[BrokenModel] {
        self.registry().broken()
    }

    /// The model called `name`.
    ///
    /// # Errors
    /// `ModelNotFound`, naming those that are known; the reason, if its manifest can't be used.
    pub fn model(&self, name: &str) -> Result<&ModelSpec> {
        self.registry().get(name)
    }

    /// The model called `name`, which has an encoder.
    ///
    /// # Errors
    /// `ModelNotFound` if it has none, and as [`model`](Self::model).
    pub fn encoder(&self, name: &str) -> Result<&ModelSpec> {
        let model = self.model(name)?;
        if model.encoder.is_none() {
            return Err(model.lacks("encoder"));
        }
        Ok(model)
    }

    /// `scaling_factor` and `shift_factor` of a latent space: a diffusion model works on
    /// `(latent - shift_factor) * scaling_factor`.
    ///
    /// # Errors
    /// `InvalidInput` if neither a known model nor the table of common spaces names it.
    pub fn scaling(&self, latent_space: &str) -> Result<(f64, f64)> {
        self.registry().scaling(latent_space)
    }

    /// How many pixels a side of a latent's cell stands for; `None` of a latent space that nothing is known of.
    pub(crate) fn compression_ratio(&self, latent_space: &str) -> Option<u32> {
        self.registry().compression_ratio(latent_space)
    }

    pub(crate) fn check_shape(
        &self,
        shape: LatentShape,
        latent_space: &str,
        size: (u32, u32),
    ) -> Result<()> {
        self.registry().check_shape(shape, latent_space, size)
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
        let tiny = builtin::tiny();
        let side = tiny.spatial_compression_ratio;
        let grey = Pixels::from_rgb(side, side, vec![128; 3 * (side * side) as usize])?;
        let job = Job::of(&tiny, Side::Encoder)?;
        let attempt = Attempt {
            provider,
            precision: Precision::F32,
        };
        let mut session = self.load(job, Scope::Image, attempt)?;
        match session.encode(&tiny, job.half, &[&grey]) {
            Ok(_) => Ok(()),
            Err(Failure::Failed(error)) => Err(error),
            Err(Failure::NotFinite) => Err(Error::new(
                ErrorKind::Inference,
                format!("{provider} came to values that are not finite"),
            )),
        }
    }

    /// Encodes an image of any size with the model called `encoder`.
    ///
    /// # Errors
    /// `ModelNotFound`, `RuntimeUnavailable`, `ProviderUnavailable`, `Inference`.
    pub fn encode(&self, encoder: &str, pixels: &Pixels) -> Result<Encoded> {
        let mut batch = self.encode_batch(encoder, &[pixels])?;
        batch
            .pop()
            .ok_or_else(|| Error::invalid("nothing was encoded"))
    }

    /// Encodes images of one size at once, which a GPU does faster than one by one. The latents are
    /// those that [`encode`](Self::encode) makes, to the precision of the provider.
    ///
    /// # Errors
    /// `InvalidInput` if the sizes differ; as [`encode`](Self::encode).
    pub fn encode_batch(&self, encoder: &str, images: &[&Pixels]) -> Result<Vec<Encoded>> {
        let spec = self.model(encoder)?;
        let sizes = || images.iter().map(|image| (image.width(), image.height()));
        if let Some(other) = sizes().skip(1).find(|size| Some(*size) != sizes().next()) {
            return Err(Error::invalid(format!(
                "images of one batch have one size, and one of these is {}x{}",
                other.0, other.1
            )));
        }
        let job = Job::of(spec, Side::Encoder)?;
        let done = self.run(job, |attempt| self.encode_in(job, attempt, images))?;
        let batch = done.value.into_iter().map(|(latent, tiles)| Encoded {
            latent,
            provider: done.attempt.provider,
            precision: done.attempt.precision,
            tiling: tiles.as_ref().map(|tiles| tiles.tiling),
            notes: notes(&done.notes, tiles),
        });
        Ok(batch.collect())
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
        size: (u32, u32),
    ) -> Result<Decoded> {
        self.decode_sampled(decoder, latent, latent_space, size, &Sampling::default())
    }

    /// As [`decode`](Self::decode); a decoder that samples does as `sampling` says.
    ///
    /// # Errors
    /// `InvalidInput` for a number of steps that it can't work in; as [`decode`](Self::decode).
    pub fn decode_sampled(
        &self,
        decoder: &str,
        latent: &Latent,
        latent_space: &str,
        size: (u32, u32),
        sampling: &Sampling,
    ) -> Result<Decoded> {
        let mut batch = self.decode_items(decoder, &[(latent, sampling)], latent_space, size)?;
        batch
            .pop()
            .ok_or_else(|| Error::invalid("nothing was decoded"))
    }

    /// Decodes latents of images of one size at once, which a GPU does faster than one by one. A decoder that samples
    /// begins all of them from the same noise.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_batch(
        &self,
        decoder: &str,
        latents: &[&Latent],
        latent_space: &str,
        size: (u32, u32),
    ) -> Result<Vec<Decoded>> {
        let sampling = Sampling::default();
        let items: Vec<_> = latents.iter().map(|latent| (*latent, &sampling)).collect();
        self.decode_items(decoder, &items, latent_space, size)
    }

    fn decode_items(
        &self,
        decoder: &str,
        items: &[(&Latent, &Sampling)],
        latent_space: &str,
        (width, height): (u32, u32),
    ) -> Result<Vec<Decoded>> {
        let spec = self.model(decoder)?;
        let mismatch = |what: String| Err(Error::new(ErrorKind::ModelMismatch, what));
        if spec.latent_space != latent_space {
            return mismatch(format!(
                "decoder `{decoder}` reads the latent space `{}`, and the latent is of `{latent_space}`",
                spec.latent_space
            ));
        }
        let expected = spec.latent_shape(width, height);
        let latents: Vec<_> = items.iter().map(|(latent, _)| *latent).collect();
        if let Some(other) = latents.iter().find(|latent| latent.shape() != expected) {
            return mismatch(format!(
                "decoder `{decoder}` needs a latent of shape {expected} for {width}x{height} pixels, and it has {}",
                other.shape()
            ));
        }
        let job = Job::of(spec, Side::Decoder)?;
        let size = (width, height);
        let done = self.run(job, |attempt| match job.half.sampler {
            Some(Sampler::Consistency) => self.sample_in(job, attempt, items, size),
            None => self.decode_in(job, attempt, &latents, size),
        })?;
        let batch = done.value.into_iter().map(|(pixels, tiles)| Decoded {
            pixels,
            decoder: spec.name.clone(),
            provider: done.attempt.provider,
            precision: done.attempt.precision,
            tiling: tiles.as_ref().map(|tiles| tiles.tiling),
            notes: notes(&done.notes, tiles),
        });
        Ok(batch.collect())
    }

    /// The name of a model that decodes `latent_space`: `preferred` if it does, else any.
    ///
    /// # Errors
    /// `ModelNotFound` if none does.
    pub fn decoder_for(&self, latent_space: &str, preferred: Option<&str>) -> Result<&str> {
        let model = self.registry().decoder_for(latent_space, preferred)?;
        Ok(&model.name)
    }
}

/// What is to be said of a run, and of its tiles.
fn notes(run: &[String], tiles: Option<Choice>) -> Vec<String> {
    let tiles = tiles.and_then(|choice| choice.note);
    run.iter().cloned().chain(tiles).collect()
}

impl Default for Hub {
    fn default() -> Self {
        Self::from_env()
    }
}
