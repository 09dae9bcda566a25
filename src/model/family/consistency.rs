//! The consistency decoder: the UNet of `ConsistencyDecoderVAE`, as diffusers names its tensors.
//!
//! Invariant: the graph is one evaluation of that UNet, its first three channels, for a latent as it is kept; the
//! steps around it are the sampler's (`model/sampler.rs`).

use serde_json::{Value as Json, json};

use super::config::{Config, are_plausible};
use crate::error::{Error, Result};
use crate::model::onnx::{Builder, Conv, Form, Time, Value, Written};
use crate::model::weights::Tensors;

/// What the UNet's tensors begin with.
pub(in crate::model) const PREFIX: &str = "decoder_unet.";

/// The latent space that the decoder was trained for, and its `scaling_factor`.
pub(super) const FACTORS: (f64, f64) = (0.18215, 0.0);
const LATENT_CHANNELS: u64 = 4;
const RATIO: u64 = 8;

/// Means and deviations of scaled latents, by channel: OpenAI's `ldm_transform_latent`, and diffusers' `means` and
/// `stds`.
const MEANS: [f32; 4] = [0.388_624_67, 0.022_530_63, 0.073_811_33, -0.017_129_4];
const DEVIATIONS: [f32; 4] = [0.965_412_1, 1.044_003_6, 0.761_479_26, 0.770_220_34];

/// Rows of the table of times: the steps of the schedule it was trained with.
const TIMES: u64 = 1024;
const EPSILON: f32 = 1e-5;
const DEFAULT_GROUPS: u64 = 32;

/// The UNet's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) struct ConsistencyUnet {
    /// Channels of each level, from the image inwards.
    widths: Vec<u64>,
    layers_per_block: u64,
    groups: u64,
}

impl ConsistencyUnet {
    /// Reads diffusers' `config.json`.
    pub(super) fn from_config(config: &Config) -> Result<Self> {
        let widths = config.numbers("decoder_block_out_channels", &[320, 640, 1024, 1024])?;
        for (key, only) in [
            ("latent_channels", json!(LATENT_CHANNELS)),
            ("scaling_factor", json!(FACTORS.0)),
            ("decoder_in_channels", json!(3 + LATENT_CHANNELS)),
            ("decoder_out_channels", json!(6)),
            ("decoder_add_attention", json!(false)),
            ("decoder_downsample_padding", json!(1)),
            ("decoder_norm_eps", json!(1e-5)),
            ("decoder_num_train_timesteps", json!(TIMES)),
            ("decoder_resnet_time_scale_shift", json!("scale_shift")),
            ("decoder_time_embedding_type", json!("learned")),
            (
                "decoder_down_block_types",
                json!(vec!["ResnetDownsampleBlock2D"; widths.len()]),
            ),
            (
                "decoder_up_block_types",
                json!(vec!["ResnetUpsampleBlock2D"; widths.len()]),
            ),
        ] {
            config.expect(key, &only)?;
        }
        Ok(Self {
            layers_per_block: config.number("decoder_layers_per_block", 3)?,
            groups: config.number("decoder_norm_num_groups", DEFAULT_GROUPS)?,
            widths,
        })
    }

    /// Reads the configuration off the tensors, where no `config.json` says it.
    pub(super) fn from_tensors(tensors: &Tensors) -> Self {
        let first = |level: u64, layer: u64| {
            let name = format!("{PREFIX}down_blocks.{level}.resnets.{layer}.conv1.weight");
            tensors.get(&name).and_then(|t| t.dims.first()).copied()
        };
        Self {
            widths: (0..).map_while(|level| first(level, 0)).collect(),
            layers_per_block: (0..).map_while(|layer| first(0, layer)).count() as u64,
            groups: DEFAULT_GROUPS,
        }
    }

    pub(super) fn latent() -> (u64, u64) {
        (LATENT_CHANNELS, RATIO)
    }

    /// The configuration as the manifest keeps it, the same whichever way it was read.
    pub(super) fn to_json(&self) -> Json {
        json!({
            "decoder_block_out_channels": self.widths,
            "decoder_layers_per_block": self.layers_per_block,
            "decoder_norm_num_groups": self.groups,
        })
    }

