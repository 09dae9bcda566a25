//! What each coding makes of latents: bytes, speed, and how much worse the decoded image is.
//!
//! Invariant: a speed is that of the bytes beside it, on one core; a loss is of the very latent that those bytes hold.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Study, subject};
use crate::database::DecodeOptions;
use crate::error::{Error, Result};
use crate::latent::Latent;
use crate::metrics::psnr;
use crate::pixels::Pixels;
use crate::record::{self, Coding, Record, RecordId};

/// A coding is repeated for at least this long, so that one interruption doesn't make its speed.
const TIMED: Duration = Duration::from_millis(20);
/// The most repetitions.
const ROUNDS: u32 = 50;

/// A latent to try codings on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sample {
    /// A file, which is encoded as a put does it, and kept nowhere.
    File(PathBuf),
    /// A record.
    Record(RecordId),
}

/// What one coding made of some latents.
#[derive(Debug, Clone, PartialEq)]
pub struct CodingFigures {
    /// The coding.
    pub coding: Coding,
    /// How many latents.
    pub latents: u64,
    /// Pixels of their images.
    pub pixels: u64,
    /// Bytes of their values as f16.
    pub raw_bytes: u64,
    /// Bytes of their values in the coding, without the rest of their records.
    pub bytes: u64,
    /// How long one core takes to make those bytes.
    pub encode: Duration,
    /// How long one core takes to read them.
    pub decode: Duration,
    /// PSNR in dB of the image decoded from these bytes beside that of the unchanged latent: how far the one is below the
    /// other, both against the original. The sum over images with an original, and their number.
    pub loss: (f64, u64),
    /// PSNR in dB of the image decoded from these bytes against that of the unchanged latent. The sum over images that
    /// differ, and their number.
    pub change: (f64, u64),
}

impl CodingFigures {
    fn new(coding: Coding) -> Self {
        Self {
            coding,
            latents: 0,
            pixels: 0,
            raw_bytes: 0,
            bytes: 0,
            encode: Duration::ZERO,
            decode: Duration::ZERO,
            loss: (0.0, 0),
            change: (0.0, 0),
        }
    }
}

/// How an unchanged latent comes back, to compare others with.
struct Decoded {
    image: Pixels,
    original: Option<Pixels>,
}

impl Study<'_> {
    /// Tries all of `codings` on one latent, and adds what comes of them to `figures`, which is in the same order or
    /// empty. Where `decoding`, lossy ones are decoded to pixels too. Whether it was tried: a latent that was quantised
    /// already is passed over.
    ///
    /// # Errors
    /// `NotFound`; what reading, encoding and decoding say.
    pub fn codings(
        &self,
        sample: &Sample,
        codings: &[Coding],
        decoding: bool,
        figures: &mut Vec<CodingFigures>,
    ) -> Result<bool> {
        let (record, original) = self.sampled(sample)?;
        if !record.header.latent_error.is_empty() {
            return Ok(false);
        }
        if figures.is_empty() {
            figures.extend(codings.iter().copied().map(CodingFigures::new));
        }
        let lossy = codings
            .iter()
            .any(|coding| matches!(coding, Coding::Quantised(_)));
        let unchanged = if decoding && lossy {
            let image = self.image(&record)?;
            Some(Decoded { image, original })
        } else {
            None
        };
        for figures in figures {
            self.add(figures, &record, unchanged.as_ref())?;
        }
        Ok(true)
    }

    fn sampled(&self, sample: &Sample) -> Result<(Record, Option<Pixels>)> {
        let mut record = match sample {
            Sample::File(path) => {
                let found = subject::of_file(self.database, &self.options, path)?;
                return Ok((found.record, Some(found.original)));
            }
            Sample::Record(id) => self.database.store().get(id)?,
        };
        let original = match record.original {
            Some(_) => Some(subject::kept(self.database, &record, &self.options.limits)?),
            None => None,
        };
        record.original = None;
        record.header.original = false;
        Ok((record, original))
    }

    fn image(&self, record: &Record) -> Result<Pixels> {
        let options = match self.options.decoders.first() {
            Some(name) => DecodeOptions::by(name),
            None => DecodeOptions::default(),
        };
        Ok(self.database.decode_latent(record, &options)?.pixels)
    }

    fn add(
        &self,
        figures: &mut CodingFigures,
        record: &Record,
        unchanged: Option<&Decoded>,
    ) -> Result<()> {
        let mut record = record.clone();
        let shape = record.header.shape;
        record.recode(figures.coding)?;
        let (payload, encode) = timed(|| record::compress(&record.latent, figures.coding))?;
        let read = || record::decompress(shape, figures.coding, &payload);
        let (latent, decode): (Latent, _) = timed(read)?;
        if latent != record.latent {
            let what = format!("{} didn't give back `{}`", figures.coding, record.header.id);
            return Err(Error::corrupted(what));
        }
        figures.latents += 1;
        figures.pixels += u64::from(record.header.width) * u64::from(record.header.height);
        figures.raw_bytes += shape.byte_len();
        figures.bytes += payload.len() as u64;
        figures.encode += encode;
        figures.decode += decode;
        if let (Coding::Quantised(_), Some(unchanged)) = (figures.coding, unchanged) {
            let image = self.image(&record)?;
            let change = psnr(&unchanged.image, &image)?;
            if change.is_finite() {
                figures.change.0 += change;
                figures.change.1 += 1;
            }
            if let Some(original) = &unchanged.original {
                figures.loss.0 += psnr(original, &unchanged.image)? - psnr(original, &image)?;
                figures.loss.1 += 1;
            }
        }
        Ok(())
    }
}

/// What `work` gives, and how long it takes at best.
fn timed<T>(work: impl Fn() -> Result<T>) -> Result<(T, Duration)> {
    let mut best = Duration::MAX;
    let begun = Instant::now();
    for _ in 1..ROUNDS {
        let one = Instant::now();
        let made = work()?;
        best = best.min(one.elapsed());
        if begun.elapsed() >= TIMED {
            return Ok((made, best));
        }
    }
    Ok((work()?, best))
}
