//! GroupNorm, which ONNX Runtime has no kernel for on CPUs.
//!
//! Invariant: sums over millions of cells are made of sums over rows, because one plain sum in f32 loses
//! digits: as InstanceNormalization the encoder of SD was 3e-5 off at 512x512.

use super::builder::{Builder, Value, float, int};
use super::proto::element;
use crate::error::Result;

impl Builder<'_> {
    /// GroupNorm with the weights `NAME.weight` and `NAME.bias`. A part of the channels must hold
    /// whole groups; `groups` counts those of all.
    pub(in crate::model) fn group_norm(
        &mut self,
        name: &str,
        x: &Value,
        groups: u64,
        epsilon: f32,
    ) -> Result<Value> {
        let groups = groups * x.channels / x.whole();
        let channels = [x.whole()];
        let scale = self.weight(&format!("{name}.weight"), &channels)?;
        let scale = self.part_of(scale, 0, x);
        let shift = self.weight(&format!("{name}.bias"), &channels)?;
        let shift = self.part_of(shift, 0, x);
        let name = if self.compute() == element::F16 {
            self.norm_f16(x, groups, epsilon, [&scale, &shift])
        } else {
            self.norm_f32(x, groups, epsilon, [&scale, &shift])
        };
        Ok(Value { name, ..x.clone() })
    }

    /// By InstanceNormalization, which sums in f32 where its values are f16; sums of squares in f16
    /// would overflow.
    fn norm_f16(&mut self, x: &Value, groups: u64, epsilon: f32, affine: [&str; 2]) -> String {
        let (ones, zeros) = (self.repeated(1.0, groups), self.repeated(0.0, groups));
        let shape = self.node("Shape", &[&x.name], vec![]);
        let grouped = self.int_constant(&[0, groups.cast_signed(), -1]);
        let rows = self.node("Reshape", &[&x.name, &grouped], vec![]);
        let epsilon = vec![float("epsilon", epsilon)];
        let normed = self.node("InstanceNormalization", &[&rows, &ones, &zeros], epsilon);
        let back = self.node("Reshape", &[&normed, &shape], vec![]);
        // With mean 0 and variance 1 all that is left of it is scale and shift, in one pass over memory where Mul
        // and Add take two.
        let (mean, variance) = (
            self.repeated(0.0, x.channels),
            self.repeated(1.0, x.channels),
        );
        let inputs: [&str; 5] = [&back, affine[0], affine[1], &mean, &variance];
        self.node("BatchNormalization", &inputs, vec![float("epsilon", 0.0)])
    }

    /// By mean and variance over rows, then over the rows of a group, and a BatchNormalization that is given them.
    fn norm_f32(&mut self, x: &Value, groups: u64, epsilon: f32, affine: [&str; 2]) -> String {
        let groups = groups.cast_signed();
        let each = x.channels.cast_signed() / groups;
        let shape = self.node("Shape", &[&x.name], vec![]);
        let part = |builder: &mut Self, start: i64, end: i64| {
            let attributes = vec![int("start", start), int("end", end)];
            builder.node("Shape", &[&x.name], attributes)
        };
        let (batch, width) = (part(self, 0, 1), part(self, 3, 4));
        let (first, second, last) = (
            self.int_constant(&[1]),
            self.int_constant(&[2]),
            self.int_constant(&[3]),
        );
        // [batch, groups, rows of a group, width]
        let head = self.int_constant(&[0, groups, -1]);
        let grouped = self.node("Concat", &[&head, &width], vec![int("axis", 0)]);
        let rows = self.node("Reshape", &[&x.name, &grouped], vec![]);
        let drop = || vec![int("keepdims", 0)];
        let row_means = self.node("ReduceMean", &[&rows, &last], drop());
        let mean = self.node("ReduceMean", &[&row_means, &second], vec![]);
        let mean = self.node("Unsqueeze", &[&mean, &last], vec![]);
        let centred = self.node("Sub", &[&rows, &mean], vec![]);
        let squares = self.node("ReduceSumSquare", &[&centred, &last], drop());
        let variance = self.node("ReduceMean", &[&squares, &second], vec![]);
        let columns = self.cast(&width, element::I64, element::F32);
        let variance = self.node("Div", &[&variance, &columns], vec![]);

        // BatchNormalization has one mean and variance a channel for the whole batch, so that the batch becomes
        // channels: [1, batch x channels, height, width].
        let all = self.int_constant(&[-1]);
        let sizes = self.int_constant(&[groups, each]);
        let expanded = self.node("Concat", &[&batch, &sizes], vec![int("axis", 0)]);
        let variance = self.node("Expand", &[&variance, &expanded], vec![]);
        let variance = self.node("Reshape", &[&variance, &all], vec![]);
        let zero = self.number(0.0);
        let mean = self.node("Mul", &[&variance, &zero], vec![]);
        let flat = affine.map(|weight| {
            let repeats = self.node("Tile", &[weight, &batch], vec![]);
            self.node("Reshape", &[&repeats, &all], vec![])
        });
        let area = part(self, 2, 4);
        let one_batch = self.node("Concat", &[&first, &all, &area], vec![int("axis", 0)]);
        let input = self.node("Reshape", &[&centred, &one_batch], vec![]);
        let inputs: [&str; 5] = [&input, &flat[0], &flat[1], &mean, &variance];
        let epsilon = vec![float("epsilon", epsilon)];
        let normed = self.node("BatchNormalization", &inputs, epsilon);
        self.node("Reshape", &[&normed, &shape], vec![])
    }
}
