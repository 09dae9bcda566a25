//! High and low bytes apart: coding 1, and one of the forms of coding 2.
//!
//! Invariant: its layout never changes; the first stores have it. The length of the first frame
//! (u32), then the zstd frames of the high and of the low bytes.
//!
//! The high byte holds sign, exponent and two bits of the mantissa and compresses; the low byte is
//! noise. Apart they take 16 % less than raw, as they lie only 8 %.

use half::f16;

use super::{Effort, damaged, expand, length, squeeze};
use crate::error::Result;

pub(super) fn compress(values: &[f16], out: &mut Vec<u8>) -> Result<()> {
    let high: Vec<u8> = values.iter().map(|v| (v.to_bits() >> 8) as u8).collect();
    let low: Vec<u8> = values.iter().map(|v| v.to_bits() as u8).collect();
    let high = squeeze(&high, Effort::Repetitions)?;
    let low = squeeze(&low, Effort::Repetitions)?;
    out.reserve_exact(4 + high.len() + low.len());
    out.extend_from_slice(&length(high.len())?);
    out.extend_from_slice(&high);
    out.extend_from_slice(&low);
    Ok(())
}

/// The `values` values, finite or not.
pub(super) fn decompress(values: usize, payload: &[u8]) -> Result<Vec<f16>> {
    let (first, frames) = payload.split_first_chunk::<4>().ok_or_else(damaged)?;
    let first = u32::from_le_bytes(*first) as usize;
    let (high, low) = frames.split_at_checked(first).ok_or_else(damaged)?;
    let high = expand(high, true, values)?;
    let low = expand(low, true, values)?;
    let data = high.iter().zip(&*low);
    let value = |(&high, &low)| f16::from_bits(u16::from(high) << 8 | u16::from(low));
    Ok(data.map(value).collect())
}
