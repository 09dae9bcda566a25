//! How the values of one channel are predicted, and how far off that is: what a payload says of it.
//!
//! Invariant: what is read keeps to the ranges below, so that sums of predictions and scales fit 32 bits.

use super::bits::{BitReader, BitWriter};

/// Neighbours in the same channel, as (rows down, columns right): those in the row come first.
pub(super) const OWN: [(isize, isize); 6] = [(0, -1), (0, -2), (-1, 0), (-1, -1), (-1, 1), (-2, 0)];
/// Neighbours in an earlier channel.
pub(super) const THERE: [(isize, isize); 5] = [(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)];
/// Most earlier channels that one is predicted from, and how far before it they are at most.
pub(super) const MOST_EARLIER: usize = 3;
const REACH: usize = 64;
/// Bits of the coefficients below one, as they are written, and as they are used.
pub(super) const PRECISION: std::ops::RangeInclusive<u32> = 5..=12;
pub(super) const ONE: u32 = 12;
/// Coefficients of one channel, in absolute value, come to less.
pub(super) const MOST_COEFFICIENTS: u32 = 1 << 15;
/// Bits of a weight, and of those how many are below one.
pub(super) const WEIGHT_BITS: u32 = 7;
/// Residuals are kept up to this.
pub(super) const MOST_ERROR: i32 = 8191;
/// What is added to a scale, in 64ths of a level, is at most this.
pub(super) const MOST_FLOOR: u32 = 1 << 24;
/// A level is at most 2^25 of the least f16: then all 16 bits of levels reach to the largest.
pub(super) const MOST_UNIT: u32 = 25;

/// Where a channel says nothing else: about what suits the latents of photographs.
const DEFAULT_PRECISION: u32 = 8;
const DEFAULT_OWN: [i32; 6] = [88, 42, 70, -24, 28, 36];
const DEFAULT_WEIGHTS: [i32; 2] = [26, 13];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Channel {
    /// Of f16 values: a level is 2^unit of the least. Of integers 0.
    pub(super) unit: u32,
    /// The residuals that the rows above the first one are said to have.
    pub(super) start: u8,
    /// What is added to every scale.
    pub(super) floor: u8,
    pub(super) model: Model,
}

/// A prediction is a sum of products.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) precision: u32,
    pub(super) constant: i32,
    /// Of [`OWN`].
    pub(super) own: [i32; 6],
    /// Of the residuals left and above, and of the others in [`OWN`].
    pub(super) weights: [i32; 2],
    pub(super) earlier: Vec<Earlier>,
}

/// What another channel, of smaller number, says of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Earlier {
    pub(super) channel: usize,
    /// Of [`THERE`].
    pub(super) there: [i32; 5],
    /// Of its residuals: twice that at the same place, and the others in [`THERE`].
    pub(super) weight: i32,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            precision: DEFAULT_PRECISION,
            constant: 0,
            own: DEFAULT_OWN,
            weights: DEFAULT_WEIGHTS,
            earlier: Vec::new(),
        }
    }
}

impl Model {
    pub(super) fn coefficients(&self) -> impl Iterator<Item = i32> {
        let there = self.earlier.iter().flat_map(|earlier| earlier.there);
        std::iter::once(self.constant).chain(self.own).chain(there)
    }

    fn coefficients_mut(&mut self) -> impl Iterator<Item = &mut i32> {
        let there = self
            .earlier
            .iter_mut()
            .flat_map(|earlier| &mut earlier.there);
        std::iter::once(&mut self.constant)
            .chain(&mut self.own)
            .chain(there)
    }

    fn weights_mut(&mut self) -> impl Iterator<Item = &mut i32> {
        let there = self.earlier.iter_mut().map(|earlier| &mut earlier.weight);
        self.weights.iter_mut().chain(there)
    }

