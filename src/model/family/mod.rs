//! The families of autoencoders whose graphs are written here.
//!
//! Invariant: a family knows its layers by canonical tensor names (`names` in the importer makes them) and decides
//! nothing by guessing: what the tensors and the configuration leave open is asked for.

mod config;
mod kl;
mod taesd;

pub(super) use config::Config;
use kl::AutoencoderKl;
use serde_json::Value as Json;
use taesd::AutoencoderTiny;

use super::onnx::{Form, Written};
use super::weights::Tensors;
use crate::error::Result;

/// Which family weights belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Kl,
    Tiny,
}

impl Family {
    /// The name in manifests.
    pub(super) fn name(self) -> &'static str {
        match self {
            Family::Kl => "autoencoder-kl",
            Family::Tiny => "autoencoder-tiny",
        }
    }

    /// The family of diffusers' class of this name.
    pub(super) fn of_class(class: &str) -> Option<Self> {
        match class {
            "AutoencoderKL" => Some(Family::Kl),
            "AutoencoderTiny" => Some(Family::Tiny),
            _ => None,
        }
    }
}

/// A family with all that must be known to write its graphs.
pub(super) enum Architecture {
    Kl(AutoencoderKl),
    Tiny {
        stacks: AutoencoderTiny,
        channels: u64,
        ratio: u64,
    },
}

impl Architecture {
    /// The architecture of `tensors`, from `config` where there is one.
    pub(super) fn read(family: Family, config: Option<&Config>, tensors: &Tensors) -> Result<Self> {
        match family {
            Family::Kl => {
                let kl = match config {
                    Some(config) => AutoencoderKl::from_config(config)?,
                    None => AutoencoderKl::from_tensors(tensors)?,
                };
                kl.check()?;
                Ok(Architecture::Kl(kl))
            }
            Family::Tiny => {
                if let Some(config) = config {
                    AutoencoderTiny::check_config(config)?;
                }
                let (channels, ratio) = AutoencoderTiny::latent(tensors)?;
                Ok(Architecture::Tiny {
                    stacks: AutoencoderTiny::from_tensors(tensors)?,
                    channels,
                    ratio,
                })
            }
        }
    }

    /// The same architecture, told the `scaling_factor` and `shift_factor` of its latent space.
    pub(super) fn with_factors(mut self, factors: (f64, f64)) -> Self {
        if let Architecture::Tiny { stacks, .. } = &mut self {
            (stacks.scaling, stacks.shift) = factors;
        }
        self
    }

    /// Channels of the latent, and pixels a cell covers along each side.
    pub(super) fn latent(&self) -> (u64, u64) {
        match self {
            Architecture::Kl(kl) => (kl.latent_channels, kl.ratio()),
            Architecture::Tiny {
                channels, ratio, ..
            } => (*channels, *ratio),
        }
    }

    /// The configuration as the manifest keeps it.
    pub(super) fn config(&self) -> Json {
        match self {
            Architecture::Kl(kl) => kl.to_json(),
            Architecture::Tiny { stacks, .. } => stacks.to_json(),
        }
    }

    /// What of the configuration the encoder's result depends on: part of its fingerprint.
    pub(super) fn encoder_config(&self) -> Json {
        let mut config = self.config();
        if let Some(keys) = config.as_object_mut() {
            keys.retain(|key, _| !matches!(key.as_str(), "use_post_quant_conv" | "decoder"));
        }
        config
    }

    pub(super) fn encoder(&self, tensors: &Tensors, form: Form) -> Result<Written> {
        match self {
            Architecture::Kl(kl) => kl.encoder(tensors, form),
            Architecture::Tiny { stacks, .. } => stacks.encoder(tensors, form),
        }
    }

    pub(super) fn decoder(&self, tensors: &Tensors, form: Form) -> Result<Written> {
        match self {
            Architecture::Kl(kl) => kl.decoder(tensors, form),
            Architecture::Tiny {
                stacks,
                channels,
                ratio,
            } => stacks.decoder(tensors, (*channels, *ratio), form),
        }
    }
}
