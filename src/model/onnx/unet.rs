//! What a denoising UNet has beside the layers of an autoencoder: a noisy image, the time of a step, halving and
//! doubling without a convolution of their own.
//!
//! Invariant: the time is one for a whole batch, so that what follows from it is a vector of channels and never as
//! large as an image.

use super::builder::{Builder, Value, Written, int, ints, string};
use super::layers::LATENT;
use super::proto::{ValueInfo, element};
use crate::error::Result;

/// The noisy image that goes in, f32, NCHW, and what comes out for it.
pub(in crate::model) const NOISY: &str = "noisy";
pub(in crate::model) const OUTPUT: &str = "output";
/// The number of the step's time, i64, [1].
pub(in crate::model) const TIMESTEP: &str = "timestep";

/// What follows from a step's time: a name in the graph, `[1, width]`.
#[derive(Debug, Clone)]
pub(in crate::model) struct Time {
    name: String,
    width: u64,
}

/// What a norm's result is multiplied with and has added to it, by channel: `[channels]` each.
#[derive(Debug, Clone)]
pub(in crate::model) struct Condition {
    /// Less one: 0 leaves the result as it is.
    pub(super) scale: String,
    pub(super) shift: String,
}

impl Builder<'_> {
    /// The noisy image, of three channels.
    pub(in crate::model) fn noisy_input(&mut self) -> Value {
        Value {
            name: self.cast(NOISY, element::F32, self.compute()),
            channels: 3,
            step: 1,
            part: None,
        }
    }

    /// The embedding of the step's time: row TIMESTEP of `TABLE.weight`, which has `rows` of `from` values, through
    /// `EMBEDDING.linear_1`, SiLU, `EMBEDDING.linear_2` and another SiLU, which every use of it begins with.
    pub(in crate::model) fn time(
        &mut self,
        (table, embedding): (&str, &str),
        (rows, from, to): (u64, u64, u64),
    ) -> Result<Time> {
        let table = self.weight(&format!("{table}.weight"), &[rows, from])?;
        let name = self.node("Gather", &[&table, TIMESTEP], vec![int("axis", 0)]);
        let row = Time { name, width: from };
        let hidden = self.linear(&format!("{embedding}.linear_1"), &row, to)?;
        let hidden = self.silu_of_time(&hidden);
        let time = self.linear(&format!("{embedding}.linear_2"), &hidden, to)?;
        Ok(self.silu_of_time(&time))
    }

    /// `NAME.weight` of `[2 * channels, width]` makes of the time a scale for each channel, then a shift for each.
    pub(in crate::model) fn condition(
        &mut self,
        name: &str,
        time: &Time,
        channels: u64,
    ) -> Result<Condition> {
        let both = self.linear(name, time, 2 * channels)?;
        let flat = self.int_constant(&[-1]);
        let both = self.node("Reshape", &[&both.name, &flat], vec![]);
        Ok(Condition {
            scale: self.slice(&both, 0, 0, channels),
            shift: self.slice(&both, 0, channels, 2 * channels),
        })
    }

    fn linear(&mut self, name: &str, x: &Time, to: u64) -> Result<Time> {
        let weight = self.weight(&format!("{name}.weight"), &[to, x.width])?;
        let bias = self.weight(&format!("{name}.bias"), &[to])?;
        let name = self.node("Gemm", &[&x.name, &weight, &bias], vec![int("transB", 1)]);
        Ok(Time { name, width: to })
    }

    fn silu_of_time(&mut self, x: &Time) -> Time {
        let gate = self.node("Sigmoid", &[&x.name], vec![]);
        let name = self.node("Mul", &[&x.name, &gate], vec![]);
        Time { name, ..*x }
    }

    /// Channel c as `x * factors[c] + shifts[c]`.
    pub(in crate::model) fn affine_by_channel(
        &mut self,
        x: &Value,
        factors: &[f32],
        shifts: &[f32],
    ) -> Value {
        let mut name = x.name.clone();
        for (op, constants) in [("Mul", factors), ("Add", shifts)] {
            let constants = self.by_channel(constants);
            name = self.node(op, &[&name, &constants], vec![]);
        }
        Value { name, ..x.clone() }
    }

    /// The channels of `a`, then those of `b`.
    pub(in crate::model) fn concat(&mut self, a: &Value, b: &Value) -> Value {
        Value {
            name: self.node("Concat", &[&a.name, &b.name], vec![int("axis", 1)]),
            channels: a.channels + b.channels,
            ..a.clone()
        }
    }

    /// The means of 2x2 cells.
    pub(in crate::model) fn halve(&mut self, x: &Value) -> Value {
        let attributes = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
        let value = Value {
            name: self.node("AveragePool", &[&x.name], attributes),
            step: 2 * x.step,
            ..x.clone()
        };
        self.extent(&value.name, value.channels, value.step);
        value
    }

    /// Every cell repeated `times` x `times`.
    pub(in crate::model) fn repeat(&mut self, x: &Value, times: u64) -> Value {
        let scales = [1.0, 1.0, times as f32, times as f32];
        let scales = self.f32_constant(&scales);
        let attributes = vec![
            string("mode", "nearest"),
            string("coordinate_transformation_mode", "asymmetric"),
            string("nearest_mode", "floor"),
        ];
        let value = Value {
            name: self.node("Resize", &[&x.name, "", &scales], attributes),
            step: x.step / times,
            ..x.clone()
        };
        self.extent(&value.name, value.channels, value.step);
        value
    }

    /// Finishes a denoiser whose result is `output`, and whose latent has `channels`.
    pub(in crate::model) fn finish_denoiser(mut self, output: &Value, channels: u64) -> Written {
        if self.compute() == element::F32 {
            self.node_to("Identity", &[&output.name], vec![], OUTPUT);
        } else {
            let to = int("to", i64::from(element::F32));
            self.node_to("Cast", &[&output.name], vec![to], OUTPUT);
        }
        let image =
            |name| ValueInfo::tensor(name, element::F32, &["batch", "3", "height", "width"]);
        let latent = ["batch", &channels.to_string(), "rows", "columns"];
        self.finish(
            "denoiser",
            vec![
                image(NOISY),
                ValueInfo::tensor(LATENT, element::F16, &latent),
                ValueInfo::tensor(TIMESTEP, element::I64, &["1"]),
            ],
            vec![image(OUTPUT)],
        )
    }
}
