//! A quantised latent: the step of each channel, then the levels of all values as the coder of `dense` has them.
//!
//! Invariant: only a latent that is in the levels of its tier is taken, so nothing is lost here; every step that is
//! read gives finite values.

use half::f16;

use super::dense;
use crate::error::{Error, Result};
use crate::latent::LatentShape;
use crate::record::tier::{Tier, channels, largest, level_of, value_of};

/// The payload of `values`, which are in the levels of `tier`.
pub(super) fn compress(shape: LatentShape, values: &[f16], tier: Tier) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    let mut levels = Vec::with_capacity(values.len());
    for channel in channels(shape, values) {
        let step = tier.step(largest(channel));
        payload.extend_from_slice(&step.to_le_bytes());
        for value in channel {
            let level = level_of(*value, step);
            if value_of(level, step).to_bits() != value.to_bits() {
                return Err(Error::invalid(format!(
                    "the latent is to be kept as {tier}, and its value {value} is no multiple of the step {step}"
                )));
            }
            levels.push(level);
        }
    }
    payload.extend(dense::compress_levels(shape, &levels)?);
    Ok(payload)
}

/// The values that [`compress`] was given.
pub(super) fn decompress(shape: LatentShape, tier: Tier, payload: &[u8]) -> Result<Vec<f16>> {
    let damaged = || Error::corrupted("the compressed latent is shorter than its steps");
    let steps = 4 * shape.channels as usize;
    let (steps, levels) = payload.split_at_checked(steps).ok_or_else(damaged)?;
    let (steps, _) = steps.as_chunks();
    let levels = dense::decompress_levels(shape, levels)?;
    let mut values = Vec::with_capacity(levels.len());
    let channel = levels.len() / shape.channels as usize;
    for (step, levels) in steps.iter().zip(levels.chunks_exact(channel)) {
        let step = f32::from_le_bytes(*step);
        let peak = tier.peak();
        let fits = step >= 0.0 && value_of(peak, step).is_finite();
        if !fits
            || levels
                .iter()
                .any(|level| level.unsigned_abs() > peak.unsigned_abs())
        {
            return Err(Error::corrupted(format!(
                "the compressed latent has a step of {step} and levels beyond those of {tier}"
            )));
        }
        values.extend(levels.iter().map(|level| value_of(*level, step)));
    }
    Ok(values)
}
