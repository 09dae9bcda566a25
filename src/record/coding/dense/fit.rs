//! Finds what a payload says of its channels: least squares, weighted by how well a place can be predicted.
//!
//! Invariant: the only floats of this coding, and none of them is needed for decoding. Any other choice would be
//! decoded as well.

use super::channel::{
    Channel, Earlier, MOST_COEFFICIENTS, MOST_EARLIER, MOST_ERROR, MOST_FLOOR, Model, OWN,
    PRECISION, THERE, WEIGHT_BITS, condensed, expanded, reach,
};
use super::distribution::FINE;
use super::equations::{Equations, MOST_TERMS};
use super::field::Field;
use crate::latent::LatentShape;

/// Channels with more values than this are always worth coefficients of their own.
const MANY: usize = 4096;
/// So many rows are enough for a first look at coefficients, so many values for weights.
const SOME_ROWS: usize = 24;
const SOME_VALUES: usize = 2048;
/// The scale of the distribution, in mean residuals.
const SCALE_OF_MEAN: f32 = 1.08;
/// Noise that rounding coefficients may bring, in mean residuals.
const ROUNDING: f32 = 0.05;

/// A model of a channel, and what it leaves to be coded.
struct Tried {
    model: Model,
    floor: u8,
    residuals: Vec<f32>,
    errors: Field<f32>,
}

/// What channels a latent of these `levels` is best coded with. `units` are theirs, `constant` is what the constant
/// coefficient is multiplied with, and residuals are kept in 2^`coarse` 16ths of a level.
pub(super) fn fit(
    shape: LatentShape,
    levels: &Field<i16>,
    units: &[u32],
    constant: i32,
    coarse: u32,
) -> Vec<Channel> {
    let mut before: Vec<Tried> = Vec::new();
    let channels = units.iter().enumerate().map(|(number, &unit)| {
        let task = Task {
            shape,
            levels,
            constant: constant as f32,
            number,
            before: &before,
        };
        let tried = task.best();
        let start = mean(&tried.residuals[..levels.width]) * 16.0 / (1 << coarse) as f32;
        let channel = Channel {
            unit,
            start: condensed((start as u32).min(MOST_ERROR as u32)),
            floor: tried.floor,
            model: tried.model.clone(),
        };
        before.push(tried);
        channel
    });
    channels.collect()
}

/// One channel.
struct Task<'a> {
    shape: LatentShape,
    levels: &'a Field<i16>,
    constant: f32,
    number: usize,
    before: &'a [Tried],
}

