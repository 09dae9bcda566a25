//! Values predicted from their neighbours and from earlier channels, and coded by how far off that is.
//!
//! Invariant: what decoding does, it does in integers, so every machine reads the same; what the constants say never
//! changes, because stored latents have it.
//!
//! `FORMAT.md` draws the layout. A value's level is 16 bits of it. A level is predicted by a sum of products; the
//! residuals around it say how large its own will be, which chooses the size of cells, so that one has a few bits at
//! most. The cell is coded by asymmetric numeral systems, what a cell leaves open is kept in plain bits.

mod bits;
mod channel;
mod distribution;
mod equations;
mod field;
mod fit;
mod states;
mod values;
mod walk;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use half::f16;

use self::bits::{BitReader, BitWriter};
use self::channel::{Channel, MOST_UNIT};
use self::distribution::{ESCAPE, ESCAPES};
use self::field::Field;
use self::states::{States, Symbols};
use self::values::{Floats, Kind, Levels, MANTISSA, Read, clamped, magnitude};
use self::walk::{Coder, Expected, Setting, walk};
use super::{damaged, length, planes};
use crate::error::Result;
use crate::latent::LatentShape;

/// What a payload begins with: how the rest is made.
mod form {
    /// High and low bytes apart, as zstd frames.
    pub(super) const PLANES: u8 = 0;
    pub(super) const PREDICTED: u8 = 1;
}

/// Latents with fewer values have one state: four would take more than they save time.
const MANY_VALUES: usize = 4096;
/// A value takes at least a hundredth of a bit: a payload that claims more values for each of its bytes is refused before
/// anything is allocated.
const MOST_VALUES_OF_BYTE: usize = 1024;
/// Residuals are kept in at most 2^6 16ths of a level.
const MOST_COARSE: u32 = 6;
/// A channel's parameters take more bytes than this.
const LEAST_CHANNEL: usize = 2;
/// One of so many values may be beyond the levels.
const OUTLIERS: usize = 64;
/// How many times the largest of the others the largest level is, as a power of two.
const ROOM: u32 = 2;
/// Mean differences below this part of the largest value, as a power of two, are less than the largest values can show in
/// cells of a quarter of them.
const FINEST: u32 = 8;

/// `values`, all finite.
pub(super) fn compress(shape: LatentShape, values: &[f16]) -> Result<Vec<u8>> {
    let values: Vec<u16> = values.iter().map(|value| value.to_bits()).collect();
    let units = values.chunks_exact(shape.height as usize * shape.width as usize);
    let units: Vec<u32> = units.map(unit).collect();
    predicted_or_planes::<Floats>(shape, &values, &units, 4)
}

/// What [`compress`] was given.
pub(super) fn decompress(shape: LatentShape, payload: &[u8]) -> Result<Vec<f16>> {
    let values = read::<Floats>(shape, payload)?;
    Ok(values.into_iter().map(f16::from_bits).collect())
}

/// Integers of a latent, channel by channel.
pub(super) fn compress_levels(shape: LatentShape, levels: &[i16]) -> Result<Vec<u8>> {
    let mut sizes: Vec<u16> = levels.iter().map(|level| level.unsigned_abs()).collect();
    // Residuals may be twice the largest level, and are kept up to 2^13.
    let coarse = (largest(&mut sizes).max(1).ilog2() + 6)
        .saturating_sub(13)
        .min(MOST_COARSE);
    let values: Vec<u16> = levels.iter().map(|level| level.cast_unsigned()).collect();
    let units = vec![0; shape.channels as usize];
    predicted_or_planes::<Levels>(shape, &values, &units, coarse)
}

/// What [`compress_levels`] was given.
pub(super) fn decompress_levels(shape: LatentShape, payload: &[u8]) -> Result<Vec<i16>> {
    let values = read::<Levels>(shape, payload)?;
    Ok(values.into_iter().map(u16::cast_signed).collect())
}

/// The unit in which all but outliers have levels of 16 bits. Where neighbours are so alike that the largest values aren't
/// finer than their differences, these have 11 bits: more would never be reached.
fn unit(values: &[u16]) -> u32 {
    let mut magnitudes: Vec<u16> = values.iter().map(|value| value & 0x7fff).collect();
    let bits = 64 - magnitude(largest(&mut magnitudes)).leading_zeros();
    let differences = values.windows(2).map(|pair| {
        let [a, b] = [pair[0], pair[1]].map(|value| Floats::level(value, 0));
        a.abs_diff(b) >> bits.saturating_sub(FINEST)
    });
    let coarse = differences.sum::<u64>() < values.len() as u64;
    let bits_of_level = if coarse { MANTISSA + 1 } else { 15 - ROOM };
    bits.saturating_sub(bits_of_level).min(MOST_UNIT)
}

/// The largest but for outliers.
fn largest(sizes: &mut [u16]) -> u16 {
    let at = sizes.len() - 1 - sizes.len() / OUTLIERS;
    *sizes.select_nth_unstable(at).1
}

fn predicted_or_planes<K: Kind>(
    shape: LatentShape,
    values: &[u16],
    units: &[u32],
    coarse: u32,
) -> Result<Vec<u8>> {
    let predicted = predicted::<K>(shape, values, units, coarse)?;
    let values: Vec<f16> = values.iter().copied().map(f16::from_bits).collect();
    let mut planes = vec![form::PLANES];
    planes::compress(&values, &mut planes)?;
    Ok(if predicted.len() < planes.len() {
        predicted
    } else {
        planes
    })
}

