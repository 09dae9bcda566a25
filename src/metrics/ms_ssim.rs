//! MS-SSIM: SSIM at five scales, so that it matters less from how far an image is looked at.

use super::same_size;
use super::ssim::{Scale, Similarity};
use crate::error::Result;
use crate::pixels::Pixels;

/// How much each scale counts, the finest first; from the paper.
const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// The multi-scale structural similarity of Wang, Simoncelli and Bovik, "Multiscale structural similarity for image
/// quality assessment" (2003): from 0 to 1, which equal images have. `None` where a side is shorter than 176 pixels.
///
/// Each scale is as in [`ssim`](crate::ssim), and half as wide and high as the one before: the means of 2x2 pixels, an
/// odd last row or column left out. Of the first four scales the second factor of SSIM counts, of the last one all of it;
/// means below 0 count as 0. The result is the product over the scales, then the mean over the channels.
/// `pytorch_msssim` computes the same where both sides are multiples of 16. Alpha is not looked at.
///
/// # Errors
/// `InvalidInput` if the images differ in size.
pub fn ms_ssim(original: &Pixels, other: &Pixels) -> Result<Option<f64>> {
    same_size(original, other)?;
    let scale = Scale::of(original, other);
    let similarity = scale.similarity();
    Ok(similarity.and_then(|similarity| over_scales(&scale, similarity)))
}

/// MS-SSIM of images whose first scale is known.
pub(super) fn over_scales(scale: &Scale<u8>, similarity: Similarity) -> Option<f64> {
    let [first, rest @ ..] = WEIGHTS;
    let mut product = [1.0; 3];
    let mut count = |means: [f64; 3], weight| {
        for (product, mean) in product.iter_mut().zip(means) {
            *product *= mean.max(0.0).powf(weight);
        }
    };
    count(similarity.structure, first);
    let mut scale = scale.halved();
    for (at, weight) in rest.into_iter().enumerate() {
        let similarity = scale.similarity()?;
        if at + 1 < rest.len() {
            count(similarity.structure, weight);
            scale = scale.halved();
        } else {
            count(similarity.ssim, weight);
        }
    }
    Some(product.iter().sum::<f64>() / 3.0)
}

impl<T: Copy + Into<u16>> Scale<'_, T> {
    /// Half as wide and high. Samples are sums, of which 65,280 is the largest after four times, and not means: the
    /// range grows with them, and nothing is rounded.
    fn halved(&self) -> Scale<'static, u16> {
        let halve = |samples: &[T]| {
            let pairs = samples.chunks_exact(6 * self.width);
            let rows = pairs.flat_map(|pair| {
                let (upper, lower) = pair.split_at(3 * self.width);
                (0..self.width / 2 * 3).map(move |at| {
                    let left = at / 3 * 6 + at % 3;
                    let four = [upper[left], upper[left + 3], lower[left], lower[left + 3]];
                    four.into_iter().map(Into::into).sum::<u16>()
                })
            });
            rows.collect()
        };
        Scale {
            width: self.width / 2,
            range: 4.0 * self.range,
            original: halve(&self.original),
            other: halve(&self.other),
        }
    }
}
