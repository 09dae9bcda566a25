//! Resizing to the very bytes of Pillow's `Image.resize(size, Image.BICUBIC)`.
//!
//! Many programs that train and run the models resize with Pillow: other bytes would give other latents.

use std::borrow::Cow;

use super::Limits;
use crate::error::{Error, Result};
use crate::pixels::Pixels;

/// A size to bring images to, by an antialiased bicubic filter.
///
/// Without `center_crop` the image is stretched to the new aspect ratio. The bytes are those of Pillow up to 12,
/// which goes across before it goes down; for some new aspect ratios Pillow 13 takes the other order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Whether to cut out the largest centred rectangle of the new aspect ratio first.
    pub center_crop: bool,
}

impl Resize {
    /// The image in the new size.
    ///
    /// # Errors
    /// `InvalidInput` if the new size has no pixels, or if it or the step in between (the new width by the old
    /// height) has more than 2^28.
    pub fn apply(&self, pixels: &Pixels) -> Result<Pixels> {
        self.check(pixels)?;
        let pixels = if self.center_crop {
            let (x, y, width, height) = self.crop_box(pixels);
            Cow::Owned(pixels.crop(x, y, width, height)?)
        } else {
            Cow::Borrowed(pixels)
        };
        let Some(alpha) = pixels.alpha() else {
            let (colors, _) = pixels.as_rgb().as_chunks::<3>();
            let colors = self.resized(colors, &pixels);
            return Pixels::from_rgb(self.width, self.height, colors.into_flattened());
        };
        // What is seen less weighs less: colours are resized times their alpha, and divided by it again.
        let (colors, _) = pixels.as_rgb().as_chunks::<3>();
        let weighted = colors.iter().zip(alpha).map(|(&[r, g, b], &alpha)| {
            let [r, g, b] = [r, g, b].map(|value| times(value, alpha));
            [r, g, b, alpha]
        });
        let resized = self.resized(&weighted.collect::<Vec<_>>(), &pixels);
        let (colors, alpha): (Vec<[u8; 3]>, Vec<u8>) = resized
            .into_iter()
            .map(|[r, g, b, alpha]| ([r, g, b].map(|value| divided(value, alpha)), alpha))
            .unzip();
        Pixels::from_rgb(self.width, self.height, colors.into_flattened())?.with_alpha(alpha)
    }

    /// The pixels of `image`, of any number of channels, in the new size.
    fn resized<const N: usize>(&self, pixels: &[[u8; N]], image: &Pixels) -> Vec<[u8; N]> {
        let (width, height) = (image.width(), image.height());
        let across = if width == self.width {
            Cow::Borrowed(pixels)
        } else {
            Cow::Owned(across(pixels, width, self.width))
        };
        if height == self.height {
            across.into_owned()
        } else {
            down(&across, self.width as usize, height, self.height)
        }
    }

    fn check(&self, pixels: &Pixels) -> Result<()> {
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        let most = width * height.max(u64::from(pixels.height()));
        let limit = Limits::default().max_pixels;
        if width == 0 || height == 0 || most > limit {
            return Err(Error::invalid(format!(
                "an image of {}x{} pixels can't be resized to {width}x{height}: at least 1 and, also between the two steps, at most {limit} pixels are made",
                pixels.width(),
                pixels.height(),
            )));
        }
        Ok(())
    }

    /// Left, top, width and height of the largest centred rectangle of the new aspect ratio. The side that is
    /// cut is rounded to whole pixels; offsets are rounded down.
    fn crop_box(&self, pixels: &Pixels) -> (u32, u32, u32, u32) {
        let (width, height) = (pixels.width(), pixels.height());
        let fit = |other_side: u32, to: u32, other_to: u32, side: u32| {
            let (twice, divisor) = (
                2 * u64::from(other_side) * u64::from(to),
                u64::from(other_to),
            );
            let rounded = (twice + divisor) / (2 * divisor);
            rounded.clamp(1, side.into()) as u32
        };
        let fit_width = fit(height, self.width, self.height, width);
        let fit_height = fit(width, self.height, self.width, height);
        let (left, top) = ((width - fit_width) / 2, (height - fit_height) / 2);
        (left, top, fit_width, fit_height)
    }
}

/// The pixels of a line that make one new pixel, and their weights in units of 2^-22.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

