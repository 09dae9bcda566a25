//! The layers that autoencoders are made of, as ONNX nodes.
//!
//! Invariant: each computes what torch's layer of the same name computes, in standard operators.

use super::builder::{Builder, Value, Written, cells, int, ints};
use super::proto::{ValueInfo, element};
use crate::error::Result;

/// Names of inputs and outputs of every graph written here.
pub(in crate::model) const PIXELS: &str = "pixels";
pub(in crate::model) const LATENT: &str = "latent";
/// An f16 decoder's second output: finite if nothing overflowed.
pub(in crate::model) const CHECK: &str = "latentdb.check";
/// What graphs for tiles take besides: means of all groups of all norms, then their variances, [2, groups], and
/// whether norms take their own instead, [1]. `NORMS_USED` is what they took.
pub(in crate::model) const NORMS: &str = "latentdb.norms";
pub(in crate::model) const OWN_NORMS: &str = "latentdb.own_norms";
pub(in crate::model) const NORMS_USED: &str = "latentdb.norms_used";
/// The f32 or f16 values that the last cast rounds: the unscaled posterior mean.
#[cfg(test)]
pub(in crate::model) const MEAN: &str = "mean";
/// The decoded image, NCHW, 0 to 1 and beyond, before it is clipped and rounded.
#[cfg(test)]
pub(in crate::model) const IMAGE: &str = "image";

/// A convolution's shape.
#[derive(Debug, Clone, Copy)]
pub(in crate::model) struct Conv {
    pub(in crate::model) kernel: u64,
    pub(in crate::model) stride: u64,
    /// Top, left, bottom, right.
    pub(in crate::model) pads: [i64; 4],
    pub(in crate::model) bias: bool,
}

impl Conv {
    /// 3x3, keeps the size.
    pub(in crate::model) const SAME: Conv = Conv {
        kernel: 3,
        stride: 1,
        pads: [1; 4],
        bias: true,
    };
    /// 1x1.
    pub(in crate::model) const POINT: Conv = Conv {
        kernel: 1,
        stride: 1,
        pads: [0; 4],
        bias: true,
    };

    pub(in crate::model) const fn without_bias(self) -> Self {
        Self {
            bias: false,
            ..self
        }
    }
}

