//! The families of autoencoders whose graphs are written here.
//!
//! Invariant: a family knows its layers by canonical tensor names (`names` in the importer makes them) and decides
//! nothing by guessing: what the tensors and the configuration leave open is asked for.

mod config;
mod consistency;
mod kl;
mod taesd;

pub(super) use config::Config;
use consistency::ConsistencyUnet;
pub(super) use consistency::PREFIX as UNET;
use kl::AutoencoderKl;
use serde_json::Value as Json;
use taesd::AutoencoderTiny;

use super::onnx::{Form, Written};
use super::weights::Tensors;
use crate::error::{Error, Result};

/// Which family weights belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Kl,
    Tiny,
    Consistency,
}

impl Family {
    /// The name in manifests.
    pub(super) fn name(self) -> &'static str {
        match self {
            Family::Kl => "autoencoder-kl",
            Family::Tiny => "autoencoder-tiny",
            Family::Consistency => "consistency-decoder",
        }
    }

    /// The family of diffusers' class of this name.
    pub(super) fn of_class(class: &str) -> Option<Self> {
        match class {
            "AutoencoderKL" => Some(Family::Kl),
            "AutoencoderTiny" => Some(Family::Tiny),
            "ConsistencyDecoderVAE" => Some(Family::Consistency),
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
    Consistency {
        unet: ConsistencyUnet,
        /// The encoder that is published with it, that of an AutoencoderKL.
        encoder: Option<AutoencoderKl>,
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
            Family::Consistency => {
                let unet = match config {
                    Some(config) => ConsistencyUnet::from_config(config)?,
                    None => ConsistencyUnet::from_tensors(tensors),
                };
                unet.check()?;
                let has_encoder = tensors.keys().any(|name| name.starts_with("encoder."));
                let encoder = match (has_encoder, config) {
                    (false, _) => None,
                    (true, Some(config)) => Some(AutoencoderKl::encoder_from_config(config)?),
                    (true, None) => Some(AutoencoderKl::from_tensors(tensors)?),
                };
                if let Some(encoder) = &encoder {
                    encoder.check()?;
                }
                Ok(Architecture::Consistency { unet, encoder })
            }
        }
    }

    /// `scaling_factor` and `shift_factor` of its latents, where the architecture or its configuration says them.
    pub(super) fn factors(&self, config: Option<&Config>) -> Result<Option<(f64, f64)>> {
        match (self, config) {
            (Architecture::Consistency { .. }, _) => Ok(Some(consistency::FACTORS)),
            // What the configuration leaves out has the class's default.
            (Architecture::Kl(_), Some(config)) => Ok(Some((
                config.float("scaling_factor", 0.18215)?,
                config.float("shift_factor", 0.0)?,
            ))),
            _ => Ok(None),
        }
    }

    /// Whose encoder it has: part of the encoder's fingerprint.
    pub(super) fn encoder_family(&self) -> Family {
        match self {
            Architecture::Kl(_) | Architecture::Consistency { .. } => Family::Kl,
            Architecture::Tiny { .. } => Family::Tiny,
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
            Architecture::Consistency { .. } => ConsistencyUnet::latent(),
        }
    }

    /// The configuration as the manifest keeps it.
    pub(super) fn config(&self) -> Json {
        match self {
            Architecture::Kl(kl) => kl.to_json(),
            Architecture::Tiny { stacks, .. } => stacks.to_json(),
            Architecture::Consistency { unet, encoder } => {
                let mut config = unet.to_json();
                if let Some(encoder) = encoder {
                    config["encoder"] = encoder.to_json();
                }
                config
            }
        }
    }

    /// What of the configuration the encoder's result depends on: part of its fingerprint.
    pub(super) fn encoder_config(&self) -> Json {
        let mut config = match self {
            Architecture::Consistency {
                encoder: Some(encoder),
                ..
            } => encoder.to_json(),
            _ => self.config(),
        };
        if let Some(keys) = config.as_object_mut() {
            keys.retain(|key, _| !matches!(key.as_str(), "use_post_quant_conv" | "decoder"));
        }
        config
    }

    pub(super) fn encoder(&self, tensors: &Tensors, form: Form) -> Result<Written> {
        match self {
            Architecture::Kl(kl) => kl.encoder(tensors, form),
            Architecture::Tiny { stacks, .. } => stacks.encoder(tensors, form),
            Architecture::Consistency { encoder, .. } => match encoder {
                Some(encoder) => encoder.encoder(tensors, form),
                None => Err(Error::invalid("the weights have no encoder")),
            },
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
            Architecture::Consistency { unet, .. } => unet.decoder(tensors, form),
        }
    }
}