/// As many bits of weight as leave room in an `i32` for 8 bits of value, a sum and a sign.
const WEIGHT_BITS: u32 = 22;
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

fn to_level(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

/// The bicubic convolution kernel with a = -0.5 (R. Keys, 1981); zero from 2 on.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// What each of `to` new pixels is made of when a line had `from`. Where the line gets shorter the kernel is
/// stretched to average all that is lost; at the ends it is cut off and weighs 1 again.
fn taps(from: u32, to: u32) -> Vec<Taps> {
    let scale = f64::from(from) / f64::from(to);
    let stretch = scale.max(1.0);
    let support = 2.0 * stretch;
    let tap = |new| {
        let center = (f64::from(new) + 0.5) * scale;
        let start = (center - support + 0.5).max(0.0) as u32;
        let end = ((center + support + 0.5) as u32).min(from);
        let weight = |x| bicubic((f64::from(x) - center + 0.5) / stretch);
        let weights: Vec<f64> = (start..end).map(weight).collect();
        let unit = f64::from(1 << WEIGHT_BITS) / weights.iter().sum::<f64>();
        Taps {
            start: start as usize,
            weights: weights.iter().map(|w| (w * unit).round() as i32).collect(),
        }
    };
    (0..to).map(tap).collect()
}

fn across<const N: usize>(pixels: &[[u8; N]], from: u32, to: u32) -> Vec<[u8; N]> {
    let taps = taps(from, to);
    let rows = pixels.chunks_exact(from as usize);
    let resized = rows.flat_map(|row| {
        taps.iter().map(|Taps { start, weights }| {
            let mut sums = [HALF; N];
            for (pixel, weight) in row[*start..].iter().zip(weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            sums.map(to_level)
        })
    });
    resized.collect()
}

fn down<const N: usize>(pixels: &[[u8; N]], width: usize, from: u32, to: u32) -> Vec<[u8; N]> {
    let mut resized = Vec::with_capacity(width * to as usize);
    let mut sums = vec![[HALF; N]; width];
    for Taps { start, weights } in taps(from, to) {
        let rows = pixels[start * width..].chunks_exact(width);
        for (row, weight) in rows.zip(weights) {
            let values = row.as_flattened().iter();
            for (sum, value) in sums.as_flattened_mut().iter_mut().zip(values) {
                *sum += i32::from(*value) * weight;
            }
        }
        resized.extend(sums.iter().map(|sums| sums.map(to_level)));
        sums.fill([HALF; N]);
    }
    resized
}

/// `value * alpha / 255`, to the nearest, as Pillow computes it.
fn times(value: u8, alpha: u8) -> u8 {
    let product = u32::from(value) * u32::from(alpha) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// `value * 255 / alpha`, rounded down, as Pillow computes it.
fn divided(value: u8, alpha: u8) -> u8 {
    match alpha {
        0 | 255 => value,
        _ => (u32::from(value) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// An image with soft and hard edges, from a formula that is quickly written in any language.
    fn formula(width: u32, height: u32) -> Pixels {
        let value = |x: u32, y: u32, c: u32| (x * x * 7 + y * 13 + x * y * 5 + c * 61) as u8;
        let pixel = |x, y| [value(x, y, 0), value(x, y, 1), value(x, y, 2)];
        let row = |y| (0..width).flat_map(move |x| pixel(x, y));
        Pixels::from_rgb(width, height, (0..height).flat_map(row).collect()).unwrap()
    }

    fn resized(pixels: &Pixels, width: u32, height: u32, center_crop: bool) -> Pixels {
        let resize = Resize {
            width,
            height,
            center_crop,
        };
        resize.apply(pixels).unwrap()
    }

    /// The values are what Pillow 12.0.0 gives for the same images; 13.0.0 gives them too.
    #[test]
    fn the_bytes_are_pillows() {
        #[rustfmt::skip]
        let cases: [(_, _, &[u8]); 4] = [
            ((3, 2), (4, 3), &[
                0, 60, 121, 2, 63, 124, 14, 75, 136, 27, 88, 149, 6, 67, 128, 11, 72, 133, 26, 87, 148,
                41, 102, 163, 13, 74, 135, 20, 81, 142, 37, 98, 159, 54, 115, 176,
            ]),
            ((7, 5), (3, 2), &[
                19, 81, 148, 95, 151, 162, 166, 120, 109, 58, 125, 188, 153, 157, 120, 133, 125, 141,
            ]),
            ((7, 5), (1, 1), &[106, 129, 145]),
            ((40, 30), (3, 2), &[
                128, 129, 130, 133, 126, 132, 126, 129, 133, 128, 126, 130, 131, 127, 131, 129, 122, 128,
            ]),
        ];
        for ((width, height), (to_width, to_height), expected) in cases {
            let found = resized(&formula(width, height), to_width, to_height, false);
            assert_eq!(found.as_rgb(), expected, "{width}x{height}");
        }
    }

    #[test]
    fn with_alpha_the_bytes_are_pillows_too() {
        let alpha = |width: u32, height: u32| {
            let row = |y: u32| (0..width).map(move |x| (x * 97 + y * 53) as u8);
            formula(width, height)
                .with_alpha((0..height).flat_map(row).collect())
                .unwrap()
        };
        let found = resized(&alpha(7, 5), 3, 2, false);
        let colors = [
            22, 84, 157, 94, 155, 144, 151, 167, 101, 52, 116, 184, 155, 191, 95, 111, 138, 172,
        ];
        assert_eq!(found.as_rgb(), colors);
        assert_eq!(found.alpha(), Some(&[112, 138, 126, 112, 141, 133][..]));
        let found = resized(&alpha(3, 2), 4, 3, false);
        let colors = [
            0, 0, 0, 5, 60, 120, 16, 78, 137, 26, 87, 147, 10, 74, 138, 15, 75, 135, 30, 91, 151,
            41, 102, 163, 10, 70, 135, 18, 81, 141, 39, 100, 161, 53, 114, 176,
        ];
        assert_eq!(found.as_rgb(), colors);
        let levels = [0, 51, 137, 196, 24, 81, 167, 226, 51, 110, 196, 255];
        assert_eq!(found.alpha(), Some(&levels[..]));
    }

    /// Pillow's crop at (w - 5) / 2 rounded down, then its resize: two columns are cut from a width of 7, three
    /// from a width of 8, where the odd one goes from the right.
    #[test]
    fn a_centred_square_is_cut_out_first() {
        let expected = [
            20, 81, 145, 74, 141, 184, 169, 166, 89, 53, 115, 183, 122, 178, 155, 193, 106, 78, 85,
            154, 215, 176, 172, 82, 129, 77, 141,
        ];
        assert_eq!(resized(&formula(7, 5), 3, 3, true).as_rgb(), expected);
        assert_eq!(resized(&formula(8, 5), 3, 3, true).as_rgb(), expected);
    }

    #[test]
    fn the_crop_has_the_new_aspect_ratio_and_lies_inside() {
        let crop = |from: (u32, u32), to: (u32, u32)| {
            let resize = Resize {
                width: to.0,
                height: to.1,
                center_crop: true,
            };
            resize.crop_box(&formula(from.0, from.1))
        };
        assert_eq!(crop((768, 512), (256, 256)), (128, 0, 512, 512));
        assert_eq!(crop((512, 769), (64, 64)), (0, 128, 512, 512));
        assert_eq!(crop((768, 512), (3, 2)), (0, 0, 768, 512));
        assert_eq!(crop((100, 100), (16, 9)), (0, 22, 100, 56));
        assert_eq!(crop((5, 100), (1000, 1)), (0, 49, 5, 1));
    }

    #[test]
    fn the_same_size_is_the_same_image_and_one_pixel_fills_any() {
        assert_eq!(resized(&formula(7, 5), 7, 5, true), formula(7, 5));
        let flat = resized(&formula(1, 1), 40, 9, false);
        assert!(flat.as_rgb().chunks(3).all(|pixel| pixel == [0, 61, 122]));
    }

    #[test]
    fn sizes_without_pixels_or_with_too_many_are_refused() {
        for (width, height) in [(0, 5), (5, 0), (u32::MAX, u32::MAX), (1 << 26, 1)] {
            let resize = Resize {
                width,
                height,
                center_crop: false,
            };
            let error = resize.apply(&formula(7, 5)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let sizes = format!("7x5 pixels can't be resized to {width}x{height}");
            assert!(error.to_string().contains(&sizes), "{error}");
        }
    }
}
