//! Doubling an image's sides and convolving it, in one.
//!
//! Invariant: the result is that of repeating every cell 2x2 and a 3x3 convolution after it, to rounding; nothing
//! of the doubled size is made but the result.

use super::builder::{Builder, Value, int, ints, string};
use crate::error::Result;

impl Builder<'_> {
    /// Doubles both sides by repeating each cell, then convolves 3x3 to `channels` with the weights
    /// `NAME.weight` and, if `bias`, `NAME.bias`. The result comes in `parts` of equal channels.
    ///
    /// Of the nine cells under the kernel only four are different ones, and which these are depends
    /// on whether row and column are even or odd. So each of these four cases is a 2x2 convolution
    /// of the small image, with kernels summed from the 3x3 one: 16 multiply-adds instead of 36.
    pub(in crate::model) fn upsample_conv(
        &mut self,
        name: &str,
        x: &Value,
        channels: u64,
        bias: bool,
        parts: u64,
    ) -> Result<Vec<Value>> {
        let kernel = self.weight(&format!("{name}.weight"), &[channels, x.channels, 3, 3])?;
        let bias = if bias {
            Some(self.weight(&format!("{name}.bias"), &[channels])?)
        } else {
            None
        };
        if parts == 1 {
            return Ok(vec![self.quarters(x, channels, &kernel, bias.as_deref())]);
        }
        let each = channels / parts;
        let part = |part: u64| {
            let (start, end) = (part * each, (part + 1) * each);
            let kernel = self.slice(&kernel, 0, start, end);
            let bias = bias.as_ref().map(|bias| self.slice(bias, 0, start, end));
            Value {
                part: Some((start, channels)),
                ..self.quarters(x, each, &kernel, bias.as_deref())
            }
        };
        Ok((0..parts).map(part).collect())
    }

    /// Four convolutions, for even and odd rows and columns, put together.
    fn quarters(&mut self, x: &Value, channels: u64, kernel: &str, bias: Option<&str>) -> Value {
        let mut cases = Vec::new();
        for (odd_row, rows) in self.halves(kernel, 2).into_iter().enumerate() {
            for (odd_column, kernel) in self.halves(&rows, 3).into_iter().enumerate() {
                let mut inputs = vec![x.name.as_str(), &kernel];
                inputs.extend(bias);
                // An even row sees the cell above its own, an odd one that below; likewise columns.
                let (down, right) = (
                    odd_row.cast_signed() as i64,
                    odd_column.cast_signed() as i64,
                );
                let attributes = vec![
                    ints("kernel_shape", &[2, 2]),
                    ints("pads", &[1 - down, 1 - right, down, right]),
                ];
                let case = self.node("Conv", &inputs, attributes);
                self.extent(&case, channels, x.step);
                cases.push(case);
                self.count(x, (4 * x.channels * channels) as f64);
            }
        }
        let cases: Vec<_> = cases.iter().map(String::as_str).collect();
        let stacked = self.node("Concat", &cases, vec![int("axis", 1)]);
        let attributes = vec![int("blocksize", 2), string("mode", "DCR")];
        Value {
            name: self.node("DepthToSpace", &[&stacked], attributes),
            channels,
            step: x.step / 2,
            part: None,
        }
    }

    /// The two kernels of length 2 along `axis` that one of length 3 becomes: on even places
    /// `[a, b + c]`, on odd ones `[a + b, c]`. Computed once, when the graph is loaded.
    fn halves(&mut self, kernel: &str, axis: i64) -> [String; 2] {
        let [a, b, c] = [0, 1, 2].map(|at| self.slice(kernel, axis, at, at + 1));
        let (first, last) = (
            self.node("Add", &[&a, &b], vec![]),
            self.node("Add", &[&b, &c], vec![]),
        );
        [[&a, &last], [&first, &c]]
            .map(|pair| self.node("Concat", &pair.map(String::as_str), vec![int("axis", axis)]))
    }
}
