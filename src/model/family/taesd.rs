//! `AutoencoderTiny` and its kin (TAESD, TAESDXL, TAESD3, TAEF1, TAEF2): plain stacks of convolutions and residual
//! blocks, read off the tensors, which carry the numbers of the original code's layers.
//!
//! Invariant: every tensor belongs to a layer that was understood, or the stack is refused.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::config::Config;
use crate::error::{Error, Result};
use crate::model::onnx::{Builder, Conv, Form, Value, Written};
use crate::model::weights::Tensors;

/// Pixels go in and come out in this range; diffusers' class maps its -1 to 1 to it and back.
const RANGE: (f32, f32) = (0.0, 1.0);

/// GroupNorm of a block's pool: groups and epsilon, torch's default.
const POOL_GROUPS: u64 = 4;
const POOL_EPSILON: f32 = 1e-5;

/// The decoder's first layer is `3 tanh(x / 3)`.
const CLAMP: f32 = 3.0;

/// Both halves, as far as they are there.
#[derive(Debug, Clone)]
pub(in crate::model) struct AutoencoderTiny {
    encoder: Option<Vec<Layer>>,
    decoder: Option<Vec<Layer>>,
    /// Latents are kept unscaled, and this class works on `(latent - shift) * scaling`.
    pub(super) scaling: f64,
    pub(super) shift: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layer {
    number: u64,
    kind: Kind,
    /// Channels that come out.
    channels: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Conv { bias: bool },
    Block { pool: bool, skip: bool },
}

impl AutoencoderTiny {
    /// Refuses a `config.json` that asks for what the tensors don't show.
    pub(super) fn check_config(config: &Config) -> Result<()> {
        for (key, only) in [
            ("in_channels", json!(3)),
            ("out_channels", json!(3)),
            ("act_fn", json!("relu")),
            ("upsample_fn", json!("nearest")),
            ("upsampling_scaling_factor", json!(2)),
        ] {
            config.expect(key, &only)?;
        }
        Ok(())
    }

    /// Reads the layers off the tensors; the factors are those of no scaling.
    pub(super) fn from_tensors(tensors: &Tensors) -> Result<Self> {
        Ok(Self {
            encoder: layers(tensors, "encoder.")?,
            decoder: layers(tensors, "decoder.")?,
            scaling: 1.0,
            shift: 0.0,
        })
    }

    /// What the tensors say of the latent: its channels and the pixels a cell covers along a side.
    pub(super) fn latent(tensors: &Tensors) -> Result<(u64, u64)> {
        let both = [
            layers(tensors, "encoder.")?.map(|stack| {
                let channels = stack.last().map_or(0, |layer| layer.channels);
                (channels, 1 << halvings(&stack))
            }),
            layers(tensors, "decoder.")?.map(|stack| {
                let number = stack.first().map_or(0, |layer| layer.number);
                let first = tensors.get(&format!("decoder.{number}.weight"));
                let channels = first.and_then(|t| t.dims.get(1)).copied().unwrap_or(0);
                (channels, 1 << halvings(&stack))
            }),
        ];
        match both {
            [Some(one), Some(other)] if one != other => Err(Error::invalid(format!(
                "encoder and decoder don't fit: {} channels at f{}, and {} channels at f{}",
                one.0, one.1, other.0, other.1
            ))),
            [Some(latent), _] | [None, Some(latent)] => Ok(latent),
            [None, None] => Err(Error::invalid("the weights have no layers")),
        }
    }

    /// The configuration as the manifest keeps it.
    pub(super) fn to_json(&self) -> Json {
        let stack = |layers: &Option<Vec<Layer>>| {
            let name = |layer: &Layer| match layer.kind {
                Kind::Conv { .. } => format!("conv {}", layer.channels),
                Kind::Block { pool: false, .. } => format!("block {}", layer.channels),
                Kind::Block { pool: true, .. } => format!("pooled block {}", layer.channels),
            };
            layers
                .as_ref()
                .map(|stack| stack.iter().map(name).collect::<Vec<_>>())
        };
        json!({
            "decoder": stack(&self.decoder),
            "encoder": stack(&self.encoder),
            "scaling_factor": self.scaling,
            "shift_factor": self.shift,
        })
    }

    /// The encoder: pixels to an unscaled latent.
    pub(super) fn encoder(&self, tensors: &Tensors, form: Form) -> Result<Written> {
        let mut builder = Builder::new(tensors, form);
        let mut x = builder.pixels_input(RANGE.0, RANGE.1);
        let stack = self.encoder.as_deref().unwrap_or_default();
        for (at, layer) in stack.iter().enumerate() {
            let halves = matches!(layer.kind, Kind::Conv { .. }) && between(at, stack);
            let stride = if halves { 2 } else { 1 };
            x = run(&mut builder, "encoder", layer, &x, stride)?;
        }
        // stored = scaled / scaling + shift
        let x = builder.affine(&x, (1.0 / self.scaling) as f32, self.shift as f32);
        Ok(builder.finish_encoder(&x))
    }

