//! How near a decoded image is to its original: one file a metric, and all of them at once.
//!
//! Invariant: metrics see 8-bit sRGB colours only, at one size; what can't be computed is `None`, never a number that
//! means something else.

mod ms_ssim;
mod psnr;
mod ssim;
mod ssimulacra2;

pub use ms_ssim::ms_ssim;
pub use psnr::psnr;
pub use ssim::ssim;
pub use ssimulacra2::ssimulacra2;

use crate::error::{Error, Result};
use crate::pixels::Pixels;
use crate::quality::Quality;
use ssim::Scale;

/// Measures `other` against `original`. Where either has alpha, both are laid over white first, because colours under
/// alpha can't be seen.
///
/// # Errors
/// `InvalidInput` if the images differ in size.
pub fn measure(original: &Pixels, other: &Pixels) -> Result<Quality> {
    let (original, other) = (original.over([255; 3]), other.over([255; 3]));
    let psnr = psnr(&original, &other)?;
    let ssimulacra2 = ssimulacra2(&original, &other)?;
    let scale = Scale::of(&original, &other);
    let similarity = scale.similarity();
    Ok(Quality {
        psnr,
        ssim: similarity.map(|similarity| similarity.mean()),
        ms_ssim: similarity.and_then(|similarity| ms_ssim::over_scales(&scale, similarity)),
        ssimulacra2,
    })
}

/// Metrics compare pixel by pixel.
fn same_size(original: &Pixels, other: &Pixels) -> Result<()> {
    let size = |pixels: &Pixels| (pixels.width(), pixels.height());
    let ((width, height), (other_width, other_height)) = (size(original), size(other));
    if (width, height) == (other_width, other_height) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "images of {width}x{height} and {other_width}x{other_height} pixels can't be compared"
    )))
}

#[cfg(test)]
mod tests;