impl Task<'_> {
    fn best(&self) -> Tried {
        let plain = self.left_by(&Model::default());
        let earlier = self.related(&plain);
        // A first look at some rows says how hard each place is to predict.
        let every = (self.levels.height / SOME_ROWS).max(1);
        let first = self.solved(&earlier, &self.around(&plain), every);
        let importance = self.importance(&self.tried(first));
        let full = self.tried(self.solved(&earlier, &importance, 1));
        if self.levels.height * self.levels.width > MANY {
            return full;
        }
        let alone = self.tried(self.solved(&[], &importance, 1));
        let default = self.tried(Model::default());
        let mut all = [full, alone, default].map(|tried| (self.bits(&tried), tried));
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let [(_, best), ..] = all;
        best
    }

    /// What `model` leaves of the channel, row by row.
    fn left_by(&self, model: &Model) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.levels.height * self.levels.width);
        let mut row = vec![0.0; self.levels.width];
        let one = (1 << model.precision) as f32;
        for y in 0..self.levels.height {
            row.fill(model.constant as f32 * self.constant);
            let there = model
                .earlier
                .iter()
                .map(|earlier| (earlier.channel, earlier.there));
            for (neighbour, coefficient) in OWN.into_iter().zip(model.own) {
                let levels = self.levels.moved(self.number, y, neighbour);
                add(&mut row, levels, coefficient);
            }
            for (channel, coefficients) in there {
                for (neighbour, coefficient) in THERE.into_iter().zip(coefficients) {
                    add(
                        &mut row,
                        self.levels.moved(channel, y, neighbour),
                        coefficient,
                    );
                }
            }
            let levels = self.levels.moved(self.number, y, (0, 0)).iter();
            out.extend(
                levels
                    .zip(&row)
                    .map(|(level, sum)| f32::from(*level) - sum / one),
            );
        }
        out
    }

    /// The sizes of residuals with a border.
    fn errors(&self, residuals: &[f32]) -> Field<f32> {
        let shape = LatentShape {
            channels: 1,
            ..self.shape
        };
        let width = self.levels.width;
        let mut errors = Field::new(shape, std::iter::once(mean(&residuals[..width])));
        let mut row = vec![0.0; width];
        for (y, residuals) in residuals.chunks_exact(width).enumerate() {
            for (to, from) in row.iter_mut().zip(residuals) {
                *to = from.abs();
            }
            errors.set_row(0, y, &row);
        }
        errors
    }

    /// How much each place counts, by the residuals around it: where values are hard to predict, they say little of
    /// coefficients.
    fn around(&self, residuals: &[f32]) -> Vec<f32> {
        let errors = self.errors(residuals);
        let least = 0.15 * mean(residuals) + 1e-3;
        let mut out = Vec::with_capacity(residuals.len());
        for y in 0..self.levels.height {
            let around = |down| [-1, 0, 1].map(|right| errors.moved(0, y, (down, right)));
            let [above, row, below] = [-1, 0, 1].map(around);
            out.extend((0..self.levels.width).map(|x| {
                let sum = |rows: [&[f32]; 3]| rows[0][x] + rows[1][x] + rows[2][x];
                let scale = least + (sum(above) + sum(row) + sum(below)) / 9.0;
                1.0 / (scale * scale)
            }));
        }
        out
    }

    /// The earlier channels whose residuals are most like these.
    fn related(&self, residuals: &[f32]) -> Vec<usize> {
        let likeness = |other: &[f32]| {
            let product: f32 = other.iter().zip(residuals).map(|(a, b)| a * b).sum();
            let square: f32 = other.iter().map(|a| a * a).sum();
            product * product / (square + 1e-9)
        };
        let mut all: Vec<(f32, usize)> = (self.number - reach(self.number)..self.number)
            .map(|channel| (likeness(&self.before[channel].residuals), channel))
            .collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all.into_iter()
            .take(MOST_EARLIER)
            .map(|(_, channel)| channel)
            .collect()
    }

    /// The model with the least squares.
    fn solved(&self, earlier: &[usize], importance: &[f32], every: usize) -> Model {
        let own = OWN.map(|neighbour| (self.number, neighbour));
        let there = earlier
            .iter()
            .flat_map(|&channel| THERE.map(|n| (channel, n)));
        let neighbours: Vec<_> = own.into_iter().chain(there).collect();
        let width = self.levels.width;
        let mut equations = Equations::new(neighbours.len() + 1);
        let mut terms = vec![[0.0; MOST_TERMS]; width];
        for y in (0..self.levels.height).step_by(every) {
            for (at, (channel, neighbour)) in neighbours.iter().enumerate() {
                let row = self.levels.moved(*channel, y, *neighbour);
                for (terms, level) in terms.iter_mut().zip(row) {
                    terms[at + 1] = f32::from(*level);
                }
            }
            let levels = self.levels.moved(self.number, y, (0, 0));
            let importance = &importance[y * width..];
            for ((terms, level), importance) in terms.iter_mut().zip(levels).zip(importance) {
                terms[0] = self.constant;
                equations.add(terms, f32::from(*level), *importance);
            }
            equations.end_row();
        }
        let exact = equations.solve();
        self.rounded(&exact, earlier, importance)
    }

    fn rounded(&self, exact: &[f64], earlier: &[usize], importance: &[f32]) -> Model {
        // A mean of squares where places count as they do says how large residuals are.
        let own = self.levels.height * self.levels.width;
        let size = (own as f32 / importance.iter().sum::<f32>()).sqrt();
        let rows = 0..self.levels.height;
        let square = |y| {
            let row = self.levels.moved(self.number, y, (0, 0)).iter();
            row.map(|level| f32::from(*level).powi(2)).sum::<f32>()
        };
        let level = (rows.map(square).sum::<f32>() / own as f32).sqrt();
        let noise = level * (exact.len() as f32 / 12.0).sqrt() / (ROUNDING * size + 1e-3);
        let wanted = noise.max(1.0).log2().ceil() as u32;
        let most = exact.iter().fold(0.0, |most: f64, c| most.max(c.abs()));
        let precision = PRECISION.rev().find(|precision| {
            *precision <= wanted.max(*PRECISION.start())
                && most * f64::from(1 << precision) < f64::from(MOST_COEFFICIENTS)
        });
        let precision = precision.unwrap_or(*PRECISION.start());
        let mut rounded = exact
            .iter()
            .map(|c| (c * f64::from(1 << precision)).round() as i32);
        let mut next = || rounded.next().unwrap_or(0);
        let model = Model {
            precision,
            constant: next(),
            own: std::array::from_fn(|_| next()),
            weights: [0; 2],
            earlier: earlier
                .iter()
                .map(|&channel| Earlier {
                    channel,
                    there: std::array::from_fn(|_| next()),
                    weight: 0,
                })
                .collect(),
        };
        if model.is_bounded() {
            model
        } else {
            Model::default()
        }
    }

    /// With weights that suit what the coefficients leave.
    fn tried(&self, mut model: Model) -> Tried {
        let residuals = self.left_by(&model);
        let errors = self.errors(&residuals);
        let mut out = Tried {
            model: model.clone(),
            floor: 0,
            residuals,
            errors,
        };
        let features = self.features(&out);
        let count = 3 + model.earlier.len();
        let some = (features.len() / SOME_VALUES).max(1) | 1;
        let all = least_mean(&out.residuals);
        let mut weights = vec![0.0; count];
        weights[..2].fill(0.12);
        weights[count - 1] = 0.2;
        if model == Model::default() {
            weights = model
                .weights
                .map(|weight| weight as f32 / 128.0 / SCALE_OF_MEAN)
                .to_vec();
            weights.push(0.15);
        } else {
            for _ in 0..3 {
                let mut equations = Equations::new(count);
                for (features, residual) in features.iter().zip(&out.residuals).step_by(some) {
                    let scale = product(&weights, features) + 1e-3 * all;
                    equations.add_few(features, residual.abs(), 1.0 / (scale * scale));
                }
                equations.end_row();
                weights = equations.solve_positive(&weights);
            }
            let bits = (1 << WEIGHT_BITS) as f32;
            let rounded =
                |weight: f32| (weight * SCALE_OF_MEAN * bits).round().min(bits - 1.0) as i32;
            model.weights = [rounded(weights[0]), rounded(weights[1])];
            for (earlier, weight) in model.earlier.iter_mut().zip(&weights[2..]) {
                earlier.weight = rounded(*weight);
            }
        }
        let floor = weights[count - 1] * all * SCALE_OF_MEAN * FINE as f32;
        out.floor = condensed((floor as u32).clamp(1, MOST_FLOOR));
        out.model = model;
        out
    }

    /// How much each place counts, by the scale it has: that of Student's t distribution, to which outliers say little.
    fn importance(&self, tried: &Tried) -> Vec<f32> {
        let scales = self.scales(tried).into_iter();
        let values = scales.zip(&tried.residuals);
        values
            .map(|(scale, residual)| 1.0 / (scale * scale + residual * residual / 3.0))
            .collect()
    }

    /// The scale of each value, in levels.
    fn scales(&self, tried: &Tried) -> Vec<f32> {
        let floor = expanded(tried.floor, MOST_FLOOR) as f32 / FINE as f32;
        let weight = |weight: i32| weight as f32 / (1 << WEIGHT_BITS) as f32;
        let mut weights = tried.model.weights.map(weight).to_vec();
        weights.extend(
            tried
                .model
                .earlier
                .iter()
                .map(|earlier| weight(earlier.weight)),
        );
        weights.push(floor / least_mean(&tried.residuals));
        let features = self.features(tried).into_iter();
        features
            .map(|features| product(&weights, &features) + 0.02)
            .collect()
    }

    /// Of each value what its scale is a sum of.
    fn features(&self, tried: &Tried) -> Vec<[f32; 8]> {
        let all = least_mean(&tried.residuals);
        let mut out = vec![[0.0; 8]; tried.residuals.len()];
        for (y, out) in out.chunks_exact_mut(self.levels.width).enumerate() {
            let own = OWN.map(|neighbour| tried.errors.moved(0, y, neighbour));
            let last = 2 + tried.model.earlier.len();
            for (x, out) in out.iter_mut().enumerate() {
                out[0] = own[0][x] + own[2][x];
                out[1] = own[1][x] + own[3][x] + own[4][x] + own[5][x];
                out[last] = all;
            }
            for (at, earlier) in tried.model.earlier.iter().enumerate() {
                let errors = &self.before[earlier.channel].errors;
                let near = THERE.map(|neighbour| errors.moved(0, y, neighbour));
                for (x, out) in out.iter_mut().enumerate() {
                    out[2 + at] =
                        2.0 * near[0][x] + near[1][x] + near[2][x] + near[3][x] + near[4][x];
                }
            }
        }
        out
    }

    /// About what a model takes, beside what all models take: by Student's t distribution with 6 degrees of freedom.
    fn bits(&self, tried: &Tried) -> f64 {
        let scales = self.scales(tried).into_iter();
        let values = scales.zip(&tried.residuals).map(|(scale, residual)| {
            // A residual within a level is as good as none.
            let scale = scale.hypot(0.3);
            let far = residual / scale;
            f64::from(scale.log2() + 3.5 * (1.0 + far * far / 6.0).log2())
        });
        values.sum::<f64>() + tried.model.cost()
    }
}

fn add(sums: &mut [f32], levels: &[i16], coefficient: i32) {
    for (sum, level) in sums.iter_mut().zip(levels) {
        *sum += coefficient as f32 * f32::from(*level);
    }
}

fn product(weights: &[f32], features: &[f32]) -> f32 {
    weights
        .iter()
        .zip(features)
        .map(|(weight, feature)| weight * feature)
        .sum()
}

/// Of absolute values.
fn mean(residuals: &[f32]) -> f32 {
    residuals.iter().map(|r| r.abs()).sum::<f32>() / residuals.len() as f32
}

/// For what is divided by it.
fn least_mean(residuals: &[f32]) -> f32 {
    mean(residuals).max(1e-3)
}
