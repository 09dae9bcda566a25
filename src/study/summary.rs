//! Many comparisons in a few numbers for each contender.
//!
//! Invariant: pixels are not kept; a contender is one row, in how many images it may have been.

use super::{Compared, Contender, Kind};
use crate::stats::Distribution;

/// Collects the numbers of comparisons.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    rows: Vec<Values>,
}

/// The numbers of one contender, one of each an image.
#[derive(Debug, Clone)]
struct Values {
    name: String,
    codec: bool,
    setting: Vec<f64>,
    bytes: Vec<f64>,
    bits_per_pixel: Vec<f64>,
    psnr: Vec<f64>,
    ssim: Vec<f64>,
    ms_ssim: Vec<f64>,
    ssimulacra2: Vec<f64>,
    seconds: Vec<f64>,
}

/// One contender over many images. A number that no image has is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Summarized {
    /// As in [`Contender::name`].
    pub name: String,
    /// Whether it is a codec; else it is a decoder.
    pub codec: bool,
    /// The images it was in.
    pub images: usize,
    /// The quality that a codec's files were written at.
    pub setting: Option<Distribution>,
    /// As in [`Contender::bytes`].
    pub bytes: Option<Distribution>,
    /// As in [`Contender::bits_per_pixel`].
    pub bits_per_pixel: Option<Distribution>,
    /// As in [`Quality::psnr`](crate::Quality::psnr), of images that are not equal to their original.
    pub psnr: Option<Distribution>,
    /// As in [`Quality::ssim`](crate::Quality::ssim).
    pub ssim: Option<Distribution>,
    /// As in [`Quality::ms_ssim`](crate::Quality::ms_ssim).
    pub ms_ssim: Option<Distribution>,
    /// As in [`Quality::ssimulacra2`](crate::Quality::ssimulacra2).
    pub ssimulacra2: Option<Distribution>,
    /// As in [`Contender::time`], in seconds.
    pub seconds: Option<Distribution>,
}

impl Summary {
    /// Takes in one more comparison.
    pub fn add(&mut self, compared: &Compared) {
        for contender in &compared.contenders {
            let codec = matches!(contender.kind, Kind::Codec { .. });
            let known = |row: &Values| row.name == contender.name && row.codec == codec;
            let at = self.rows.iter().position(known).unwrap_or_else(|| {
                self.rows.push(Values::of(&contender.name, codec));
                self.rows.len() - 1
            });
            self.rows[at].add(contender);
        }
    }

    /// A row for each contender, decoders first, in the order in which they came.
    pub fn rows(&self) -> Vec<Summarized> {
        let (codecs, decoders): (Vec<_>, Vec<_>) = self.rows.iter().partition(|row| row.codec);
        let all = decoders.into_iter().chain(codecs);
        all.map(Values::summarized).collect()
    }
}

impl Values {
    fn of(name: &str, codec: bool) -> Self {
        Self {
            name: name.to_owned(),
            codec,
            setting: Vec::new(),
            bytes: Vec::new(),
            bits_per_pixel: Vec::new(),
            psnr: Vec::new(),
            ssim: Vec::new(),
            ms_ssim: Vec::new(),
            ssimulacra2: Vec::new(),
            seconds: Vec::new(),
        }
    }

    fn add(&mut self, contender: &Contender) {
        if let Kind::Codec { quality } = contender.kind {
            self.setting.push(quality.into());
        }
        let quality = &contender.quality;
        self.bytes.push(contender.bytes as f64);
        self.bits_per_pixel.push(contender.bits_per_pixel);
        self.psnr.push(quality.psnr);
        self.ssim.extend(quality.ssim);
        self.ms_ssim.extend(quality.ms_ssim);
        self.ssimulacra2.extend(quality.ssimulacra2);
        self.seconds.push(contender.time.as_secs_f64());
    }

    fn summarized(&self) -> Summarized {
        Summarized {
            name: self.name.clone(),
            codec: self.codec,
            images: self.bytes.len(),
            setting: Distribution::of(&self.setting),
            bytes: Distribution::of(&self.bytes),
            bits_per_pixel: Distribution::of(&self.bits_per_pixel),
            psnr: Distribution::of(&self.psnr),
            ssim: Distribution::of(&self.ssim),
            ms_ssim: Distribution::of(&self.ms_ssim),
            ssimulacra2: Distribution::of(&self.ssimulacra2),
            seconds: Distribution::of(&self.seconds),
        }
    }
}
