//! PSNR: the mean squared error, as a level.

use super::same_size;
use crate::error::Result;
use crate::pixels::Pixels;

/// The peak signal-to-noise ratio in dB: 10 log10(255^2 / mean squared error) over all RGB bytes. Equal images
/// give [`f64::INFINITY`]; typical reconstructions lie between 20 and 50. Alpha is not looked at.
///
/// # Errors
/// `InvalidInput` if the images differ in size.
pub fn psnr(original: &Pixels, other: &Pixels) -> Result<f64> {
    same_size(original, other)?;
    let (original, other) = (original.as_rgb(), other.as_rgb());
    let squares = original.iter().zip(other);
    let sum: u64 = squares.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    let mean = sum as f64 / original.len() as f64;
    Ok(10.0 * (255.0_f64.powi(2) / mean).log10())
}
