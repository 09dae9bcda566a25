//! GroupNorm, which ONNX Runtime has no kernel for on CPUs.
//!
//! Invariant: sums over millions of cells are made of sums over rows, because one plain sum in f32 loses
//! digits: as InstanceNormalization the encoder of SD was 3e-5 off at 512x512.

use super::builder::{Builder, Value, float, graph, int};
use super::layers::{NORMS, OWN_NORMS};
use super::proto::element;
use super::unet::Condition;
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
        self.conditioned_norm(name, x, groups, epsilon, None)
    }

    /// GroupNorm, then a scale and a shift of each channel, which are taken into its own.
    pub(in crate::model) fn conditioned_norm(
        &mut self,
        name: &str,
        x: &Value,
        groups: u64,
        epsilon: f32,
        condition: Option<&Condition>,
    ) -> Result<Value> {
        let groups = groups * x.channels / x.whole();
        let channels = [x.whole()];
        let scale = self.weight(&format!("{name}.weight"), &channels)?;
        let scale = self.part_of(scale, 0, x);
        let shift = self.weight(&format!("{name}.bias"), &channels)?;
        let shift = self.part_of(shift, 0, x);
        let (scale, shift) = match condition {
            Some(condition) => self.conditioned(&scale, &shift, condition),
            None => (scale, shift),
        };
        let name = if self.is_for_tiles() {
            self.norm_given(x, groups, epsilon, [&scale, &shift])
        } else if self.compute() == element::F16 {
            self.norm_f16(x, groups, epsilon, [&scale, &shift])
        } else {
            self.norm_f32(x, groups, epsilon, [&scale, &shift])
        };
        self.groups += groups;
        Ok(Value { name, ..x.clone() })
    }

    /// `(x * scale + shift) * (1 + condition.scale) + condition.shift` as one scale and one shift.
    fn conditioned(&mut self, scale: &str, shift: &str, by: &Condition) -> (String, String) {
        let one = self.number(1.0);
        let factor = self.node("Add", &[&by.scale, &one], vec![]);
        let scale = self.node("Mul", &[scale, &factor], vec![]);
        let shift = self.node("Mul", &[shift, &factor], vec![]);
        (scale, self.node("Add", &[&shift, &by.shift], vec![]))
    }

    /// With statistics that the graph is given, or its own: one scale and one shift for each channel.
    fn norm_given(&mut self, x: &Value, groups: u64, epsilon: f32, affine: [&str; 2]) -> String {
        let dims = ["2", &groups.to_string()];
        let own = self.branch(&dims, |builder| builder.own_statistics(x, groups));
        let (start, end) = (self.groups, self.groups + groups);
        let given = self.branch(&dims, |builder| builder.slice(NORMS, 1, start, end));
        let branches = vec![graph("then_branch", own), graph("else_branch", given)];
        let statistics = self.node("If", &[OWN_NORMS], branches);
        self.norms.push(statistics.clone());

        let epsilon = self.f32_number(epsilon);
        let each = (x.channels / groups).cast_signed();
        let by_group = self.int_constant(&[groups.cast_signed(), each]);
        let (column, all) = (self.int_constant(&[-1, 1]), self.int_constant(&[-1]));
        let [mean, variance] = [0, 1].map(|row| {
            let row = self.slice(&statistics, 0, row, row + 1);
            self.node("Reshape", &[&row, &column], vec![])
        });
        let safe = self.node("Add", &[&variance, &epsilon], vec![]);
        let deviation = self.node("Sqrt", &[&safe], vec![]);
        let compute = self.compute();
        let [scale, shift] = affine.map(|weight| {
            let weight = self.cast(weight, compute, element::F32);
            self.node("Reshape", &[&weight, &by_group], vec![])
        });
        // (x - mean) / deviation * scale + shift, in one pass over memory.
        let scale = self.node("Div", &[&scale, &deviation], vec![]);
        let taken = self.node("Mul", &[&mean, &scale], vec![]);
        let shift = self.node("Sub", &[&shift, &taken], vec![]);
        let [scale, shift] = [scale, shift].map(|values| {
            let flat = self.node("Reshape", &[&values, &all], vec![]);
            self.cast(&flat, element::F32, compute)
        });
        let (zeros, ones) = (
            self.repeated(0.0, x.channels),
            self.repeated(1.0, x.channels),
        );
        let inputs: [&str; 5] = [&x.name, &scale, &shift, &zeros, &ones];
        self.node("BatchNormalization", &inputs, vec![float("epsilon", 0.0)])
    }

    /// Means and variances of the groups of one image, `[2, groups]`.
    fn own_statistics(&mut self, x: &Value, groups: u64) -> String {
        let x32 = self.cast(&x.name, self.compute(), element::F32);
        let moments = self.moments(&x32, groups);
        let flat = self.int_constant(&[1, groups.cast_signed()]);
        let [mean, variance] =
            [moments.mean, moments.variance].map(|m| self.node("Reshape", &[&m, &flat], vec![]));
        self.node("Concat", &[&mean, &variance], vec![int("axis", 0)])
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
        let (batch, first) = (part(self, 0, 1), self.int_constant(&[1]));
        let Moments {
            centred, variance, ..
        } = self.moments(&x.name, groups.cast_unsigned());

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

    /// Moments of the groups of `x`, which is f32.
    fn moments(&mut self, x: &str, groups: u64) -> Moments {
        let width = vec![int("start", 3), int("end", 4)];
        let width = self.node("Shape", &[x], width);
        let (second, last) = (self.int_constant(&[2]), self.int_constant(&[3]));
        // [batch, groups, rows of a group, width]
        let head = self.int_constant(&[0, groups.cast_signed(), -1]);
        let grouped = self.node("Concat", &[&head, &width], vec![int("axis", 0)]);
        let rows = self.node("Reshape", &[x, &grouped], vec![]);
        let drop = || vec![int("keepdims", 0)];
        let row_means = self.node("ReduceMean", &[&rows, &last], drop());
        let mean = self.node("ReduceMean", &[&row_means, &second], vec![]);
        let mean = self.node("Unsqueeze", &[&mean, &last], vec![]);
        let centred = self.node("Sub", &[&rows, &mean], vec![]);
        let squares = self.node("ReduceSumSquare", &[&centred, &last], drop());
        let variance = self.node("ReduceMean", &[&squares, &second], vec![]);
        let columns = self.cast(&width, element::I64, element::F32);
        let variance = self.node("Div", &[&variance, &columns], vec![]);
        Moments {
            centred,
            mean,
            variance,
        }
    }
}

/// Of each group of each image of a batch.
struct Moments {
    /// The values less their mean, `[batch, groups, rows of a group, width]`.
    centred: String,
    /// `[batch, groups, 1, 1]`.
    mean: String,
    /// `[batch, groups, 1]`.
    variance: String,
}
