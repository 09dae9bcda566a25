//! How puts keep latents: in a coding that is named, or in the coarsest tier whose loss is small enough.
//!
//! Invariant: a loss that was promised was measured on the very latent that is stored.

use super::{Database, DecodeOptions};
use crate::error::{Error, Result};
use crate::metrics::psnr;
use crate::pixels::Pixels;
use crate::record::{Coding, Record, Tier};

/// How latents are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CodingChoice {
    /// In this coding.
    Of(Coding),
    /// In the coarsest [`Tier`] whose decoded image has a PSNR less than this many dB below that of the latent as
    /// the encoder gave it; as [`Coding::Dense`] where even the finest loses more. Takes about five decodings an image.
    PsnrLoss(f64),
}

impl Default for CodingChoice {
    fn default() -> Self {
        CodingChoice::Of(Coding::default())
    }
}

impl CodingChoice {
    /// Whether an image must be decoded to choose.
    pub(crate) fn measures(self) -> bool {
        matches!(self, CodingChoice::PsnrLoss(_))
    }
}

impl Database {
    /// Brings `record`, made of the image `pixels`, into the coding of `choice`.
    ///
    /// # Errors
    /// `InvalidInput` if the loss allowed is no number above 0; what decoding and [`Record::recode`] say.
    pub(crate) fn bring_to(
        &self,
        choice: CodingChoice,
        record: &mut Record,
        pixels: Option<&Pixels>,
    ) -> Result<()> {
        match (choice, pixels) {
            (CodingChoice::Of(coding), _) => record.recode(coding),
            (CodingChoice::PsnrLoss(allowed), Some(pixels)) => {
                let coding = self.coarsest(record, pixels, allowed)?;
                record.recode(coding)
            }
            (CodingChoice::PsnrLoss(_), None) => Err(Error::invalid(format!(
                "the loss of `{}` can't be measured without its image",
                record.header.id
            ))),
        }
    }

    /// The coarsest tier that loses less than `allowed` dB, or `Dense`.
    fn coarsest(&self, record: &Record, pixels: &Pixels, allowed: f64) -> Result<Coding> {
        if !(allowed > 0.0 && allowed.is_finite()) {
            return Err(Error::invalid(format!(
                "a loss of PSNR is a number of dB above 0, and not {allowed}"
            )));
        }
        let options = DecodeOptions::default();
        let quality = |record: &Record| psnr(pixels, &self.decode_latent(record, &options)?.pixels);
        let least = quality(record)? - allowed;
        let tiers: Vec<_> = Tier::all().collect();
        // A finer tier loses less, but for a hundredth of a dB here and there; so halving finds the border, and what is
        // taken was measured itself.
        let (mut coarse, mut fine) = (0, tiers.len());
        while coarse < fine {
            let middle = usize::midpoint(coarse, fine);
            let mut tried = record.clone();
            tried.recode(Coding::Quantised(tiers[middle]))?;
            // Without a loss there is nothing to compare: infinities differ by no number.
            if quality(&tried)? > least {
                fine = middle;
            } else {
                coarse = middle + 1;
            }
        }
        let found = tiers.get(fine).copied();
        Ok(found.map_or(Coding::Dense, Coding::Quantised))
    }
}
