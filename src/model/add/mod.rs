//! ONNX files that were exported elsewhere become a model: read, tried, and described in a manifest.
//!
//! Invariant: what a file says is read from it, what it does is seen in a trial, and the rest is asked for; a file
//! that isn't understood, or doesn't give the same twice, is refused and leaves nothing behind.

mod choose;
mod confirm;
mod decoder;
mod encoder;
mod files;
mod inspect;
mod options;
mod sampling;
mod trial;

#[cfg(test)]
mod choices_tests;
#[cfg(test)]
mod exports_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod weights_tests;

use std::path::Path;

use serde_json::{Map, Value};

use self::files::Graph;
pub use self::options::AddOptions;
use super::Runtime;
use super::folder::ModelsFolder;
use super::import::space;
use super::spec::{MANIFEST_VERSION, ModelHalf, ModelSpec};
use crate::error::{Error, Result};

/// The family of models whose graphs were written elsewhere.
const FAMILY: &str = "onnx";

/// How an encoder is exported whose latents are always the same.
const EXPORT_THE_MEAN: &str = "export it with the posterior mean as its one output: in diffusers, vae.encode(x).latent_dist.mean, or .parameters for mean and log-variance";

/// A model that was added.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Added {
    /// What its manifest says.
    pub spec: ModelSpec,
    /// What was read, seen and assumed, as sentences for people.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Half {
    Encoder,
    Decoder,
}

impl Half {
    fn name(self) -> &'static str {
        match self {
            Half::Encoder => "encoder",
            Half::Decoder => "decoder",
        }
    }

    /// Its file in a model's folder.
    fn file(self) -> &'static str {
        match self {
            Half::Encoder => "encoder.onnx",
            Half::Decoder => "decoder.onnx",
        }
    }
}

/// A file that was read.
struct Source<'a> {
    half: Half,
    path: &'a Path,
    graph: Graph,
}

/// What a half is tried with.
struct Setting<'a> {
    runtime: &'a Runtime,
    /// Where the model is made.
    folder: &'a Path,
    options: &'a AddOptions,
    /// Channels of the latent, if they are known.
    channels: Option<u32>,
    notes: &'a mut Vec<String>,
}

/// A half that was found usable, and is in the model's folder.
struct Found {
    half: ModelHalf,
    channels: u32,
    ratio: u32,
    fingerprint: String,
}

impl ModelsFolder {
    /// Adds a model made of ONNX files that were exported elsewhere: an encoder, a decoder or both.
    ///
    /// Inputs and outputs are read from the files; what these leave open is seen by running them on
    /// small pictures, on the CPU. An encoder that samples gives its mean instead, where that can be
    /// found in its graph. Files with weights that lie beside the given ones are copied with them.
    ///
    /// # Errors
    /// `InvalidInput` for what is no autoencoder's half, fits together badly, or can't be known and
    /// wasn't said, with the flag of the command line as a hint; `LimitExceeded`; `ModelMismatch` if
    /// it doesn't fit the latent space; `Inference` if it can't be run; `AlreadyExists` unless
    /// `options.replace`; `Io` and `Full`.
    pub fn add(&self, runtime: &Runtime, options: &AddOptions) -> Result<Added> {
        self.check_new(&options.name, options.replace)?;
        let channels = options.check()?;
        let encoder = Source::read(Half::Encoder, options.encoder.as_deref())?;
        let decoder = Source::read(Half::Decoder, options.decoder.as_deref())?;
        let declared = match (channels, &decoder) {
            (None, Some(source)) => source.about(decoder::declared_channels(&source.graph))?,
            (known, _) => known,
        };
        let mut config = Map::new();
        for source in [&encoder, &decoder].into_iter().flatten() {
            let facts = &source.graph.facts;
            config.insert(source.half.name().to_owned(), facts.config.clone());
        }

        let staging = self.stage(&options.name)?;
        let mut notes = Vec::new();
        let mut setting = Setting {
            runtime,
            folder: staging.path(),
            options,
            channels: declared,
            notes: &mut notes,
        };
        // Each file is out of memory before the next one is run.
        let encoder = encoder.map(|source| source.find(&mut setting));
        let encoder = encoder.transpose()?;
        setting.channels = declared.or(encoder.as_ref().map(|found| found.channels));
        let decoder = decoder.map(|source| source.find(&mut setting));
        let decoder = decoder.transpose()?;

        let found = [&encoder, &decoder].into_iter().flatten();
        let shapes: Vec<_> = found.map(|one| (one.channels, one.ratio)).collect();
        let (channels, ratio) = options.agree(&shapes)?;
        let (latent_space, factors) = space::choose(
            (channels.into(), ratio.into()),
            None,
            Some(&options.latent_space),
            options.factors,
        )?;
        let license = options.license.clone();
        let mut spec = ModelSpec {
            manifest_version: MANIFEST_VERSION,
            name: options.name.clone(),
            family: FAMILY.to_owned(),
            latent_space,
            latent_channels: channels,
            spatial_compression_ratio: ratio,
            scaling_factor: factors.0,
            shift_factor: factors.1,
            config: Value::Object(config),
            fingerprint: encoder.as_ref().map(|found| found.fingerprint.clone()),
            license: license.unwrap_or_else(|| "not stated".to_owned()),
            source: options.source.clone().unwrap_or_else(|| options.paths()),
            encoder: encoder.map(|found| found.half),
            decoder: decoder.map(|found| found.half),
            files: staging.files()?,
        };
        options.check_range(&spec)?;
        notes.extend(options.assumed(&spec));
        confirm::confirm(runtime, staging.path(), &mut spec, &mut notes)?;
        self.install(&staging, &spec, options.replace)?;
        Ok(Added { spec, notes })
    }
}

impl Source<'_> {
    fn read(half: Half, path: Option<&Path>) -> Result<Option<Source<'_>>> {
        let Some(path) = path else {
            return Ok(None);
        };
        let graph = Graph::read(path).map_err(|e| unusable(half, path, e))?;
        Ok(Some(Source { half, path, graph }))
    }

    /// Finds out how the file is used.
    fn find(self, setting: &mut Setting<'_>) -> Result<Found> {
        let found = self.about(match self.half {
            Half::Encoder => encoder::find(&self.graph, setting),
            Half::Decoder => decoder::find(&self.graph, setting),
        })?;
        if self.graph.facts.is_f16 {
            setting.notes.push(format!(
                "the weights of the {} are f16: where it overflows, there is nothing else to run",
                self.half.name()
            ));
        }
        Ok(found)
    }

    fn about<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| unusable(self.half, self.path, e))
    }
}

fn unusable(half: Half, path: &Path, error: Error) -> Error {
    let what = format!("{} can't be the {}", path.display(), half.name());
    let about = Error::new(error.kind(), what);
    let about = match error.hint() {
        Some(hint) => about.with_hint(hint),
        None => about,
    };
    about.with_source(error)
}

/// Pixels along each side of a cell, if they are the same on both sides and a power of two.
fn ratio((width, height): (u32, u32), (columns, rows): (i64, i64)) -> Option<u32> {
    let times = |pixels: u32, cells: i64| {
        let cells = u32::try_from(cells).ok().filter(|cells| *cells > 0)?;
        pixels.is_multiple_of(cells).then_some(pixels / cells)
    };
    let ratio = times(width, columns)?;
    let fits = times(height, rows) == Some(ratio) && ratio.is_power_of_two() && ratio <= 256;
    fits.then_some(ratio)
}