    /// Whether sums of products with 16-bit levels fit 32 bits.
    pub(super) fn is_bounded(&self) -> bool {
        let sizes = self.coefficients().map(i32::unsigned_abs);
        let sum: u64 = sizes.map(u64::from).sum();
        sum << (ONE - self.precision) < u64::from(MOST_COEFFICIENTS)
    }

    /// Bits that [`Channel::write`] takes for it, more or less.
    pub(super) fn cost(&self) -> f64 {
        let width = self.coefficients().map(bits_of).max().unwrap_or(0);
        let weights = self.weights.len() + self.earlier.len();
        f64::from(width) * (7 + 5 * self.earlier.len()) as f64 + 7.0 * weights as f64 + 10.0
    }
}

/// How many bits a two's complement takes.
fn bits_of(value: i32) -> u32 {
    33 - (value ^ value >> 31).leading_zeros()
}

/// Bits of a number below `count`.
fn bits_below(count: usize) -> u32 {
    usize::BITS - (count - 1).leading_zeros()
}

/// How far before channel `number` another one may be.
pub(super) fn reach(number: usize) -> usize {
    number.min(REACH)
}

/// A small number as it is, a larger one with four bits, both in a byte.
pub(super) fn expanded(byte: u8, most: u32) -> u32 {
    let (mantissa, exponent) = (u64::from(byte & 7), byte >> 3);
    let value = match exponent {
        0 => mantissa,
        _ => (8 + mantissa) << (exponent - 1),
    };
    value.min(u64::from(most)) as u32
}

/// The byte of the largest number that isn't above `value`.
pub(super) fn condensed(value: u32) -> u8 {
    let exponent = (32 - value.leading_zeros()).saturating_sub(3);
    match exponent {
        0 => value as u8,
        _ => (exponent << 3 | (value >> (exponent - 1) & 7)) as u8,
    }
}

impl Channel {
    /// As channel `number`; `floats` have a unit.
    pub(super) fn write(&self, bits: &mut BitWriter, number: usize, floats: bool) {
        if floats {
            bits.put(self.unit.into(), 5);
        }
        bits.put(self.start.into(), 8);
        bits.put(self.floor.into(), 8);
        let mut model = self.model.clone();
        if model == Model::default() {
            return bits.put(0, 1);
        }
        bits.put(1, 1);
        bits.put(model.earlier.len() as u64, 2);
        for earlier in &model.earlier {
            let before = number - earlier.channel - 1;
            bits.put(before as u64, bits_below(reach(number)));
        }
        let width = model.coefficients().map(bits_of).max().unwrap_or(1);
        bits.put(u64::from(model.precision - PRECISION.start()), 3);
        bits.put(u64::from(width - 1), 4);
        for coefficient in model.coefficients() {
            bits.put_signed(coefficient, width);
        }
        for weight in model.weights_mut() {
            bits.put(u64::from(weight.unsigned_abs()), WEIGHT_BITS);
        }
    }

    /// None if it says something that no writer does.
    pub(super) fn read(bits: &mut BitReader<'_>, number: usize, floats: bool) -> Option<Self> {
        let unit = if floats { bits.take(5) as u32 } else { 0 };
        let start = bits.take(8) as u8;
        let floor = bits.take(8) as u8;
        let mut model = Model::default();
        if bits.take(1) == 1 {
            for _ in 0..bits.take(2) {
                let before = match number {
                    0 => return None,
                    _ => bits.take(bits_below(reach(number))) as usize,
                };
                model.earlier.push(Earlier {
                    channel: number.checked_sub(before + 1)?,
                    there: [0; 5],
                    weight: 0,
                });
            }
            model.precision = bits.take(3) as u32 + PRECISION.start();
            let width = bits.take(4) as u32 + 1;
            for coefficient in model.coefficients_mut() {
                *coefficient = bits.take_signed(width);
            }
            for weight in model.weights_mut() {
                *weight = bits.take(WEIGHT_BITS) as i32;
            }
        }
        let possible = unit <= MOST_UNIT && model.is_bounded();
        possible.then_some(Self {
            unit,
            start,
            floor,
            model,
        })
    }
}
