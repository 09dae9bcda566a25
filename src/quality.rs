//! How near an image is to its original, in numbers; a plain type, which `metrics` fills in.
//!
//! Invariant: a metric that doesn't apply to an image is `None`, never a number that means something else.

/// How near an image is to its original, by every metric there is; [`measure`](crate::measure) makes it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Quality {
    /// [`psnr`](crate::psnr) in dB; infinite for equal images.
    pub psnr: f64,
    /// [`ssim`](crate::ssim), at most 1.
    pub ssim: Option<f64>,
    /// [`ms_ssim`](crate::ms_ssim), from 0 to 1.
    pub ms_ssim: Option<f64>,
    /// [`ssimulacra2`](crate::ssimulacra2), at most 100.
    pub ssimulacra2: Option<f64>,
}

impl Quality {
    /// A quality of which only the PSNR is known.
    pub(crate) fn of_psnr(psnr: f64) -> Self {
        Self {
            psnr,
            ssim: None,
            ms_ssim: None,
            ssimulacra2: None,
        }
    }
}

/// What was measured of a record's image when it was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Of the decoded image against the one that went in.
    pub quality: Quality,
    /// The decoder that it was measured with; empty where a listing doesn't say.
    pub decoder: String,
}
