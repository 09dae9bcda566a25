//! From what `tiff` gives to samples as a [`Raster`](super::super::raster::Raster) has them.
//!
//! Invariant: every function gives as many samples as the page has pixels times channels, or nothing.

use tiff::decoder::DecodingResult;

use super::super::raster::{Channels, Samples};

/// How samples lie in memory: `count` planes of a page, one after another; of one plane, interleaved.
pub(super) struct Planes {
    pub(super) width: usize,
    pub(super) pixels: usize,
    pub(super) count: usize,
}

impl Planes {
    /// The first `kept` of `stored` samples a pixel, interleaved. Whole numbers of 8 and 16 bits, and floats.
    pub(super) fn interleaved(
        &self,
        data: DecodingResult,
        stored: usize,
        kept: usize,
    ) -> Option<Samples> {
        let narrow = |data: Vec<f64>| data.into_iter().map(|v| v as f32).collect();
        Some(match data {
            DecodingResult::U8(data) => Samples::U8(self.pick(data, stored, kept)?),
            DecodingResult::U16(data) => Samples::U16(self.pick(data, stored, kept)?),
            DecodingResult::F32(data) => Samples::F32(self.pick(data, stored, kept)?),
            DecodingResult::F64(data) => Samples::F32(self.pick(narrow(data), stored, kept)?),
            DecodingResult::F16(data) => {
                let wide = data.into_iter().map(f32::from).collect();
                Samples::F32(self.pick(wide, stored, kept)?)
            }
            _ => return None,
        })
    }

    fn pick<T: Copy>(&self, data: Vec<T>, stored: usize, kept: usize) -> Option<Vec<T>> {
        if data.len() != self.pixels * stored || kept > stored {
            return None;
        }
        if self.count > 1 {
            let pixel = |i| (0..kept).map(move |plane| plane * self.pixels + i);
            return Some(
                (0..self.pixels)
                    .flat_map(pixel)
                    .map(|at| data[at])
                    .collect(),
            );
        }
        if stored == kept {
            return Some(data);
        }
        let pixels = data.chunks_exact(stored);
        Some(pixels.flat_map(|pixel| pixel[..kept].to_vec()).collect())
    }

    /// One number a pixel from rows of 1, 2, 4 or 8 bits each, the first in the highest bits; a row starts with
    /// a byte of its own.
    pub(super) fn unpacked(&self, data: DecodingResult, bits: u8) -> Option<Vec<u8>> {
        let DecodingResult::U8(data) = data else {
            return None;
        };
        if !matches!(bits, 1 | 2 | 4 | 8) {
            return None;
        }
        let bits = usize::from(bits);
        let row = (self.width * bits).div_ceil(8);
        let number = |row: &[u8], x: usize| {
            let at = x * bits;
            let shifted = row[at / 8] >> (8 - bits - at % 8);
            shifted & (0xff >> (8 - bits))
        };
        let numbers = data
            .chunks_exact(row)
            .flat_map(|row| (0..self.width).map(move |x| number(row, x)));
        let numbers: Vec<u8> = numbers.collect();
        (numbers.len() == self.pixels).then_some(numbers)
    }
}

/// Levels of few bits as levels of 8, exactly: 255 is a multiple of 1, 3 and 15.
pub(super) fn full_range(mut levels: Vec<u8>, bits: u8) -> Vec<u8> {
    let step = 255 / ((1 << bits) - 1);
    for level in &mut levels {
        *level *= step;
    }
    levels
}

/// RGB by the colour map: all reds, then greens, then blues (TIFF 6.0, section 5). Nothing if the map is short.
///
/// The map has 16 bits, written as 257 or as 256 times the level, or, against the specification, as the level:
/// the high byte is right for the first two. libtiff reads it so too.
pub(super) fn colors_of(indexes: &[u8], bits: u8, map: &[u64]) -> Option<Vec<u8>> {
    let size = 1 << bits;
    let map = map.get(..3 * size)?;
    let shift = if map.iter().all(|&v| v < 256) { 0 } else { 8 };
    let color =
        |&index: &u8| [0, 1, 2].map(|c| (map[c * size + usize::from(index)] >> shift) as u8);
    Some(indexes.iter().flat_map(color).collect())
}

/// RGB from the full-range luma and chromas of JPEG (JFIF 1.02).
pub(super) fn from_ycbcr(samples: Samples) -> Option<Samples> {
    let Samples::U8(mut samples) = samples else {
        return None;
    };
    for pixel in samples.as_chunks_mut::<3>().0 {
        *pixel = super::ycbcr_to_rgb(*pixel);
    }
    Some(Samples::U8(samples))
}

/// Straight colours from colours that were multiplied with alpha; where that is zero, black.
pub(super) fn divide_by_alpha(samples: &mut Samples, channels: Channels) {
    fn divide<T: Copy>(data: &mut [T], channels: usize, divided: impl Fn(T, T) -> T) {
        for pixel in data.chunks_exact_mut(channels) {
            if let Some((alpha, colors)) = pixel.split_last_mut() {
                for value in colors {
                    *value = divided(*value, *alpha);
                }
            }
        }
    }
    // Rounded to the nearest; a colour above its alpha is full.
    let whole = |value: u32, alpha: u32, full: u32| match alpha {
        0 => 0,
        alpha => ((value * full + alpha / 2) / alpha).min(full),
    };
    let channels = channels.count();
    match samples {
        Samples::U8(data) => divide(data, channels, |value, alpha| {
            whole(value.into(), alpha.into(), 0xff) as u8
        }),
        Samples::U16(data) => divide(data, channels, |value, alpha| {
            whole(value.into(), alpha.into(), 0xffff) as u16
        }),
        Samples::F32(data) => divide(data, channels, |value, alpha| {
            if alpha > 0.0 { value / alpha } else { 0.0 }
        }),
    }
}