impl Builder<'_> {
    /// The graph's input as an image of `low` to `high`, NCHW.
    pub(in crate::model) fn pixels_input(&mut self, low: f32, high: f32) -> Value {
        let pixels = self.cast(PIXELS, element::U8, self.compute());
        let planes = self.node("Transpose", &[&pixels], vec![ints("perm", &[0, 3, 1, 2])]);
        let value = Value {
            name: planes,
            channels: 3,
            step: 1,
            part: None,
        };
        self.affine(&value, (high - low) / 255.0, low)
    }

    /// The graph's input, a latent of one cell for `ratio` x `ratio` pixels.
    pub(in crate::model) fn latent_input(&mut self, channels: u64, ratio: u64) -> Value {
        self.extent(LATENT, channels, ratio);
        Value {
            name: self.cast(LATENT, element::F16, self.compute()),
            channels,
            step: ratio,
            part: None,
        }
    }

    /// Finishes an encoder whose result is the posterior mean `mean`.
    pub(in crate::model) fn finish_encoder(mut self, mean: &Value) -> Written {
        self.node_to("Identity", &[&mean.name], vec![], "mean");
        self.node_to(
            "Cast",
            &["mean"],
            vec![int("to", i64::from(element::F16))],
            LATENT,
        );
        let channels = mean.channels.to_string();
        self.finish(
            "encoder",
            vec![ValueInfo::tensor(
                PIXELS,
                element::U8,
                &["batch", "height", "width", "3"],
            )],
            vec![ValueInfo::tensor(
                LATENT,
                element::F16,
                &["batch", &channels, "rows", "columns"],
            )],
        )
    }

    /// Finishes a decoder whose result `image` goes from `low` to `high`.
    pub(in crate::model) fn finish_decoder(
        mut self,
        image: &Value,
        channels: u64,
        (low, high): (f32, f32),
    ) -> Written {
        let span = high - low;
        let unit = self.affine(image, 1.0 / span, -low / span);
        self.node_to("Identity", &[&unit.name], vec![], "image");
        let (zero, one, most) = (self.number(0.0), self.number(1.0), self.number(255.0));
        let clipped = self.node("Clip", &["image", &zero, &one], vec![]);
        let bytes = self.node("Mul", &[&clipped, &most], vec![]);
        let rounded = self.node("Round", &[&bytes], vec![]);
        let cast = self.node("Cast", &[&rounded], vec![int("to", i64::from(element::U8))]);
        self.node_to(
            "Transpose",
            &[&cast],
            vec![ints("perm", &[0, 2, 3, 1])],
            PIXELS,
        );
        let mut outputs = vec![ValueInfo::tensor(
            PIXELS,
            element::U8,
            &["batch", "height", "width", "3"],
        )];
        if self.compute() == element::F16 {
            // Bytes can't show an overflow. Zero times infinity or no number is no number, and a sum keeps it.
            let nothing = self.node("Mul", &["image", &zero], vec![]);
            let sum = self.node("ReduceSum", &[&nothing], vec![int("keepdims", 0)]);
            let to = int("to", i64::from(element::F32));
            self.node_to("Cast", &[&sum], vec![to], CHECK);
            outputs.push(ValueInfo::tensor(CHECK, element::F32, &[]));
        }
        let channels = channels.to_string();
        self.finish(
            "decoder",
            vec![ValueInfo::tensor(
                LATENT,
                element::F16,
                &["batch", &channels, "rows", "columns"],
            )],
            outputs,
        )
    }

    /// `x * factor + shift`.
    pub(in crate::model) fn affine(&mut self, x: &Value, factor: f32, shift: f32) -> Value {
        let mut name = x.name.clone();
        for (op, constant, neutral) in [("Mul", factor, 1.0), ("Add", shift, 0.0)] {
            if (constant - neutral).abs() > 0.0 {
                let constant = self.number(constant);
                name = self.node(op, &[&name, &constant], vec![]);
            }
        }
        Value { name, ..x.clone() }
    }

    /// A node of one input and the same shape.
    fn map(&mut self, op_type: &str, x: &Value) -> Value {
        let name = self.node(op_type, &[&x.name], vec![]);
        Value { name, ..x.clone() }
    }

    pub(in crate::model) fn relu(&mut self, x: &Value) -> Value {
        self.map("Relu", x)
    }

    pub(in crate::model) fn tanh(&mut self, x: &Value) -> Value {
        self.map("Tanh", x)
    }

    /// `x * sigmoid(x)`.
    pub(in crate::model) fn silu(&mut self, x: &Value) -> Value {
        let gate = self.map("Sigmoid", x);
        let name = self.node("Mul", &[&x.name, &gate.name], vec![]);
        Value { name, ..x.clone() }
    }

    pub(in crate::model) fn add(&mut self, a: &Value, b: &Value) -> Value {
        let name = self.node("Add", &[&a.name, &b.name], vec![]);
        Value { name, ..a.clone() }
    }

    /// A convolution to `channels` with the weights `NAME.weight` and `NAME.bias`.
    pub(in crate::model) fn conv(
        &mut self,
        name: &str,
        x: &Value,
        channels: u64,
        conv: Conv,
    ) -> Result<Value> {
        self.conv_rows(name, x, channels, channels, conv)
    }

    /// The first `rows` output channels of a convolution to `channels`. Of a part of its input it
    /// makes what that adds to the result.
    pub(in crate::model) fn conv_rows(
        &mut self,
        name: &str,
        x: &Value,
        channels: u64,
        rows: u64,
        conv: Conv,
    ) -> Result<Value> {
        let side = conv.kernel;
        let weight = self.weight_as(
            &format!("{name}.weight"),
            &[channels, x.whole(), side, side],
            &[rows, x.whole(), side, side],
        )?;
        let weight = self.part_of(weight, 1, x);
        let bias = if conv.bias {
            Some(self.weight_as(&format!("{name}.bias"), &[channels], &[rows])?)
        } else {
            None
        };
        let mut inputs = vec![x.name.as_str(), &weight];
        inputs.extend(bias.as_deref());
        let attributes = vec![
            ints("kernel_shape", &[side.cast_signed(); 2]),
            ints("strides", &[conv.stride.cast_signed(); 2]),
            ints("pads", &conv.pads),
        ];
        let value = Value {
            name: self.node("Conv", &inputs, attributes),
            channels: rows,
            step: x.step * conv.stride,
            part: None,
        };
        self.extent(&value.name, rows, value.step);
        self.count(&value, (rows * x.channels * side * side) as f64);
        Ok(value)
    }

    /// Self-attention of one head over all cells, with the weights `NAME.to_q`, `to_k`, `to_v` and
    /// `to_out.0`, of an `x` that is normalised already.
    pub(in crate::model) fn attention(&mut self, name: &str, x: &Value) -> Result<Value> {
        let channels = x.channels;
        let project = |builder: &mut Self, part: &str, input: &Value| {
            let weight = builder.weight_as(
                &format!("{name}.{part}.weight"),
                &[channels, channels],
                &[channels, channels, 1, 1],
            )?;
            let bias = builder.weight(&format!("{name}.{part}.bias"), &[channels])?;
            builder.count(input, (channels * channels) as f64);
            let output = builder.node("Conv", &[&input.name, &weight, &bias], vec![]);
            Ok::<_, crate::Error>(Value {
                name: output,
                ..input.clone()
            })
        };
        let query = project(self, "to_q", x)?;
        let key = project(self, "to_k", x)?;
        let value = project(self, "to_v", x)?;
        // Scores, then their weighted sum of values.
        self.count(x, 2.0 * channels as f64 * cells(x));
        let attended = self.attend(&query, &key, &value);
        project(self, "to_out.0", &attended)
    }
}
