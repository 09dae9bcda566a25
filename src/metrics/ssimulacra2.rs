//! SSIMULACRA2: how a person would judge the difference; the only user of `fast_ssim2`.
//!
//! Invariant: the pixels that are worked on at once have a bound that no image raises.

use fast_ssim2::{
    MAX_IMAGE_PIXELS, PixelDescriptor, PixelSlice, Ssimulacra2Config, StripConfig,
    compute_ssimulacra2_with_config,
};

use super::same_size;
use crate::error::{Error, Result};
use crate::pixels::Pixels;

/// Pixels, each of which takes about 105 bytes.
const AT_ONCE: usize = 1 << 24;
/// Rows above and below a strip that are worked on with it.
const HALO: usize = 256;

/// SSIMULACRA2 2.1 of Sneyers and others (Cloudinary; the tool `ssimulacra2` of libjxl): at most 100, which equal
/// images have, and without a lower end. It was fitted to people's judgements of compressed images: 90 is an image that
/// can't be told from its original at its own size, 70 is high quality, 50 medium, 30 low, as the tool says.
///
/// The RGB bytes become light by sRGB's own transfer function, light becomes XYB, and that is compared at up to six
/// scales by a kind of SSIM and by edges that appeared or went. The score is that of the reference tool to eight
/// decimals up to 2^24 pixels; larger images are cut into strips to bound memory, which moved the score by up to 0.08
/// where it was tried. Alpha is not looked at.
///
/// `None` where a side is shorter than 8 pixels, as the reference tool has it, and where memory would have no bound:
/// above 2^28 pixels, and above 2^24 if the image is wider than 2^14.
///
/// # Errors
/// `InvalidInput` if the images differ in size.
pub fn ssimulacra2(original: &Pixels, other: &Pixels) -> Result<Option<f64>> {
    same_size(original, other)?;
    score(original, other, AT_ONCE)
}

/// The score, with `at_once` pixels worked on at once.
pub(super) fn score(original: &Pixels, other: &Pixels, at_once: usize) -> Result<Option<f64>> {
    let (width, height) = (original.width() as usize, original.height() as usize);
    let whole = width * height <= at_once;
    let rows = at_once / width;
    // A strip is at least as high as the rows around it.
    let cut = rows >= 4 * HALO;
    if width.min(height) < 8 || width * height > MAX_IMAGE_PIXELS || !whole && !cut {
        return Ok(None);
    }
    let config = if whole {
        Ssimulacra2Config::default()
    } else {
        let strip = StripConfig::new(rows - 2 * HALO).with_halo_rows(HALO);
        Ssimulacra2Config::default().with_strip(strip)
    };
    let score = compute_ssimulacra2_with_config(&slice(original)?, &slice(other)?, &config);
    score.map(Some).map_err(|e| refused(original, e))
}

fn slice(pixels: &Pixels) -> Result<PixelSlice<'_>> {
    let (width, height) = (pixels.width(), pixels.height());
    let row = width as usize * 3;
    let slice = PixelSlice::new(
        pixels.as_rgb(),
        width,
        height,
        row,
        PixelDescriptor::RGB8_SRGB,
    );
    slice.map_err(|e| refused(pixels, e))
}

fn refused(pixels: &Pixels, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    let (width, height) = (pixels.width(), pixels.height());
    Error::invalid(format!(
        "SSIMULACRA2 of {width}x{height} pixels can't be computed"
    ))
    .with_source(cause)
}
