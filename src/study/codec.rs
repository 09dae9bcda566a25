//! Files of image codecs that take no more bytes than they are allowed.
//!
//! Invariant: a file that was searched takes no more bytes than allowed, or its quality is 1.

use crate::error::Result;
use crate::image_io::{ImageFormat, Limits, WriteOptions, read_image, write_image};
use crate::pixels::Pixels;

/// A file, and the quality it was written at.
pub(super) struct Fitted {
    pub(super) quality: u8,
    pub(super) file: Vec<u8>,
}

/// The file of the best quality, from 1 to 100, that takes at most `bytes`; where even quality 1 takes more, that one.
///
/// Found by bisection: a better quality takes as many bytes or more. Where a codec breaks that rule for a quality or
/// two, the file fits all the same.
pub(super) fn fit(pixels: &Pixels, format: ImageFormat, bytes: u64) -> Result<Fitted> {
    let written = |quality| {
        let options = WriteOptions {
            quality: Some(quality),
            ..WriteOptions::default()
        };
        let file = write_image(pixels, format, &options)?;
        Ok(Fitted { quality, file })
    };
    let (mut low, mut high) = (1, 100);
    let mut best = None;
    while low < high {
        let middle = u8::midpoint(low, high) + (high - low) % 2;
        let fitted = written(middle)?;
        if fitted.file.len() as u64 <= bytes {
            low = middle;
            best = Some(fitted);
        } else {
            high = middle - 1;
        }
    }
    best.map_or_else(|| written(1), Ok)
}

/// The pixels of a file that was written here.
pub(super) fn read(file: &[u8], format: ImageFormat, limits: &Limits) -> Result<Pixels> {
    let read = read_image(file, &format!("the image as {format}"), limits)?;
    Ok(read.pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slopes with noise on them, so that each quality takes a little more.
    fn grainy(width: u32, height: u32) -> Pixels {
        let mut state = 7u32;
        let mut value = |at: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (at / 40 + (state >> 27)) as u8
        };
        let bytes = (0..width * height * 3).map(&mut value).collect();
        Pixels::from_rgb(width, height, bytes).unwrap()
    }

    #[test]
    fn bisection_finds_the_quality_that_trying_all_of_them_finds() {
        let pixels = grainy(40, 32);
        for format in [ImageFormat::Jpeg, ImageFormat::WebP] {
            let length = |quality| {
                let quality = Some(quality);
                let options = WriteOptions {
                    quality,
                    ..WriteOptions::default()
                };
                write_image(&pixels, format, &options).unwrap().len() as u64
            };
            let lengths: Vec<_> = (1..=100).map(length).collect();
            for allowed in [lengths[0], lengths[30] + 1, lengths[70] - 1, u64::MAX] {
                let fitting = (1..=100u8).rfind(|&q| lengths[usize::from(q) - 1] <= allowed);
                let found = fit(&pixels, format, allowed).unwrap();
                assert_eq!(Some(found.quality), fitting, "{format} in {allowed}");
                let expected = lengths[usize::from(found.quality) - 1];
                assert_eq!(found.file.len() as u64, expected);
            }
        }
    }

    #[test]
    fn where_nothing_fits_it_is_the_lowest_quality() {
        let found = fit(&grainy(40, 32), ImageFormat::Jpeg, 10).unwrap();
        assert_eq!(found.quality, 1);
        assert!(found.file.len() > 10);
    }
}
