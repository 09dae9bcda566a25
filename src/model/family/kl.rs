//! `AutoencoderKL`: the autoencoder of Stable Diffusion 1 to 3 and FLUX.1, as diffusers names its tensors.
//!
//! Invariant: the graph computes what diffusers' class of that name computes with the same configuration; what the
//! configuration says and this doesn't know is refused.

use serde_json::{Value as Json, json};

use super::config::{Config, are_plausible};
use crate::error::{Error, Result};
use crate::model::Precision;
use crate::model::onnx::{Builder, Conv, Form, Value, Written};
use crate::model::weights::Tensors;

/// The epsilon of every GroupNorm in the class.
const EPSILON: f32 = 1e-6;

/// Groups of every GroupNorm where no configuration says otherwise: a constant of the original code.
const DEFAULT_GROUPS: u64 = 32;

/// Pixels go in and come out in this range.
const RANGE: (f32, f32) = (-1.0, 1.0);

/// The class's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::model) struct AutoencoderKl {
    /// Channels of each level, from the image inwards.
    widths: Vec<u64>,
    layers_per_block: u64,
    pub(super) latent_channels: u64,
    groups: u64,
    quant_conv: bool,
    post_quant_conv: bool,
    mid_attention: bool,
}

impl AutoencoderKl {
    /// Reads diffusers' `config.json`.
    pub(super) fn from_config(config: &Config) -> Result<Self> {
        config.expect("in_channels", &json!(3))?;
        config.expect("out_channels", &json!(3))?;
        config.expect("act_fn", &json!("silu"))?;
        let widths = config.numbers("block_out_channels", &[64])?;
        for (key, only) in [
            ("down_block_types", "DownEncoderBlock2D"),
            ("up_block_types", "UpDecoderBlock2D"),
        ] {
            config.expect(key, &json!(vec![only; widths.len()]))?;
        }
        Ok(Self {
            layers_per_block: config.number("layers_per_block", 1)?,
            latent_channels: config.number("latent_channels", 4)?,
            groups: config.number("norm_num_groups", DEFAULT_GROUPS)?,
            quant_conv: config.flag("use_quant_conv", true)?,
            post_quant_conv: config.flag("use_post_quant_conv", true)?,
            mid_attention: config.flag("mid_block_add_attention", true)?,
            widths,
        })
    }

    /// Reads the encoder of a `ConsistencyDecoderVAE` off its `config.json`.
    pub(super) fn encoder_from_config(config: &Config) -> Result<Self> {
        let widths = config.numbers("encoder_block_out_channels", &[128, 256, 512, 512])?;
        for (key, only) in [
            ("encoder_in_channels", json!(3)),
            ("encoder_act_fn", json!("silu")),
            ("encoder_double_z", json!(true)),
            (
                "encoder_down_block_types",
                json!(vec!["DownEncoderBlock2D"; widths.len()]),
            ),
        ] {
            config.expect(key, &only)?;
        }
        Ok(Self {
            layers_per_block: config.number("encoder_layers_per_block", 2)?,
            latent_channels: config.number("encoder_out_channels", 4)?,
            groups: config.number("encoder_norm_num_groups", DEFAULT_GROUPS)?,
            quant_conv: true,
            post_quant_conv: false,
            mid_attention: true,
            widths,
        })
    }

    /// Reads the configuration off the tensors, where no `config.json` says it.
    pub(super) fn from_tensors(tensors: &Tensors) -> Result<Self> {
        let side = ["encoder", "decoder"]
            .into_iter()
            .find(|side| tensors.contains_key(&format!("{side}.conv_in.weight")))
            .ok_or_else(|| Error::invalid("the weights have neither encoder nor decoder"))?;
        let rows = |name: &str| tensors.get(name).and_then(|t| t.dims.first()).copied();
        let count = |name: &dyn Fn(u64) -> String| {
            (0..tensors.len() as u64)
                .take_while(|n| tensors.contains_key(&name(*n)))
                .count() as u64
        };
        let blocks = if side == "encoder" { "down" } else { "up" };
        let resnet = |level: u64, layer: u64, part: &str| {
            format!("{side}.{blocks}_blocks.{level}.resnets.{layer}.{part}.weight")
        };
        let levels = count(&|level| resnet(level, 0, "conv1"));
        let layers = count(&|layer| resnet(0, layer, "conv1"));
        let mut widths: Vec<u64> = (0..levels)
            .filter_map(|level| rows(&resnet(level, 0, "conv1")))
            .collect();
        let latent_channels = if side == "encoder" {
            rows("encoder.conv_out.weight").map(|moments| moments / 2)
        } else {
            // The decoder counts from the latent outwards, and has one layer more.
            widths.reverse();
            let first = tensors.get("decoder.conv_in.weight");
            first.and_then(|t| t.dims.get(1)).copied()
        };
        let layers_per_block = layers - u64::from(side == "decoder" && layers > 0);
        let latent_channels = latent_channels.filter(|n| *n > 0 && layers_per_block > 0);
        Ok(Self {
            widths,
            layers_per_block,
            latent_channels: latent_channels
                .ok_or_else(|| Error::invalid(format!("the {side}'s layers are incomplete")))?,
            groups: DEFAULT_GROUPS,
            quant_conv: tensors.contains_key("quant_conv.weight"),
            post_quant_conv: tensors.contains_key("post_quant_conv.weight"),
            mid_attention: tensors
                .contains_key(&format!("{side}.mid_block.attentions.0.group_norm.weight")),
        })
    }

