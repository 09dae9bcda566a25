//! SSIM: how much of the structure around each pixel is kept.
//!
//! Invariant: no sum depends on how many cores there are.

use std::borrow::Cow;
use std::ops::Add;

use super::same_size;
use crate::error::Result;
use crate::parallel;
use crate::pixels::Pixels;

/// Pixels that the window reaches on each side of its centre.
const REACH: usize = 5;
const SIDE: usize = 2 * REACH + 1;
/// Of the Gaussian window, in pixels.
const SIGMA: f64 = 1.5;
/// Rows whose windows are one piece of work.
const BAND: usize = 16;

/// The structural similarity of Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility
/// to structural similarity" (2004): at most 1, which equal images have; 0 and less is unlike. `None` where a side is
/// shorter than 11 pixels.
///
/// Computed for each channel of the RGB bytes, in 64-bit floats: a Gaussian window of 11x11 pixels with sigma 1.5,
/// population covariance, K1 = 0.01, K2 = 0.03, L = 255. The result is the mean over all windows that lie in the image
/// (so the centres leave a border of 5 pixels out), then over the channels. scikit-image computes the same with
/// `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255`. Alpha is not looked at.
///
/// # Errors
/// `InvalidInput` if the images differ in size.
pub fn ssim(original: &Pixels, other: &Pixels) -> Result<Option<f64>> {
    same_size(original, other)?;
    let similarity = Scale::of(original, other).similarity();
    Ok(similarity.map(|similarity| similarity.mean()))
}

/// Two images as interleaved RGB samples from 0 to `range`.
pub(super) struct Scale<'a, T: Clone> {
    pub(super) width: usize,
    pub(super) range: f64,
    pub(super) original: Cow<'a, [T]>,
    pub(super) other: Cow<'a, [T]>,
}

/// What is the mean over all windows, a value a channel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Similarity {
    pub(super) ssim: [f64; 3],
    /// SSIM without its first factor, the one that compares means.
    pub(super) structure: [f64; 3],
}

impl Similarity {
    pub(super) fn mean(&self) -> f64 {
        self.ssim.iter().sum::<f64>() / 3.0
    }
}

impl Add for Similarity {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        for channel in 0..3 {
            self.ssim[channel] += other.ssim[channel];
            self.structure[channel] += other.structure[channel];
        }
        self
    }
}

impl<'a> Scale<'a, u8> {
    /// The images as they are; they have one size.
    pub(super) fn of(original: &'a Pixels, other: &'a Pixels) -> Self {
        Self {
            width: original.width() as usize,
            range: 255.0,
            original: original.as_rgb().into(),
            other: other.as_rgb().into(),
        }
    }
}

impl<T: Copy + Into<f64> + Sync> Scale<'_, T> {
    /// `None` if the window doesn't fit into the image.
    pub(super) fn similarity(&self) -> Option<Similarity> {
        let height = self.original.len() / (3 * self.width);
        if self.width < SIDE || height < SIDE {
            return None;
        }
        let rows = height - 2 * REACH;
        let window = window();
        let band = |start: usize| {
            let rows = start..rows.min(start + BAND);
            let sums = rows.map(|row| self.sum_of_row(row, &window));
            sums.fold(Similarity::default(), Similarity::add)
        };
        let sum = parallel::in_order((0..rows).step_by(BAND), band, |bands| {
            bands.fold(Similarity::default(), Similarity::add)
        });
        let windows = (rows * (self.width - 2 * REACH)) as f64;
        Some(Similarity {
            ssim: sum.ssim.map(|sum| sum / windows),
            structure: sum.structure.map(|sum| sum / windows),
        })
    }

    /// The sum over all windows whose first row is `row`. Vertically first, so that nothing but one row is kept.
    fn sum_of_row(&self, row: usize, window: &[f64; SIDE]) -> Similarity {
        let mut moments = vec![[0.0; 4]; 3 * self.width];
        let start = row * 3 * self.width;
        for (at, weight) in window.iter().enumerate() {
            let start = start + at * 3 * self.width;
            let row = start..start + 3 * self.width;
            let pairs = self.original[row.clone()].iter().zip(&self.other[row]);
            for (moments, (&a, &b)) in moments.iter_mut().zip(pairs) {
                let (a, b): (f64, f64) = (a.into(), b.into());
                for (moment, value) in moments.iter_mut().zip([a, b, a * a + b * b, a * b]) {
                    *moment += weight * value;
                }
            }
        }
        let mut sum = Similarity::default();
        // Neighbours of a channel lie three samples apart.
        for (at, samples) in moments.windows(3 * (SIDE - 1) + 1).enumerate() {
            let mut moments = [0.0; 4];
            for (weight, sample) in window.iter().zip(samples.iter().step_by(3)) {
                for (moment, value) in moments.iter_mut().zip(sample) {
                    *moment += weight * value;
                }
            }
            let (luminance, structure) = self.factors(moments);
            sum.ssim[at % 3] += luminance * structure;
            sum.structure[at % 3] += structure;
        }
        sum
    }

    /// The two factors of SSIM from the weighted means of a, b, a^2 + b^2 and ab. Their product is equation 13 of the
    /// paper.
    fn factors(&self, [a, b, squares, product]: [f64; 4]) -> (f64, f64) {
        let [c1, c2] = [0.01, 0.03].map(|k| (k * self.range).powi(2));
        let means = a * a + b * b;
        let luminance = (2.0 * a * b + c1) / (means + c1);
        let structure = (2.0 * (product - a * b) + c2) / (squares - means + c2);
        (luminance, structure)
    }
}

/// A row of the window; the window is its product with itself.
fn window() -> [f64; SIDE] {
    let weights: [f64; SIDE] = std::array::from_fn(|at| {
        let distance = at as f64 - REACH as f64;
        (-0.5 * (distance / SIGMA).powi(2)).exp()
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}
