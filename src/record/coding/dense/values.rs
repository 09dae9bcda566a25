//! What is coded: f16 values or integers, and what remains of one below its cell.
//!
//! Invariant: a value is its level, a 16-bit integer, and what the level leaves open; a cell is a power of two of
//! levels. Nothing here is a float: every machine reads the same.

use super::bits::{BitReader, BitWriter};

/// A level, and the 16 bits of the value it belongs to.
pub(super) type Read = (i32, u16);

pub(super) trait Kind {
    /// Whether a channel's levels have a unit of its own.
    const HAS_UNITS: bool;
    /// What the constant that predictions take part of is, in levels.
    const CONSTANT: i32;

    /// The level of a value, where it isn't beyond 16 bits.
    fn level(value: u16, unit: u32) -> i64;

    /// What residuals are kept in, as a power of two of 16ths of a level, where the payload says `coarse`.
    fn coarse(coarse: u32) -> u32;

    /// Whether the 16 bits are a value at all.
    fn is_valid(value: u16) -> bool;

    /// What `value`, of `cell`, is within it.
    fn write_rest(bits: &mut BitWriter, value: u16, cell: i32, size: u32, unit: u32);

    fn read_rest(bits: &mut BitReader<'_>, cell: i32, size: u32, unit: u32) -> Read;
}

/// The level as it is kept in rows: the nearest of 16 bits.
#[inline]
pub(super) fn clamped(level: i64) -> i32 {
    level.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i32
}

/// Integers, which are their own levels.
pub(super) struct Levels;

impl Kind for Levels {
    const HAS_UNITS: bool = false;
    const CONSTANT: i32 = 16;

    fn level(value: u16, _unit: u32) -> i64 {
        i64::from(value.cast_signed())
    }

    #[inline]
    fn coarse(coarse: u32) -> u32 {
        coarse
    }

    fn is_valid(_value: u16) -> bool {
        true
    }

    fn write_rest(bits: &mut BitWriter, value: u16, _cell: i32, size: u32, _unit: u32) {
        bits.put(u64::from(value) & ((1 << size) - 1), size);
    }

    #[inline]
    fn read_rest(bits: &mut BitReader<'_>, cell: i32, size: u32, _unit: u32) -> Read {
        // Most cells are one level.
        let rest = if size == 0 { 0 } else { bits.take(size) as i32 };
        let level = ((cell << size) | rest) as i16;
        (i32::from(level), level.cast_unsigned())
    }
}

/// Finite f16. With magnitudes in 2^-24, the least there is, and a unit of 2^u of these, a level is the magnitude in units,
/// rounded down, and for negative values its complement: so -0 has another level than 0.
pub(super) struct Floats;

/// Bits of a mantissa that are stored.
pub(super) const MANTISSA: u32 = 10;
/// The largest finite value.
const LARGEST: u64 = 0x7bff;

/// In 2^-24.
pub(super) fn magnitude(value: u16) -> u64 {
    let (exponent, mantissa) = (value >> MANTISSA & 31, u64::from(value & 0x3ff));
    match exponent {
        0 => mantissa,
        _ => (1 << MANTISSA | mantissa) << (exponent - 1),
    }
}

/// The magnitude's bits as f16 where `significant`, below 2^11, are 2^`exponent`.
#[inline]
fn bits_of(significant: u64, exponent: u32) -> u64 {
    // The leading bit of a normal value adds one to the exponent.
    (u64::from(exponent) << MANTISSA) + significant
}

impl Kind for Floats {
    const HAS_UNITS: bool = true;
    const CONSTANT: i32 = 4096;

    fn level(value: u16, unit: u32) -> i64 {
        let level = (magnitude(value) >> unit).cast_signed();
        if value >> 15 == 0 { level } else { !level }
    }

    #[inline]
    fn coarse(_coarse: u32) -> u32 {
        4
    }

    fn is_valid(value: u16) -> bool {
        u64::from(value & 0x7fff) <= LARGEST
    }

    fn write_rest(bits: &mut BitWriter, value: u16, cell: i32, size: u32, unit: u32) {
        let (magnitude, size) = (magnitude(value), size + unit);
        let (mut exact, count) = match (if cell < 0 { !cell } else { cell }, magnitude) {
            (0, 0) => return bits.put(0, size),
            (0, _) => {
                let exponent = magnitude.ilog2();
                let zeros = size - 1 - exponent;
                bits.put(1 << zeros, zeros + 1);
                let count = exponent.min(MANTISSA);
                (magnitude >> (exponent - count), count)
            }
            (cell, _) => {
                let count = size.min(MANTISSA.saturating_sub(cell.ilog2()));
                (magnitude >> (size - count), count)
            }
        };
        exact &= (1 << count) - 1;
        bits.put(exact, count);
    }

    #[inline]
    fn read_rest(bits: &mut BitReader<'_>, cell: i32, size: u32, unit: u32) -> Read {
        let size = size + unit;
        let sign = cell >> 31;
        let cell = (cell ^ sign) as u32;
        let (significant, exponent) = if (1..1 << (MANTISSA + 1)).contains(&cell) {
            let count = size.min(MANTISSA - cell.ilog2());
            (u64::from(cell) << count | bits.take(count), size - count)
        } else if cell == 0 {
            near_zero(bits, size)
        } else {
            // As many bits as an f16 has, or more.
            let beyond = cell.ilog2() - MANTISSA;
            (u64::from(cell >> beyond), size + beyond)
        };
        let level = i32::from((significant << exponent >> unit) as i16);
        let value = bits_of(significant, exponent) as u16 | (sign as u16 & 0x8000);
        (level ^ sign, value)
    }
}

/// The cell at zero has values of many exponents, all of which are about as near to each other: a one after as many zeros as
/// its exponent is below the cell's, and its mantissa.
fn near_zero(bits: &mut BitReader<'_>, size: u32) -> (u64, u32) {
    let zeros = bits.peek().trailing_zeros();
    if zeros >= size {
        bits.skip(size);
        return (0, 0);
    }
    bits.skip(zeros + 1);
    let exponent = size - 1 - zeros;
    let count = exponent.min(MANTISSA);
    (1 << count | bits.take(count), exponent - count)
}