fn predicted<K: Kind>(
    shape: LatentShape,
    values: &[u16],
    units: &[u32],
    coarse: u32,
) -> Result<Vec<u8>> {
    let levels = levels::<K>(shape, values, units);
    let channels = fit::fit(shape, &levels, units, K::CONSTANT, coarse);
    let mut bits = BitWriter::default();
    if !K::HAS_UNITS {
        bits.put(coarse.into(), 3);
    }
    for (number, channel) in channels.iter().enumerate() {
        channel.write(&mut bits, number, K::HAS_UNITS);
    }
    let states = states_of(values.len());
    let mut encoder = Encoder::<K> {
        values,
        symbols: Symbols::default(),
        bits,
        kind: PhantomData,
    };
    walk(shape, &channels, Setting { coarse, states }, &mut encoder);
    let bits = encoder.bits.into_bytes();
    let symbols = encoder.symbols.into_bytes(states);
    Ok([
        &[form::PREDICTED],
        &length(bits.len())?[..],
        &bits,
        &symbols,
    ]
    .concat())
}

fn levels<K: Kind>(shape: LatentShape, values: &[u16], units: &[u32]) -> Field<i16> {
    let mut levels = Field::new(shape, units.iter().map(|_| 0));
    let mut row = vec![0; levels.width];
    for (at, values) in values.chunks_exact(row.len()).enumerate() {
        let (channel, y) = (at / levels.height, at % levels.height);
        for (level, value) in row.iter_mut().zip(values) {
            *level = clamped(K::level(*value, units[channel])) as i16;
        }
        levels.set_row(channel, y, &row);
    }
    levels
}

fn states_of(values: usize) -> usize {
    if values < MANY_VALUES {
        1
    } else {
        states::MOST
    }
}

fn read<K: Kind>(shape: LatentShape, payload: &[u8]) -> Result<Vec<u16>> {
    let count = shape.values()?;
    let (form, rest) = payload.split_first().ok_or_else(damaged)?;
    let values: Vec<u16> = match *form {
        form::PLANES => {
            let values = planes::decompress(count, rest)?;
            values.into_iter().map(f16::to_bits).collect()
        }
        form::PREDICTED if count / MOST_VALUES_OF_BYTE <= rest.len() => {
            decoded::<K>(shape, rest).ok_or_else(damaged)?
        }
        _ => return Err(damaged()),
    };
    // Without an early exit, because such a loop runs on vectors.
    let valid = values
        .iter()
        .fold(true, |all, value| all & K::is_valid(*value));
    if valid { Ok(values) } else { Err(damaged()) }
}

/// None if the bytes contradict themselves.
fn decoded<K: Kind>(shape: LatentShape, payload: &[u8]) -> Option<Vec<u16>> {
    let count = shape.values().ok()?;
    let (length, rest) = payload.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (bits, symbols) = rest.split_at_checked(length)?;
    if shape.channels as usize > bits.len() / LEAST_CHANNEL {
        return None;
    }
    let mut bits = BitReader::new(bits);
    let coarse = if K::HAS_UNITS { 0 } else { bits.take(3) as u32 };
    if coarse > MOST_COARSE {
        return None;
    }
    let numbers = 0..shape.channels as usize;
    let channels: Option<Vec<Channel>> = numbers
        .map(|number| Channel::read(&mut bits, number, K::HAS_UNITS))
        .collect();
    let states = states_of(count);
    let mut decoder = Decoder::<K> {
        values: vec![0; count],
        states: States::new(symbols, states)?,
        bits,
        kind: PhantomData,
    };
    walk(shape, &channels?, Setting { coarse, states }, &mut decoder);
    let whole = decoder.states.at_end() && decoder.bits.at_end();
    whole.then_some(decoder.values)
}

struct Encoder<'a, K> {
    values: &'a [u16],
    symbols: Symbols,
    bits: BitWriter,
    kind: PhantomData<K>,
}

impl<K: Kind> Coder for Encoder<'_, K> {
    type Kind = K;

    fn code(&mut self, expected: &Expected) -> i32 {
        let value = self.values[expected.number];
        let exact = K::level(value, expected.unit);
        let level = clamped(exact);
        let cell = level >> expected.size;
        let residual = cell - expected.cell;
        let slots = expected.distribution.slots(residual);
        if let Some(slots) = slots.filter(|_| i64::from(level) == exact) {
            self.symbols.push(expected.state, slots);
            K::write_rest(&mut self.bits, value, cell, expected.size, expected.unit);
        } else {
            self.symbols.push(expected.state, ESCAPES);
            self.bits.put(value.into(), 16);
        }
        level
    }
}

struct Decoder<'a, K> {
    values: Vec<u16>,
    states: States<'a>,
    bits: BitReader<'a>,
    kind: PhantomData<K>,
}

impl<K: Kind> Decoder<'_, K> {
    #[cold]
    fn escaped(&mut self, unit: u32) -> Read {
        let value = self.bits.take(16) as u16;
        (clamped(K::level(value, unit)), value)
    }
}

impl<K: Kind> Coder for Decoder<'_, K> {
    type Kind = K;

    #[inline]
    fn code(&mut self, expected: &Expected) -> i32 {
        let slot = self.states.slot(expected.state);
        let (level, value) = if slot < ESCAPE {
            let (residual, slots) = expected.distribution.find(slot);
            self.states.advance(expected.state, slot, slots);
            let cell = expected.cell + residual;
            K::read_rest(&mut self.bits, cell, expected.size, expected.unit)
        } else {
            self.states.advance(expected.state, slot, ESCAPES);
            self.escaped(expected.unit)
        };
        self.values[expected.number] = value;
        level
    }
}
