//! A [`Raster`] to [`Pixels`]: colours to sRGB row by row, 8 bits, upright.
//!
//! Invariant: values are rounded once, at the end; beside the samples and the pixels only rows are in memory.

use std::sync::Arc;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};

use super::colors::Conversion;
use super::raster::{Channels, Raster, Samples};
use crate::error::Result;
use crate::pixels::Pixels;

/// The pixels of a raster, and whether its colours could be converted as they ask for.
pub(super) fn to_pixels(raster: Raster) -> Result<(Pixels, bool)> {
    let (width, height) = (raster.width, raster.height);
    let (conversion, understood) = Conversion::new(raster.colors, raster.channels);
    let rows = Rows {
        width: width as usize,
        channels: raster.channels,
        conversion,
    };
    let (rgb, alpha) = match raster.samples {
        Samples::U8(samples) if raster.channels == Channels::Rgb => {
            (rows.converted_in_place(samples), None)
        }
        Samples::U8(samples) => rows.converted(&samples),
        Samples::U16(samples) => rows.converted(&samples),
        Samples::F32(samples) => rows.converted(&samples),
    };
    let pixels = Pixels::from_rgb(width, height, rgb)?;
    let pixels = match alpha {
        Some(alpha) => pixels.with_alpha(alpha)?,
        None => pixels,
    };
    Ok((upright(pixels, raster.orientation)?, understood))
}

/// A sample of any type, of full range.
trait Sample: Copy {
    /// In 16 bits.
    fn wide(self) -> u16;
    /// In 8 bits, rounded to the nearest.
    fn narrow(self) -> u8;
}

impl Sample for u8 {
    fn wide(self) -> u16 {
        u16::from(self) * 257
    }

    fn narrow(self) -> u8 {
        self
    }
}

impl Sample for u16 {
    fn wide(self) -> u16 {
        self
    }

    fn narrow(self) -> u8 {
        // 65535 is 255 times 257, which is odd: nothing lies halfway between two levels.
        ((u32::from(self) + 128) / 257) as u8
    }
}

/// What is below 0 or no number is 0, what is above 1 is 1; halves are rounded to even.
impl Sample for f32 {
    fn wide(self) -> u16 {
        (f64::from(self) * 65535.0).round_ties_even() as u16
    }

    fn narrow(self) -> u8 {
        (f64::from(self) * 255.0).round_ties_even() as u8
    }
}

struct Rows {
    width: usize,
    channels: Channels,
    conversion: Arc<Conversion>,
}

impl Rows {
    /// The RGB bytes, and those of alpha, where the channels have it.
    fn converted<T: Sample>(&self, samples: &[T]) -> (Vec<u8>, Option<Vec<u8>>) {
        let count = self.channels.count();
        let colors = count - usize::from(self.channels.has_alpha());
        let pixels = samples.len() / count;
        let mut rgb = Vec::with_capacity(pixels * 3);
        let alpha = |pixel: &[T]| pixel[colors].narrow();
        let alpha = self
            .channels
            .has_alpha()
            .then(|| samples.chunks_exact(count).map(alpha).collect());
        if self.conversion.keeps() {
            // Grey is repeated.
            let pixel = |pixel: &[T]| [0, 1, 2].map(|c: usize| pixel[c.min(colors - 1)].narrow());
            rgb.extend(samples.chunks_exact(count).flat_map(pixel));
            return (rgb, alpha);
        }
        let mut from = Vec::with_capacity(self.width * colors);
        let mut to = vec![0; self.width * 3];
        for row in samples.chunks_exact(self.width * count) {
            from.clear();
            let pixels = row.chunks_exact(count);
            from.extend(pixels.flat_map(|pixel| &pixel[..colors]).map(|v| v.wide()));
            self.conversion.convert(&from, &mut to);
            rgb.extend(to.iter().map(|v| v.narrow()));
        }
        (rgb, alpha)
    }

    /// The same for RGB of 8 bits, in the memory that it lies in.
    fn converted_in_place(&self, mut samples: Vec<u8>) -> Vec<u8> {
        if self.conversion.keeps() {
            return samples;
        }
        let mut to = vec![0; self.width * 3];
        for row in samples.chunks_exact_mut(self.width * 3) {
            let from: Vec<u16> = row.iter().map(|v| v.wide()).collect();
            self.conversion.convert(&from, &mut to);
            for (value, converted) in row.iter_mut().zip(&to) {
                *value = converted.narrow();
            }
        }
        samples
    }
}

fn upright(pixels: Pixels, orientation: u8) -> Result<Pixels> {
    let orientation = Orientation::from_exif(orientation).unwrap_or(Orientation::NoTransforms);
    if orientation == Orientation::NoTransforms {
        return Ok(pixels);
    }
    let (width, height) = (pixels.width(), pixels.height());
    let alpha = pixels.alpha().map(<[u8]>::to_vec);
    let image = RgbImage::from_raw(width, height, pixels.into_rgb());
    let mut image = DynamicImage::from(image.expect("three bytes a pixel"));
    image.apply_orientation(orientation);
    let turned = Pixels::from_rgb(image.width(), image.height(), image.into_bytes())?;
    let Some(alpha) = alpha else {
        return Ok(turned);
    };
    let alpha = GrayImage::from_raw(width, height, alpha);
    let mut alpha = DynamicImage::from(alpha.expect("a byte a pixel"));
    alpha.apply_orientation(orientation);
    turned.with_alpha(alpha.into_bytes())
}
