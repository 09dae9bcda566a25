//! The order in which values are coded, and what is expected of each before it is.
//!
//! Invariant: both directions are this one function, so a decoder expects what the encoder expected.
//!
//! A channel is two rows behind the one before it. So the rows that are coded at the same time don't depend on each
//! other, and one value each of up to four is worked on at once.

use super::channel::{Channel, MOST_ERROR, MOST_FLOOR, ONE, OWN, THERE, WEIGHT_BITS, expanded};
use super::distribution::{Distribution, FRACTION, SCALES};
use super::field::Field;
use super::states;
use super::values::Kind;
use crate::latent::LatentShape;

/// Rows that a channel is behind the one before it, which lets it see the row below its own.
const BEHIND: usize = 2;
/// Larger scales need larger cells.
const HALF_OF_SCALES: u32 = SCALES / 2;
/// Bits of a sum of products below a 16th of a level.
const SHIFT: u32 = ONE - FRACTION.ilog2();

/// What is known of a value before it is coded.
pub(super) struct Expected {
    pub(super) state: usize,
    /// Its number among all values.
    pub(super) number: usize,
    /// The cell that the prediction lies in.
    pub(super) cell: i32,
    /// Of a cell, in levels: a power of two.
    pub(super) size: u32,
    /// Of a level, in the least f16.
    pub(super) unit: u32,
    /// Of the cell's distance.
    pub(super) distribution: Distribution,
}

/// One of the directions.
pub(super) trait Coder {
    type Kind: Kind;

    /// Codes a value and says its level.
    fn code(&mut self, expected: &Expected) -> i32;
}

/// What holds for all channels.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    /// Residuals are kept in 2^coarse 16ths of a level.
    pub(super) coarse: u32,
    /// How many there are.
    pub(super) states: usize,
}

/// A row that is being coded.
#[derive(Default)]
struct Lane {
    channel: usize,
    row: usize,
    fixed: Fixed,
    /// Of each value, without what comes from its left: the sum of predictions, and of residuals.
    predictions: Vec<i32>,
    errors: Vec<i32>,
    levels: Vec<i16>,
    residuals: Vec<u16>,
}

/// What doesn't change within a row.
#[derive(Default, Clone, Copy)]
struct Fixed {
    /// Of the first value.
    number: usize,
    state: usize,
    unit: u32,
    coarse: u32,
    floor: u32,
    coefficients: [i32; 2],
    weights: [i32; 2],
}

/// A [`Lane`] at work.
struct Run<'a> {
    fixed: Fixed,
    predictions: &'a [i32],
    errors: &'a [i32],
    levels: &'a mut [i16],
    residuals: &'a mut [u16],
    /// What is left of the next value: the level of the nearer, that of the other, and their residuals.
    left: [i32; 4],
}

/// Has all values coded.
pub(super) fn walk<C: Coder>(
    shape: LatentShape,
    channels: &[Channel],
    setting: Setting,
    coder: &mut C,
) {
    let starts = channels
        .iter()
        .map(|c| expanded(c.start, MOST_ERROR as u32) as u16);
    let mut residuals = Field::new(shape, starts);
    let mut levels = Field::new(shape, channels.iter().map(|_| 0));
    let mut lanes: [Lane; states::MOST] = Default::default();
    let height = levels.height;
    for step in 0..height + BEHIND * (channels.len() - 1) {
        let first = (step + 1).saturating_sub(height).div_ceil(BEHIND);
        let end = (step / BEHIND + 1).min(channels.len());
        for first in (first..end).step_by(states::MOST) {
            let count = (end - first).min(states::MOST);
            for (lane, number) in lanes.iter_mut().zip(first..first + count) {
                let row = step - BEHIND * number;
                lane.prepare::<C>(&levels, &residuals, &channels[number], number, row, setting);
            }
            match count {
                1 => code::<1, C>(&mut lanes, levels.width, coder),
                2 => code::<2, C>(&mut lanes, levels.width, coder),
                3 => code::<3, C>(&mut lanes, levels.width, coder),
                _ => code::<4, C>(&mut lanes, levels.width, coder),
            }
            for lane in &lanes[..count] {
                levels.set_row(lane.channel, lane.row, &lane.levels);
                residuals.set_row(lane.channel, lane.row, &lane.residuals);
            }
        }
    }
}

fn code<const COUNT: usize, C: Coder>(lanes: &mut [Lane], width: usize, coder: &mut C) {
    let Some(lanes) = lanes.first_chunk_mut::<COUNT>() else {
        return;
    };
    let mut runs = lanes.each_mut().map(|lane| lane.run(width));
    for x in 0..width {
        for run in &mut runs {
            run.code(x, coder);
        }
    }
}

