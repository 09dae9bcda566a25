//! The quality in a record's header and in listings: four numbers in a fixed order.
//!
//! Invariant: a metric that doesn't apply is no number there, and every number that is one comes back bit by bit.

use crate::error::{Error, Result};
use crate::fields;
use crate::quality::Quality;

const BYTES: usize = 32;

/// PSNR, SSIM, MS-SSIM, SSIMULACRA2 as f64.
pub(super) fn to_bytes(quality: &Quality) -> [u8; BYTES] {
    let optional = [quality.ssim, quality.ms_ssim, quality.ssimulacra2];
    let [ssim, ms_ssim, ssimulacra2] = optional.map(|metric| metric.unwrap_or(f64::NAN));
    let all = [quality.psnr, ssim, ms_ssim, ssimulacra2].map(f64::to_le_bytes);
    let mut bytes = [0; BYTES];
    bytes.copy_from_slice(all.as_flattened());
    bytes
}

pub(super) fn from_bytes(value: &[u8]) -> Result<Quality> {
    let bytes: [u8; BYTES] = fields::array("quality", value)?;
    let (numbers, _) = bytes.as_chunks::<8>();
    let number = |at: usize| f64::from_le_bytes(numbers[at]);
    let optional = |at: usize| Some(number(at)).filter(|value| !value.is_nan());
    Ok(Quality {
        ssim: optional(1),
        ms_ssim: optional(2),
        ssimulacra2: optional(3),
        ..Quality::of_psnr(number(0))
    })
}

/// Refuses numbers that no image can have.
pub(super) fn check(quality: &Quality) -> Result<()> {
    let all = [
        Some(quality.psnr),
        quality.ssim,
        quality.ms_ssim,
        quality.ssimulacra2,
    ];
    let others = [quality.ssim, quality.ms_ssim, quality.ssimulacra2];
    let possible = all.iter().flatten().all(|value| !value.is_nan())
        && others.iter().flatten().all(|value| value.is_finite())
        && quality.psnr > f64::NEG_INFINITY;
    if possible {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "no image has the quality {quality:?}"
    )))
}
