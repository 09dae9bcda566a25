//! How near an image must come back, measured before its record is acknowledged.
//!
//! Invariant: what is measured is the very latent that is stored; a promise that isn't kept is an error, or the original
//! is kept beside the latent.

use super::{Database, DecodeOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::measure;
use crate::pixels::Pixels;
use crate::quality::{Measured, Quality};
use crate::record::Record;

/// What is measured of an image when it is stored, and what must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Promise {
    /// Whether the image is decoded again, and its quality recorded; also without a minimum.
    pub measure: bool,
    /// The least [`psnr`](crate::psnr), in dB.
    pub min_psnr: Option<f64>,
    /// The least [`ssim`](crate::ssim). An image too small to have one is not held to it.
    pub min_ssim: Option<f64>,
    /// What happens to an image that comes back worse.
    pub below: Below,
}

/// What happens to an image that would come back worse than was promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Below {
    /// It isn't stored: an error of the kind `BelowPromise`.
    #[default]
    Reject,
    /// The bytes of its file are kept beside the latent, and it comes back from them unless a decoder is named.
    KeepOriginal,
}

impl Promise {
    /// Whether images are to be measured at all.
    pub(crate) fn measures(&self) -> bool {
        self.measure || self.min_psnr.is_some() || self.min_ssim.is_some()
    }

    /// Whether an image's file may have to be kept.
    pub(crate) fn may_keep(&self) -> bool {
        self.below == Below::KeepOriginal && (self.min_psnr.is_some() || self.min_ssim.is_some())
    }

    /// In what `quality` is below the promise, as a sentence for people.
    pub(crate) fn broken_by(&self, quality: &Quality) -> Option<String> {
        let psnr = self.min_psnr.filter(|least| quality.psnr < *least);
        let psnr = psnr.map(|least| format!("its PSNR is {:.2} dB, below {least}", quality.psnr));
        let ssim = quality.ssim.zip(self.min_ssim);
        let ssim = ssim.filter(|(ssim, least)| ssim < least);
        let ssim = ssim.map(|(ssim, least)| format!("its SSIM is {ssim:.4}, below {least}"));
        let broken: Vec<_> = [psnr, ssim].into_iter().flatten().collect();
        (!broken.is_empty()).then(|| broken.join(", "))
    }
}

impl Database {
    /// Measures what `record` gives back of the image `pixels`, and holds it to `promise`. What there is to tell.
    ///
    /// # Errors
    /// `BelowPromise`; `InvalidInput` if the original must be kept and isn't there.
    pub(crate) fn hold(
        &self,
        promise: &Promise,
        record: &mut Record,
        pixels: &Pixels,
        file: Option<Vec<u8>>,
    ) -> Result<Option<String>> {
        let decoded = self.decode_latent(record, &DecodeOptions::default())?;
        let quality = measure(pixels, &decoded.pixels)?;
        record.header.measured = Some(Measured {
            quality,
            decoder: decoded.decoder.unwrap_or_default(),
        });
        let Some(broken) = promise.broken_by(&quality) else {
            return Ok(None);
        };
        if promise.below == Below::Reject {
            return Err(Error::new(
                ErrorKind::BelowPromise,
                format!("`{}` was not stored: {broken}", record.header.id),
            )
            .with_hint("--below keep-original stores it with its file beside the latent"));
        }
        let file = file.filter(|_| record.header.source.is_some());
        record.original = Some(file.ok_or_else(|| {
            Error::invalid(format!(
                "`{}` has no file that could be kept, and {broken}",
                record.header.id
            ))
        })?);
        record.header.original = true;
        Ok(Some(format!("{broken}: its original is kept")))
    }
}