    /// The decoder: an unscaled latent to pixels.
    pub(super) fn decoder(
        &self,
        tensors: &Tensors,
        (channels, ratio): (u64, u64),
        form: Form,
    ) -> Result<Written> {
        let mut builder = Builder::new(tensors, form);
        let mut x = builder.latent_input(channels, ratio);
        let (scaling, shift) = (self.scaling as f32, self.shift as f32);
        x = builder.affine(&x, scaling / CLAMP, -shift * scaling / CLAMP);
        x = builder.tanh(&x);
        x = builder.affine(&x, CLAMP, 0.0);
        let stack = self.decoder.as_deref().unwrap_or_default();
        for (at, layer) in stack.iter().enumerate() {
            x = match layer.kind {
                Kind::Conv { bias } if between(at, stack) => {
                    let name = format!("decoder.{}", layer.number);
                    let mut whole = builder.upsample_conv(&name, &x, layer.channels, bias, 1)?;
                    whole.swap_remove(0)
                }
                _ => run(&mut builder, "decoder", layer, &x, 1)?,
            };
            if at == 0 {
                x = builder.relu(&x);
            }
        }
        Ok(builder.finish_decoder(&x, channels, RANGE))
    }
}

/// Whether the layer at `at` is neither the first nor the last: there, a convolution changes the size.
fn between(at: usize, stack: &[Layer]) -> bool {
    at > 0 && at + 1 < stack.len()
}

fn halvings(stack: &[Layer]) -> u32 {
    let convs = stack
        .iter()
        .filter(|layer| matches!(layer.kind, Kind::Conv { .. }));
    // Of a plausible stack: `layers` has seen to it that the first and the last are convolutions.
    convs.count().saturating_sub(2) as u32
}

/// The layers whose tensors begin with `prefix`; `None` if there are none.
fn layers(tensors: &Tensors, prefix: &str) -> Result<Option<Vec<Layer>>> {
    let mut parts: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for name in tensors.keys().filter_map(|name| name.strip_prefix(prefix)) {
        let numbered = name
            .split_once('.')
            .and_then(|(number, part)| Some((number.parse::<u64>().ok()?, part)));
        let (number, part) = numbered.ok_or_else(|| unknown(prefix, name))?;
        parts.entry(number).or_default().push(part);
    }
    if parts.is_empty() {
        return Ok(None);
    }
    let mut stack = Vec::new();
    for (number, parts) in &parts {
        let has = |part: &str| parts.contains(&part);
        let known = |part: &&str| {
            let (layer, _) = part.rsplit_once('.').unwrap_or(("", part));
            matches!(
                layer,
                "" | "conv.0" | "conv.2" | "conv.4" | "skip" | "pool.0" | "pool.1" | "pool.3"
            )
        };
        if let Some(part) = parts.iter().find(|part| !known(part)) {
            return Err(unknown(prefix, &format!("{number}.{part}")));
        }
        let (kind, last) = if has("weight") {
            let kind = Kind::Conv { bias: has("bias") };
            (kind, "weight")
        } else {
            let kind = Kind::Block {
                pool: has("pool.0.weight"),
                skip: has("skip.weight"),
            };
            (kind, "conv.4.weight")
        };
        let name = format!("{prefix}{number}.{last}");
        let tensor = tensors.get(&name);
        let channels = tensor.and_then(|tensor| tensor.dims.first()).copied();
        stack.push(Layer {
            number: *number,
            kind,
            channels: channels.ok_or_else(|| unknown(prefix, &format!("{number}.{}", parts[0])))?,
        });
    }
    let ends = [stack.first(), stack.last()];
    let plausible = (2..=128).contains(&stack.len())
        && halvings(&stack) <= 8
        && ends
            .iter()
            .flatten()
            .all(|layer| matches!(layer.kind, Kind::Conv { .. }));
    if !plausible {
        return Err(Error::invalid(format!(
            "the {} is no stack of convolutions and blocks as TAESD has them",
            prefix.trim_end_matches('.')
        )));
    }
    Ok(Some(stack))
}

fn unknown(prefix: &str, name: &str) -> Error {
    Error::invalid(format!(
        "the tensor `{prefix}{name}` belongs to no layer that TAESD and its kin have"
    ))
}

fn run(
    builder: &mut Builder<'_>,
    side: &str,
    layer: &Layer,
    x: &Value,
    stride: u64,
) -> Result<Value> {
    let name = format!("{side}.{}", layer.number);
    let width = layer.channels;
    let (pool, skip) = match layer.kind {
        Kind::Conv { bias } => {
            let conv = Conv {
                stride,
                bias,
                ..Conv::SAME
            };
            return builder.conv(&name, x, width, conv);
        }
        Kind::Block { pool, skip } => (pool, skip),
    };
    let point = Conv::POINT.without_bias();
    let mut x = x.clone();
    if pool {
        let wide = 4 * x.channels;
        let mut inner = builder.conv(&format!("{name}.pool.0"), &x, wide, point)?;
        inner = builder.group_norm(&format!("{name}.pool.1"), &inner, POOL_GROUPS, POOL_EPSILON)?;
        inner = builder.relu(&inner);
        inner = builder.conv(&format!("{name}.pool.3"), &inner, x.channels, point)?;
        x = builder.add(&x, &inner);
    }
    let mut inner = x.clone();
    for part in ["conv.0", "conv.2", "conv.4"] {
        if part != "conv.0" {
            inner = builder.relu(&inner);
        }
        inner = builder.conv(&format!("{name}.{part}"), &inner, width, Conv::SAME)?;
    }
    let around = if skip {
        builder.conv(&format!("{name}.skip"), &x, width, point)?
    } else {
        x
    };
    let sum = builder.add(&inner, &around);
    Ok(builder.relu(&sum))
}
