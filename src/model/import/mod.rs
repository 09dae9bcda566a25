//! Weights that people have become a model: read under whatever names, kept once, with graphs written for them.
//!
//! Invariant: what can't be known from the weights is asked for, never guessed; a model that can't be written
//! leaves nothing behind.

mod fingerprint;
mod names;
mod source;
pub(super) mod space;

use std::collections::BTreeSet;
use std::path::Path;

use self::source::Source;
use super::Precision;
use super::family::{Architecture, Config, Family};
use super::folder::ModelsFolder;
use super::onnx::{Form, Written};
use super::sampler::DEFAULT_STEPS;
use super::spec::{MANIFEST_VERSION, ModelHalf, ModelSpec, TileFacts};
use super::weights::{self, Tensors};
use crate::error::{Error, Result};
use crate::fs;

/// The weights in a model's folder.
const WEIGHTS: &str = "weights.safetensors";

/// What an import can't know from the weights, or should do otherwise.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The model's name; `None` for that of the folder or file.
    pub name: Option<String>,
    /// Its latent space, needed where the weights don't tell.
    pub latent_space: Option<String>,
    /// `scaling_factor` and `shift_factor` of a latent space that isn't widely known.
    pub factors: Option<(f64, f64)>,
    /// Licence of the weights; `None` for what the model card says.
    pub license: Option<String>,
    /// Where the weights come from; `None` for the path.
    pub source: Option<String>,
    /// Whether a model of the same name may be replaced.
    pub replace: bool,
}

impl ModelsFolder {
    /// Imports the autoencoder at `path`: a diffusers folder, a folder with the two halves as
    /// `.safetensors`, or one `.safetensors` file, also of a whole diffusion model.
    ///
    /// Its graphs are written here, from the configuration and the shapes of the tensors; the
    /// weights are copied once, as they are.
    ///
    /// # Errors
    /// `InvalidInput` for what is no autoencoder of a known family, and where the latent space must
    /// be given; `AlreadyExists` unless `options.replace`; `Io` and `Full`.
    pub fn import(&self, path: &Path, options: &ImportOptions) -> Result<ModelSpec> {
        let source = Source::find(path)?;
        let name = options.name.clone().unwrap_or(source.name);
        self.check_new(&name, options.replace)?;
        let class = source.config.as_ref().and_then(|config| config.class());
        let of_class =
            class.map(|class| Family::of_class(class).ok_or_else(|| unknown_class(class)));
        let of_class = of_class.transpose()?;
        let mut files = Vec::new();
        for (half, path) in source.files {
            files.push((half, weights::read(&path)?));
        }
        let (family, tensors) = names::canonical(files)?;
        if of_class.is_some_and(|class| class != family) {
            return Err(Error::invalid(format!(
                "config.json and weights contradict each other: one is {}, the other {}",
                of_class.map_or("", Family::name),
                family.name()
            )));
        }
        // A configuration without a class is somebody else's.
        let config = source.config.as_ref().filter(|_| of_class.is_some());
        let architecture = Architecture::read(family, config, &tensors)?;
        let (channels, ratio) = architecture.latent();
        let stated = architecture.factors(config)?;
        let (latent_space, factors) = space::choose(
            (channels, ratio),
            stated,
            options.latent_space.as_deref(),
            options.factors,
        )?;
        let architecture = architecture.with_factors(factors);

        let staging = self.stage(&name)?;
        let kept = weights::write(&staging.path().join(WEIGHTS), &tensors)?;
        let mut used = BTreeSet::new();
        let mut half = |side| write_half(&architecture, &kept, staging.path(), side, &mut used);
        let (encoder, decoder) = (half("encoder")?, half("decoder")?);
        if let Some(unused) = kept.keys().find(|name| !used.contains(*name)) {
            return Err(Error::invalid(format!(
                "the tensor `{unused}` has no place in the architecture {} with the configuration {}",
                family.name(),
                architecture.config()
            )));
        }
        let spec = ModelSpec {
            manifest_version: MANIFEST_VERSION,
            name,
            family: family.name().to_owned(),
            latent_space,
            latent_channels: small(channels)?,
            spatial_compression_ratio: small(ratio)?,
            scaling_factor: factors.0,
            shift_factor: factors.1,
            fingerprint: match &encoder {
                Some(_) => Some(fingerprint::of(
                    architecture.encoder_family().name(),
                    &architecture.encoder_config(),
                    &kept,
                )?),
                None => None,
            },
            config: architecture.config(),
            license: options
                .license
                .clone()
                .or(source.license)
                .unwrap_or_else(|| "not stated".to_owned()),
            source: options
                .source
                .clone()
                .unwrap_or_else(|| path.display().to_string()),
            encoder,
            decoder,
            files: staging.files()?,
        };
        self.install(&staging, &spec, options.replace)?;
        Ok(spec)
    }
}

