//! Finds what a payload says of its channels: least squares, weighted by how well a place can be predicted.
//!
//! Invariant: the only floats of this coding, and none of them is needed for decoding. Any other choice would be
//! decoded as well.

use super::channel::{
    Channel, Earlier, MOST_COEFFICIENTS, MOST_EARLIER, MOST_ERROR, MOST_FLOOR, Model, OWN,
    PRECISION, THERE, WEIGHT_BITS, condensed, expanded, reach,
};
use super::distribution::FINE;
use super::equations::{Equations, LANES, sum_of_products};
use super::field::Field;
use crate::latent::LatentShape;

/// Channels with more values than this are always worth coefficients of their own.
const MANY: usize = 4096;
/// So many values are enough for coefficients, for a first look at them, for weights, and to see which channels are like
/// each other.
const FOR_COEFFICIENTS: usize = 8192;
const FOR_FIRST_LOOK: usize = 1024;
const FOR_WEIGHTS: usize = 3072;
const FOR_LIKENESS: usize = 1536;
/// The scale of the distribution, in mean residuals.
const SCALE_OF_MEAN: f32 = 1.08;
/// Noise that rounding coefficients may bring, in mean residuals.
const ROUNDING: f32 = 0.05;
/// Residuals around a place are taken for at least this part of the mean, so that no place counts for all others.
const LEAST_SCALE: f32 = 0.2;
/// Mean residuals that something is divided by are at least this.
const LEAST_MEAN: f32 = 1e-3;

/// A model of a channel, and what it leaves to be coded.
struct Tried {
    model: Model,
    floor: u8,
    residuals: Vec<f32>,
    /// Their sizes, with a border.
    errors: Field<f32>,
    /// The mean of these.
    mean: f32,
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
            constant,
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
    constant: i32,
    number: usize,
    before: &'a [Tried],
}

