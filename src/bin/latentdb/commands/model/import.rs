//! `latentdb model import`: weights that people have become a model.

use std::path::PathBuf;

use clap::ValueHint;
use latentdb::{ImportOptions, ModelSpec};

use super::cost;
use crate::context::Context;
use crate::progress::with_spinner;
use crate::report::Failure;

/// Make a model of an autoencoder's weights
///
/// PATH is a diffusers folder (config.json and .safetensors, or a pipeline with a `vae` folder), a
/// folder with the encoder and the decoder as .safetensors, or one .safetensors file, also of a
/// whole checkpoint. Known are AutoencoderKL (Stable Diffusion 1 to 3, FLUX.1) and AutoencoderTiny
/// (TAESD, TAESDXL, TAESD3, TAEF1, TAEF2). The weights are copied; nothing in them is run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb model import ~/models/sd-vae-ft-mse --name sd
  latentdb model import taesd_encoder.safetensors --latent-space sd-v1
  latentdb model import v1-5-pruned.safetensors --name sd15 --latent-space sd-v1")]
pub(crate) struct Import {
    /// The folder or file with the weights
    #[arg(value_hint = ValueHint::AnyPath)]
    path: PathBuf,
    /// The model's name [default: that of the folder or file]
    #[arg(long)]
    name: Option<String>,
    /// The latent space, where the weights don't tell: sd-v1, sdxl, sd3, flux1, flux2 or a name of
    /// your own
    #[arg(long, value_name = "NAME")]
    latent_space: Option<String>,
    #[command(flatten)]
    about: About,
}

/// What both `import` and `add` ask of a model.
#[derive(Debug, clap::Args)]
pub(super) struct About {
    /// A diffusion model multiplies latents with this, after subtracting the shift
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(super) scaling_factor: Option<f64>,
    /// A diffusion model subtracts this from latents
    #[arg(
        long,
        value_name = "X",
        allow_negative_numbers = true,
        requires = "scaling_factor"
    )]
    pub(super) shift_factor: Option<f64>,
    /// Licence of the weights [default: what the model card says]
    #[arg(long, value_name = "NAME")]
    pub(super) license: Option<String>,
    /// Where the weights come from [default: the path]
    #[arg(long, value_name = "TEXT")]
    pub(super) source: Option<String>,
    /// Replace a model of the same name
    #[arg(long)]
    pub(super) replace: bool,
}

impl About {
    pub(super) fn factors(&self) -> Option<(f64, f64)> {
        let shift = self.shift_factor.unwrap_or(0.0);
        self.scaling_factor.map(|scaling| (scaling, shift))
    }
}

pub(crate) fn run(context: &Context, command: &Import) -> Result<(), Failure> {
    let options = ImportOptions {
        name: command.name.clone(),
        latent_space: command.latent_space.clone(),
        factors: command.about.factors(),
        license: command.about.license.clone(),
        source: command.about.source.clone(),
        replace: command.about.replace,
    };
    let models = context.models()?;
    let spec = with_spinner("importing", || models.import(&command.path, &options))?;
    said("imported", &spec);
    Ok(())
}

/// Says what became of weights or graphs.
pub(super) fn said(done: &str, spec: &ModelSpec) {
    eprintln!(
        "{done} `{}`: {}, latent space `{}`, {} channels at f{}",
        spec.name,
        spec.family,
        spec.latent_space,
        spec.latent_channels,
        spec.spatial_compression_ratio
    );
    for (name, half) in [("encoder", &spec.encoder), ("decoder", &spec.decoder)] {
        if let Some(half) = half {
            eprintln!("  {name}: {}", cost(half));
        }
    }
    eprintln!("  licence: {}", spec.license);
}