impl ModelsFolder {
    /// Refuses what [`import`](Self::import) would refuse anyway, before gigabytes are fetched for
    /// it: a name that is taken, a `config.json` of a class that can't be imported.
    ///
    /// # Errors
    /// As [`import`](Self::import).
    pub fn check_import(&self, name: &str, replace: bool, config: &[u8]) -> Result<()> {
        self.check_new(name, replace)?;
        match Config::from_bytes(config)?.class() {
            Some(class) if Family::of_class(class).is_none() => Err(unknown_class(class)),
            _ => Ok(()),
        }
    }
}

impl Form {
    /// The name of the file that it is written to.
    fn file(self, side: &str) -> String {
        let scope = if self.tile { "-tile" } else { "" };
        let precision = match self.precision {
            Precision::F32 => "",
            Precision::F16 => "-f16",
        };
        format!("{side}{scope}{precision}.onnx")
    }
}

/// Writes the graphs of `side`, if the weights have it; the names of those it uses come into `used`.
fn write_half(
    architecture: &Architecture,
    weights: &Tensors,
    folder: &Path,
    side: &str,
    used: &mut BTreeSet<String>,
) -> Result<Option<ModelHalf>> {
    if !weights.keys().any(|name| name.starts_with(side)) {
        return Ok(None);
    }
    let write = |tile: bool, precision: Precision| -> Result<(String, Written)> {
        let form = Form { precision, tile };
        let written = match side {
            "encoder" => architecture.encoder(weights, form)?,
            _ => architecture.decoder(weights, form)?,
        };
        let file = form.file(side);
        fs::write_atomic(&folder.join(&file), &written.bytes)?;
        Ok((file, written))
    };
    let (file, written) = write(false, Precision::F32)?;
    let (file_f16, _) = write(false, Precision::F16)?;
    let mut tiles = TileFacts {
        bytes_per_pixel: written.needs.bytes_per_pixel,
        reach: written.needs.reach,
        file: None,
        file_f16: None,
    };
    if written.has_norms {
        tiles.file = Some(write(true, Precision::F32)?.0);
        tiles.file_f16 = Some(write(true, Precision::F16)?.0);
    }
    used.extend(written.used);
    let (half, runs) = match (architecture, side) {
        (Architecture::Consistency { .. }, "decoder") => (
            ModelHalf::denoiser(file, Some(file_f16)),
            f64::from(DEFAULT_STEPS),
        ),
        _ => (ModelHalf::own(file, Some(file_f16)), 1.0),
    };
    Ok(Some(ModelHalf {
        parameters: Some(written.parameters),
        // To 10^7 operations; more digits say nothing.
        gflop_512: Some((runs * written.gflop_512 * 100.0).round() / 100.0),
        tiles: Some(tiles),
        ..half
    }))
}

fn small(number: u64) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::invalid(format!("{number} is too large")))
}

fn unknown_class(class: &str) -> Error {
    Error::invalid(format!(
        "config.json is of the class `{}`: AutoencoderKL, AutoencoderTiny and ConsistencyDecoderVAE can be imported",
        class.escape_debug()
    ))
}