    /// Refuses what no graph can be written for, before anything is multiplied.
    pub(super) fn check(&self) -> Result<()> {
        // Every level but the last halves the image, whose sides are multiples of the ratio.
        let halvings = self.widths.len().saturating_sub(1);
        let plausible = (1..=RATIO.ilog2() as usize).contains(&halvings)
            && are_plausible(&self.widths, self.layers_per_block, self.groups);
        if plausible {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "no consistency decoder has the configuration {}",
            self.to_json()
        )))
    }

    /// One evaluation of the UNet.
    pub(super) fn decoder(&self, tensors: &Tensors, form: Form) -> Result<Written> {
        let outermost = self.widths[0];
        let mut unet = Unet::new(tensors, form, outermost, self.groups)?;
        let latent = unet.latent();
        let noisy = unet.builder.noisy_input();
        let x = unet.builder.concat(&noisy, &latent);
        let x = unet.conv("conv_in", &x, outermost)?;
        // What the way up is given beside what comes from below, the last first.
        let mut kept = vec![x];
        for (level, width) in self.widths.iter().enumerate() {
            let block = format!("down_blocks.{level}");
            for layer in 0..self.layers_per_block {
                let name = format!("{block}.resnets.{layer}");
                kept.push(unet.resnet(&name, last(&kept)?, *width, Resampling::None)?);
            }
            if level + 1 < self.widths.len() {
                let name = format!("{block}.downsamplers.0");
                kept.push(unet.resnet(&name, last(&kept)?, *width, Resampling::Halve)?);
            }
        }
        let mut x = last(&kept)?.clone();
        for layer in 0..2 {
            let width = x.channels;
            x = unet.resnet(
                &format!("mid_block.resnets.{layer}"),
                &x,
                width,
                Resampling::None,
            )?;
        }
        for (level, width) in self.widths.iter().rev().enumerate() {
            let block = format!("up_blocks.{level}");
            for layer in 0..=self.layers_per_block {
                let name = format!("{block}.resnets.{layer}");
                let beside = kept.pop().ok_or_else(unbalanced)?;
                x = unet.builder.concat(&x, &beside);
                x = unet.resnet(&name, &x, *width, Resampling::None)?;
            }
            if level + 1 < self.widths.len() {
                let name = format!("{block}.upsamplers.0");
                x = unet.resnet(&name, &x, *width, Resampling::Double)?;
            }
        }
        let x = unet.norm_silu("conv_norm_out", &x)?;
        let name = format!("{PREFIX}conv_out");
        // The other three are variances, which no step of the sampler needs.
        let x = unet.builder.conv_rows(&name, &x, 6, 3, Conv::SAME)?;
        Ok(unet.builder.finish_denoiser(&x, LATENT_CHANNELS))
    }
}

fn last(kept: &[Value]) -> Result<&Value> {
    kept.last().ok_or_else(unbalanced)
}

fn unbalanced() -> Error {
    Error::invalid("the levels of the UNet don't match")
}

/// What a block does to the size of the image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resampling {
    None,
    Halve,
    Double,
}

/// The graph as it grows.
struct Unet<'a> {
    builder: Builder<'a>,
    groups: u64,
    time: Time,
}

impl<'a> Unet<'a> {
    fn new(tensors: &'a Tensors, form: Form, outermost: u64, groups: u64) -> Result<Self> {
        let mut builder = Builder::new(tensors, form);
        let names = ["time_proj", "time_embedding"].map(|name| format!("{PREFIX}{name}"));
        let widths = (TIMES, outermost, 4 * outermost);
        let time = builder.time((&names[0], &names[1]), widths)?;
        Ok(Self {
            builder,
            groups,
            time,
        })
    }

    /// The latent with mean 0 and deviation 1, at the size of the image.
    fn latent(&mut self) -> Value {
        let latent = self.builder.latent_input(LATENT_CHANNELS, RATIO);
        let factors = DEVIATIONS.map(|deviation| FACTORS.0 as f32 / deviation);
        let mut shifts = MEANS;
        for (shift, deviation) in shifts.iter_mut().zip(DEVIATIONS) {
            *shift /= -deviation;
        }
        let latent = (self.builder).affine_by_channel(&latent, &factors, &shifts);
        self.builder.repeat(&latent, RATIO)
    }

    fn conv(&mut self, name: &str, x: &Value, width: u64) -> Result<Value> {
        self.builder
            .conv(&format!("{PREFIX}{name}"), x, width, Conv::SAME)
    }

    fn norm_silu(&mut self, name: &str, x: &Value) -> Result<Value> {
        let name = format!("{PREFIX}{name}");
        let normed = self.builder.group_norm(&name, x, self.groups, EPSILON)?;
        Ok(self.builder.silu(&normed))
    }

    /// Two convolutions, each after norm and SiLU, the second norm told the time, and a way around them; the size
    /// changes before the first.
    fn resnet(
        &mut self,
        name: &str,
        x: &Value,
        width: u64,
        resampling: Resampling,
    ) -> Result<Value> {
        let inner = self.norm_silu(&format!("{name}.norm1"), x)?;
        let conv1 = format!("{name}.conv1");
        let (inner, x) = match resampling {
            Resampling::None => (self.conv(&conv1, &inner, width)?, x.clone()),
            Resampling::Halve => {
                let inner = self.builder.halve(&inner);
                (self.conv(&conv1, &inner, width)?, self.builder.halve(x))
            }
            Resampling::Double => {
                let name = format!("{PREFIX}{conv1}");
                let inner = self.builder.upsample_conv(&name, &inner, width, true, 1)?;
                (inner[0].clone(), self.builder.repeat(x, 2))
            }
        };
        let projection = format!("{PREFIX}{name}.time_emb_proj");
        let condition = (self.builder).condition(&projection, &self.time, width)?;
        let norm2 = format!("{PREFIX}{name}.norm2");
        let inner = self.builder.conditioned_norm(
            &norm2,
            &inner,
            self.groups,
            EPSILON,
            Some(&condition),
        )?;
        let inner = self.builder.silu(&inner);
        let inner = self.conv(&format!("{name}.conv2"), &inner, width)?;
        let around = if x.channels == width {
            x
        } else {
            let shortcut = format!("{PREFIX}{name}.conv_shortcut");
            self.builder.conv(&shortcut, &x, width, Conv::POINT)?
        };
        Ok(self.builder.add(&around, &inner))
    }
}
