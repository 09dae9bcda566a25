//! File bytes to a [`Raster`], one file a decoder.
//!
//! Invariant: whole images only, and a decoder's panic on bytes that it didn't foresee is an error.

mod common;
mod jpeg;
mod jpeg_scan;
mod png;
mod tiff;
mod tiff_samples;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::ImageFormat;
use super::avif;
use super::raster::Raster;
use super::refusal::Source;
use crate::error::Result;

/// The first frame or page of a file, as stored.
pub(super) fn decode(source: Source) -> Result<Raster> {
    let read = || match source.format {
        ImageFormat::Avif => avif::read(source),
        ImageFormat::Jpeg => jpeg::read(source),
        ImageFormat::Png => png::read(source),
        ImageFormat::Tiff => tiff::read(source),
        _ => common::read(source),
    };
    // The decoders are other people's code, fed with anybody's bytes. They keep nothing between calls.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(source.damaged()))
}

/// RGB from luma and the two chromas, all of full range (JFIF 1.02).
fn ycbcr_to_rgb([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    let [luma, blue, red] = [
        f32::from(luma),
        f32::from(blue) - 128.0,
        f32::from(red) - 128.0,
    ];
    let rgb = [
        luma + 1.402 * red,
        luma - 0.344_136 * blue - 0.714_136 * red,
        luma + 1.772 * blue,
    ];
    rgb.map(|value| value.round_ties_even().clamp(0.0, 255.0) as u8)
}