    /// The configuration as the manifest keeps it, the same whichever way it was read.
    pub(super) fn to_json(&self) -> Json {
        json!({
            "block_out_channels": self.widths,
            "latent_channels": self.latent_channels,
            "layers_per_block": self.layers_per_block,
            "mid_block_add_attention": self.mid_attention,
            "norm_num_groups": self.groups,
            "use_post_quant_conv": self.post_quant_conv,
            "use_quant_conv": self.quant_conv,
        })
    }

    /// Pixels a latent cell covers along each side: every level but the last halves.
    pub(super) fn ratio(&self) -> u64 {
        1 << self.widths.len().saturating_sub(1)
    }

    /// Refuses what no graph can be written for, before anything is multiplied.
    pub(super) fn check(&self) -> Result<()> {
        let plausible = (1..=8).contains(&self.widths.len())
            && (1..=1024).contains(&self.latent_channels)
            && are_plausible(&self.widths, self.layers_per_block, self.groups);
        if plausible {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "no AutoencoderKL has the configuration {}",
            self.to_json()
        )))
    }

    /// The encoder: pixels to the posterior mean.
    pub(super) fn encoder(&self, tensors: &Tensors, form: Form) -> Result<Written> {
        let mut builder = Builder::new(tensors, form);
        let mut x = builder.pixels_input(RANGE.0, RANGE.1);
        x = builder.conv("encoder.conv_in", &x, self.widths[0], Conv::SAME)?;
        for (level, width) in self.widths.iter().enumerate() {
            let block = format!("encoder.down_blocks.{level}");
            for layer in 0..self.layers_per_block {
                x = self.resnet(
                    &mut builder,
                    &format!("{block}.resnets.{layer}"),
                    &x,
                    *width,
                )?;
            }
            if level + 1 < self.widths.len() {
                // diffusers pads the right and the bottom only.
                let halve = Conv {
                    stride: 2,
                    pads: [0, 0, 1, 1],
                    ..Conv::SAME
                };
                x = builder.conv(&format!("{block}.downsamplers.0.conv"), &x, *width, halve)?;
            }
        }
        x = self.mid_block(&mut builder, "encoder", &x)?;
        x = self.norm_silu(&mut builder, "encoder.conv_norm_out", &x)?;
        // Mean and logarithm of the variance, of which only the mean is kept.
        let (mean, moments) = (self.latent_channels, 2 * self.latent_channels);
        if self.quant_conv {
            x = builder.conv("encoder.conv_out", &x, moments, Conv::SAME)?;
            x = builder.conv_rows("quant_conv", &x, moments, mean, Conv::POINT)?;
        } else {
            x = builder.conv_rows("encoder.conv_out", &x, moments, mean, Conv::SAME)?;
        }
        Ok(builder.finish_encoder(&x))
    }

    /// The decoder: a latent to pixels.
    pub(super) fn decoder(&self, tensors: &Tensors, form: Form) -> Result<Written> {
        let mut builder = Builder::new(tensors, form);
        let mut x = builder.latent_input(self.latent_channels, self.ratio());
        if self.post_quant_conv {
            x = builder.conv("post_quant_conv", &x, self.latent_channels, Conv::POINT)?;
        }
        let inmost = *self.widths.last().unwrap_or(&0);
        x = builder.conv("decoder.conv_in", &x, inmost, Conv::SAME)?;
        let mut parts = vec![self.mid_block(&mut builder, "decoder", &x)?];
        for (level, width) in self.widths.iter().rev().enumerate() {
            let block = format!("decoder.up_blocks.{level}");
            for layer in 0..=self.layers_per_block {
                let name = format!("{block}.resnets.{layer}");
                parts = vec![self.resnet_of_parts(&mut builder, &name, &parts, *width)?];
            }
            if level + 1 < self.widths.len() {
                let name = format!("{block}.upsamplers.0.conv");
                let count = self.parts(level, form.precision);
                parts = builder.upsample_conv(&name, &parts[0], *width, true, count)?;
            }
        }
        x = self.norm_silu(&mut builder, "decoder.conv_norm_out", &parts[0])?;
        x = builder.conv("decoder.conv_out", &x, 3, Conv::SAME)?;
        Ok(builder.finish_decoder(&x, self.latent_channels, RANGE))
    }

    /// In how many parts the result of a level's upsampling is made. The largest tensors are those
    /// of the last one, where the next block makes fewer channels of them: in two parts, only half
    /// of them is there a second time, normalised. On GPUs the sums would cost more than the
    /// memory is worth.
    fn parts(&self, level: usize, precision: Precision) -> u64 {
        let is_last = level + 2 == self.widths.len();
        let narrows = self.widths[0] < self.widths[self.widths.len().min(2) - 1];
        let halves = is_last && narrows && self.groups.is_multiple_of(2);
        if halves && precision == Precision::F32 {
            2
        } else {
            1
        }
    }

    fn mid_block(&self, builder: &mut Builder<'_>, side: &str, x: &Value) -> Result<Value> {
        let block = format!("{side}.mid_block");
        let mut x = self.resnet(builder, &format!("{block}.resnets.0"), x, x.channels)?;
        if self.mid_attention {
            let attention = format!("{block}.attentions.0");
            let normed =
                builder.group_norm(&format!("{attention}.group_norm"), &x, self.groups, EPSILON)?;
            let attended = builder.attention(&attention, &normed)?;
            x = builder.add(&attended, &x);
        }
        let width = x.channels;
        self.resnet(builder, &format!("{block}.resnets.1"), &x, width)
    }

    fn norm_silu(&self, builder: &mut Builder<'_>, name: &str, x: &Value) -> Result<Value> {
        let normed = builder.group_norm(name, x, self.groups, EPSILON)?;
        Ok(builder.silu(&normed))
    }

    /// Two convolutions, each after norm and SiLU, and a way around them.
    fn resnet(
        &self,
        builder: &mut Builder<'_>,
        name: &str,
        x: &Value,
        width: u64,
    ) -> Result<Value> {
        self.resnet_of_parts(builder, name, std::slice::from_ref(x), width)
    }

    /// The same over an input that comes in parts of its channels: norms don't mix their groups,
    /// and convolutions add up.
    fn resnet_of_parts(
        &self,
        builder: &mut Builder<'_>,
        name: &str,
        x: &[Value],
        width: u64,
    ) -> Result<Value> {
        // One part after the other, so that only one of them is there normalised.
        let mut inner: Option<Value> = None;
        for part in x {
            let part = self.norm_silu(builder, &format!("{name}.norm1"), part)?;
            let conv1 = format!("{name}.conv1");
            inner = Some(conv_onto(builder, inner, &conv1, &part, width, Conv::SAME)?);
        }
        let mut inner = inner.ok_or_else(|| Error::invalid("a block has no input"))?;
        inner = self.norm_silu(builder, &format!("{name}.norm2"), &inner)?;
        inner = builder.conv(&format!("{name}.conv2"), &inner, width, Conv::SAME)?;
        let mut around: Option<Value> = None;
        for part in x {
            let shortcut = format!("{name}.conv_shortcut");
            around = Some(if part.whole() == width {
                part.clone()
            } else {
                conv_onto(builder, around, &shortcut, part, width, Conv::POINT)?
            });
        }
        let around = around.ok_or_else(|| Error::invalid("a block has no input"))?;
        Ok(builder.add(&around, &inner))
    }
}

/// A convolution of the next part of an input, added to that of the parts before.
fn conv_onto(
    builder: &mut Builder<'_>,
    before: Option<Value>,
    name: &str,
    part: &Value,
    width: u64,
    conv: Conv,
) -> Result<Value> {
    match before {
        None => builder.conv(name, part, width, conv),
        Some(before) => {
            let more = builder.conv(name, part, width, conv.without_bias())?;
            Ok(builder.add(&before, &more))
        }
    }
}