impl Lane {
    /// Adds up all that doesn't come from the row itself.
    fn prepare<C: Coder>(
        &mut self,
        levels: &Field<i16>,
        residuals: &Field<u16>,
        channel: &Channel,
        number: usize,
        row: usize,
        setting: Setting,
    ) {
        let (width, model) = (levels.width, &channel.model);
        self.channel = number;
        self.row = row;
        let shift = ONE - model.precision;
        self.fixed = Fixed {
            number: (number * levels.height + row) * width,
            state: number % setting.states,
            unit: channel.unit,
            coarse: setting.coarse,
            floor: expanded(channel.floor, MOST_FLOOR),
            coefficients: [model.own[0] << shift, model.own[1] << shift],
            weights: model.weights,
        };
        let constant = (model.constant << shift) * C::Kind::CONSTANT + (1 << (SHIFT - 1));
        self.predictions.clear();
        self.predictions.resize(width, constant);
        let [_, _, above @ ..] = OWN;
        let [_, _, coefficients @ ..] = model.own;
        let rows = above.map(|neighbour| levels.moved(number, row, neighbour));
        add(
            &mut self.predictions,
            rows,
            coefficients.map(|c| c << shift),
        );
        let [up, others @ ..] = above.map(|neighbour| residuals.moved(number, row, neighbour));
        let weights = model.weights.map(|weight| weight as u16);
        self.errors.clear();
        self.errors.extend((0..width).map(|x| {
            let others = others[0][x] + others[1][x] + others[2][x];
            i32::from(weights[0]) * i32::from(up[x]) + i32::from(weights[1]) * i32::from(others)
        }));
        for earlier in &model.earlier {
            let there = earlier.channel;
            let rows = THERE.map(|neighbour| levels.moved(there, row, neighbour));
            add(
                &mut self.predictions,
                rows,
                earlier.there.map(|c| c << shift),
            );
            let near = THERE.map(|neighbour| residuals.moved(there, row, neighbour));
            let weight = earlier.weight as u16;
            for (x, sum) in self.errors[..width].iter_mut().enumerate() {
                let near = 2 * near[0][x] + near[1][x] + near[2][x] + near[3][x] + near[4][x];
                *sum += i32::from(weight) * i32::from(near);
            }
        }
        let level = levels.left_of(number, row);
        let residual = residuals.left_of(number, row);
        self.levels.clear();
        self.levels.resize(width, level);
        self.residuals.clear();
        self.residuals.resize(width, residual);
    }

    /// Of `width` values, which so far all say what is left of the first.
    fn run(&mut self, width: usize) -> Run<'_> {
        let (level, residual) = (i32::from(self.levels[0]), i32::from(self.residuals[0]));
        Run {
            fixed: self.fixed,
            predictions: &self.predictions[..width],
            errors: &self.errors[..width],
            levels: &mut self.levels[..width],
            residuals: &mut self.residuals[..width],
            left: [level, level, residual, residual],
        }
    }
}

impl Run<'_> {
    #[inline]
    fn code<C: Coder>(&mut self, x: usize, coder: &mut C) {
        let fixed = &self.fixed;
        let [near, far, near_error, far_error] = self.left;
        let [for_near, for_far] = fixed.coefficients;
        let prediction = (self.predictions[x] + for_near * near + for_far * far) >> SHIFT;

        let [for_near, for_far] = fixed.weights;
        let error = self.errors[x] + for_near * near_error + for_far * far_error;
        let coarse = C::Kind::coarse(fixed.coarse);
        // In 64ths of a level, where residuals are in 16ths.
        let scale = ((error.cast_unsigned() << coarse) >> (WEIGHT_BITS - 2)) + fixed.floor;
        let size = (scale | HALF_OF_SCALES).ilog2() - HALF_OF_SCALES.ilog2();

        // Levels that a cell holds lie around its middle: its lower end is half a level below the first.
        let from = (prediction >> size) + ((FRACTION / 2) >> size);
        let expected = Expected {
            state: fixed.state,
            number: fixed.number + x,
            cell: from >> FRACTION.ilog2(),
            size,
            unit: fixed.unit,
            distribution: Distribution::new(scale >> size, from & (FRACTION - 1)),
        };
        let level = coder.code(&expected);
        let residual = (FRACTION * level - prediction).abs() >> coarse;
        let residual = residual.min(MOST_ERROR);
        self.left = [level, near, residual, near_error];
        self.levels[x] = level as i16;
        self.residuals[x] = residual as u16;
    }
}

/// Adds the products of rows with coefficients, which fit 16 bits: vectors multiply those faster.
#[inline]
fn add<const ROWS: usize>(sums: &mut [i32], rows: [&[i16]; ROWS], coefficients: [i32; ROWS]) {
    let rows = rows.map(|row| &row[..sums.len()]);
    let coefficients = coefficients.map(|coefficient| coefficient as i16);
    for (x, sum) in sums.iter_mut().enumerate() {
        for (row, coefficient) in rows.iter().zip(coefficients) {
            *sum += i32::from(coefficient) * i32::from(row[x]);
        }
    }
}