impl Task<'_> {
    fn best(&self) -> Tried {
        let plain = self.left_by(&Model::default());
        let earlier = self.related(&plain);
        let factors = self.around(&plain);
        // A first look at some rows says how hard each place is to predict.
        let mut equations = self.equations(&earlier, &factors, FOR_FIRST_LOOK);
        let first = self.solved(&mut equations, &earlier, &factors);
        let factors = self.around(&self.left_by(&first));
        let mut equations = self.equations(&earlier, &factors, FOR_COEFFICIENTS);
        let full = self.tried(self.solved(&mut equations, &earlier, &factors));
        if self.levels.height * self.levels.width > MANY {
            return full;
        }
        let alone = self.tried(self.solved(&mut equations, &[], &factors));
        let default = self.tried(Model::default());
        let mut all = [full, alone, default].map(|tried| (self.bits(&tried), tried));
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let [(_, best), ..] = all;
        best
    }

    /// Rows that together have about `values`.
    fn some(&self, values: usize) -> impl Iterator<Item = usize> + use<> {
        let every = self.levels.height * self.levels.width / values;
        (0..self.levels.height).step_by(every.max(1))
    }

    /// What `model` leaves of the channel, row by row.
    fn left_by(&self, model: &Model) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.levels.height * self.levels.width);
        let mut sums = vec![0.0; self.levels.width];
        let one = (1 << model.precision) as f32;
        for y in 0..self.levels.height {
            sums.fill((model.constant * self.constant) as f32);
            let rows = OWN.map(|neighbour| self.levels.moved(self.number, y, neighbour));
            add(&mut sums, rows, model.own);
            for earlier in &model.earlier {
                let rows = THERE.map(|n| self.levels.moved(earlier.channel, y, n));
                add(&mut sums, rows, earlier.there);
            }
            let levels = self.levels.moved(self.number, y, (0, 0)).iter();
            let left = levels.zip(&sums);
            out.extend(left.map(|(level, sum)| f32::from(*level) - sum / one));
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

    /// One over the scale of each value, by the residuals around it: where values are hard to predict, they say little of
    /// coefficients.
    fn around(&self, residuals: &[f32]) -> Vec<f32> {
        let errors = self.errors(residuals);
        let least = LEAST_SCALE * mean(residuals) + 1e-3;
        let width = self.levels.width;
        let mut sums = vec![0.0; width];
        let mut out = Vec::with_capacity(residuals.len());
        for y in 0..self.levels.height {
            sums.fill(0.0);
            for down in -1..=1 {
                let [a, b, c] = [-1, 0, 1].map(|right| &errors.moved(0, y, (down, right))[..width]);
                for (x, sum) in sums.iter_mut().enumerate() {
                    *sum += a[x] + b[x] + c[x];
                }
            }
            out.extend(sums.iter().map(|sum| 1.0 / (least + sum / 9.0)));
        }
        out
    }

    /// The earlier channels whose residuals are most like these.
    fn related(&self, residuals: &[f32]) -> Vec<usize> {
        let width = self.levels.width;
        let product = |a: &[f32], b: &[f32]| -> f32 {
            let rows = self.some(FOR_LIKENESS).map(|y| y * width..(y + 1) * width);
            rows.map(|row| sum_of_products(&a[row.clone()], &b[row]))
                .sum()
        };
        let likeness =
            |other: &[f32]| product(residuals, other).powi(2) / (product(other, other) + 1e-9);
        let mut all: Vec<(f32, usize)> = (self.number - reach(self.number)..self.number)
            .map(|channel| (likeness(&self.before[channel].residuals), channel))
            .collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all.into_iter()
            .take(MOST_EARLIER)
            .map(|(_, channel)| channel)
            .collect()
    }

    /// What coefficients should give, where each place counts by its factor: of the constant, [`OWN`], and [`THERE`] of each
    /// of `earlier`; of rows that together have about `values`.
    fn equations(&self, earlier: &[usize], factors: &[f32], values: usize) -> Equations {
        let own = OWN.map(|neighbour| (self.number, neighbour));
        let there = earlier
            .iter()
            .flat_map(|&channel| THERE.map(|n| (channel, n)));
        let result = (self.number, (0, 0));
        let neighbours: Vec<_> = own.into_iter().chain(there).chain([result]).collect();
        let width = self.levels.width;
        let mut equations = Equations::new(neighbours.len());
        for y in self.some(values) {
            let factors = &factors[y * width..][..width];
            let constant = self.constant as f32;
            equations.extend(0, factors.iter().map(|factor| constant * factor));
            for (number, (channel, neighbour)) in (1..).zip(&neighbours) {
                let levels = self.levels.moved(*channel, y, *neighbour).iter();
                let terms = levels.zip(factors);
                equations.extend(
                    number,
                    terms.map(|(level, factor)| f32::from(*level) * factor),
                );
            }
            equations.end_row();
        }
        equations
    }

    /// The model with the least squares.
    fn solved(&self, equations: &mut Equations, earlier: &[usize], factors: &[f32]) -> Model {
        let exact = equations.solve(1 + OWN.len() + THERE.len() * earlier.len());
        // A mean of squares where places count as they do says how large residuals are.
        let count = factors.len() as f32;
        let size = (count / sum_of_products(factors, factors)).sqrt();
        let square = |y| -> i64 {
            let levels = self.levels.moved(self.number, y, (0, 0)).iter();
            levels
                .map(|level| i64::from(i32::from(*level).pow(2)))
                .sum()
        };
        let squares: i64 = (0..self.levels.height).map(square).sum();
        let level = (squares as f32 / count).sqrt();
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
        let mean = mean(&residuals);
        let mut out = Tried {
            errors: self.errors(&residuals),
            model: model.clone(),
            floor: 0,
            residuals,
            mean,
        };
        let all = mean.max(LEAST_MEAN);
        let count = 3 + model.earlier.len();
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
            let features = self.features(&out, FOR_WEIGHTS);
            let mut own = Vec::with_capacity(features[0].len());
            for y in self.some(FOR_WEIGHTS) {
                own.extend_from_slice(out.errors.moved(0, y, (0, 0)));
            }
            for _ in 0..3 {
                let scales = scales(&weights, &features, 1e-3 * all);
                let mut equations = Equations::new(count);
                for (number, feature) in features.iter().chain([&own]).enumerate() {
                    let terms = feature.iter().zip(&scales);
                    equations.extend(number, terms.map(|(feature, scale)| feature / scale));
                }
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

    /// What scales are sums of, for each weight and then for the floor, of rows that together have about `values`.
    fn features(&self, tried: &Tried, values: usize) -> Vec<Vec<f32>> {
        let mut out = vec![Vec::new(); 2 + tried.model.earlier.len()];
        let width = self.levels.width;
        for y in self.some(values) {
            let own = OWN.map(|neighbour| &tried.errors.moved(0, y, neighbour)[..width]);
            let [left, far, up, others @ ..] = own;
            let [a, b, c] = others;
            out[0].extend((0..width).map(|x| left[x] + up[x]));
            out[1].extend((0..width).map(|x| far[x] + a[x] + b[x] + c[x]));
            for (out, earlier) in out[2..].iter_mut().zip(&tried.model.earlier) {
                let errors = &self.before[earlier.channel].errors;
                let near = THERE.map(|neighbour| &errors.moved(0, y, neighbour)[..width]);
                let [here, a, b, c, d] = near;
                out.extend((0..width).map(|x| 2.0 * here[x] + a[x] + b[x] + c[x] + d[x]));
            }
        }
        let all = vec![tried.mean.max(LEAST_MEAN); out[0].len()];
        out.push(all);
        out
    }

    /// About what a model takes, beside what all models take: by Student's t distribution with 6 degrees of freedom.
    fn bits(&self, tried: &Tried) -> f64 {
        let weight = |weight: i32| weight as f32 / (1 << WEIGHT_BITS) as f32;
        let mut weights = tried.model.weights.map(weight).to_vec();
        let there = tried.model.earlier.iter();
        weights.extend(there.map(|earlier| weight(earlier.weight)));
        let floor = expanded(tried.floor, MOST_FLOOR) as f32 / FINE as f32;
        weights.push(floor / tried.mean.max(LEAST_MEAN));
        let features = self.features(tried, tried.residuals.len());
        let scales = scales(&weights, &features, 0.02).into_iter();
        let values = scales.zip(&tried.residuals).map(|(scale, residual)| {
            // A residual within a level is as good as none.
            let scale = scale.hypot(0.3);
            let far = residual / scale;
            f64::from(scale.log2() + 3.5 * (1.0 + far * far / 6.0).log2())
        });
        values.sum::<f64>() + tried.model.cost()
    }
}

/// Adds the products of rows with coefficients.
fn add<const ROWS: usize>(sums: &mut [f32], rows: [&[i16]; ROWS], coefficients: [i32; ROWS]) {
    let rows = rows.map(|row| &row[..sums.len()]);
    let coefficients = coefficients.map(|coefficient| coefficient as f32);
    for (x, sum) in sums.iter_mut().enumerate() {
        let products = rows.iter().zip(coefficients);
        *sum += products.map(|(row, c)| c * f32::from(row[x])).sum::<f32>();
    }
}

/// Sums of weighted features, and at least `least`.
fn scales(weights: &[f32], features: &[Vec<f32>], least: f32) -> Vec<f32> {
    let mut out = vec![least; features[0].len()];
    for (weight, feature) in weights.iter().zip(features) {
        for (sum, feature) in out.iter_mut().zip(feature) {
            *sum += weight * feature;
        }
    }
    out
}

/// Of absolute values.
fn mean(residuals: &[f32]) -> f32 {
    let (whole, end) = residuals.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for residuals in whole {
        for (sum, residual) in sums.iter_mut().zip(residuals) {
            *sum += residual.abs();
        }
    }
    let end = end.iter().map(|residual| residual.abs());
    (sums.iter().sum::<f32>() + end.sum::<f32>()) / residuals.len() as f32
}
