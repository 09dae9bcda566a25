//! The bounds of a latent's error in a record's header: two numbers a channel.
//!
//! Invariant: every bound that can be one comes back bit by bit.

use super::tier::ChannelError;
use crate::error::{Error, Result};
use crate::latent::LatentShape;

/// Largest difference and root mean square of each channel, as f32.
pub(super) fn to_bytes(errors: &[ChannelError]) -> Vec<u8> {
    let numbers = errors.iter().flat_map(|error| [error.max_abs, error.rms]);
    numbers.flat_map(f32::to_le_bytes).collect()
}

pub(super) fn from_bytes(value: &[u8]) -> Result<Vec<ChannelError>> {
    let (channels, rest) = value.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Error::corrupted(format!(
            "the latent's error has {} bytes, not 8 for each channel",
            value.len()
        )));
    }
    let number = |[a, b, c, d]: [u8; 4]| f32::from_le_bytes([a, b, c, d]);
    let error = |[a, b, c, d, rms @ ..]: &[u8; 8]| ChannelError {
        max_abs: number([*a, *b, *c, *d]),
        rms: number(*rms),
    };
    Ok(channels.iter().map(error).collect())
}

/// Refuses bounds that no latent of `shape` can have.
pub(super) fn check(errors: &[ChannelError], shape: LatentShape) -> Result<()> {
    if !errors.is_empty() && errors.len() != shape.channels as usize {
        return Err(Error::invalid(format!(
            "a latent of shape {shape} can't have the errors of {} channels",
            errors.len()
        )));
    }
    let possible = |number: f32| number.is_finite() && number >= 0.0;
    let impossible = errors
        .iter()
        .find(|e| !possible(e.max_abs) || !possible(e.rms));
    impossible.map_or(Ok(()), |error| {
        Err(Error::invalid(format!(
            "no channel has the error {error:?}"
        )))
    })
}
