//! What a store holds in all: counts and sums over its listing.
//!
//! Invariant: every record is counted once, under one encoder, one latent space and one coding.

mod distribution;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Result;
use crate::quality::Quality;
use crate::store::Store;

pub use distribution::{Bin, Distribution};

/// Counts and sums over the records of a store.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Records in the store.
    pub records: u64,
    /// Pixels of all images.
    pub pixels: u64,
    /// Bytes of all images as raw RGB.
    pub rgb_bytes: u64,
    /// Bytes of all latents as raw f16.
    pub latent_bytes: u64,
    /// Bytes of the source files, where they are known.
    pub source_bytes: u64,
    /// Bytes the records take, framing included.
    pub stored_bytes: u64,
    /// Bytes the store takes in all, what was replaced or deleted included.
    pub disk_bytes: u64,
    /// Records by encoder: name and the first 12 hexadecimal digits of its fingerprint.
    pub encoders: BTreeMap<String, u64>,
    /// Records by latent space.
    pub latent_spaces: BTreeMap<String, u64>,
    /// Records by coding.
    pub codings: BTreeMap<String, u64>,
    /// Records beside which their original is kept.
    pub originals: u64,
    /// How near images came back, of those that were measured.
    pub quality: Qualities,
}

/// How near images came back, metric by metric; `None` where no image was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Qualities {
    /// [`psnr`](crate::psnr), in dB.
    pub psnr: Option<Distribution>,
    /// [`ssim`](crate::ssim).
    pub ssim: Option<Distribution>,
    /// [`ms_ssim`](crate::ms_ssim).
    pub ms_ssim: Option<Distribution>,
    /// [`ssimulacra2`](crate::ssimulacra2).
    pub ssimulacra2: Option<Distribution>,
}

impl Qualities {
    fn of(measured: &[Quality]) -> Self {
        let distribution = |metric: fn(&Quality) -> Option<f64>| {
            let values: Vec<_> = measured.iter().filter_map(metric).collect();
            Distribution::of(&values)
        };
        Self {
            psnr: distribution(|quality| Some(quality.psnr)),
            ssim: distribution(|quality| quality.ssim),
            ms_ssim: distribution(|quality| quality.ms_ssim),
            ssimulacra2: distribution(|quality| quality.ssimulacra2),
        }
    }
}

impl Store {
    /// Counts and sums over all records. Reads the listing, not the records.
    ///
    /// # Errors
    /// As [`Store::entries`].
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats {
            disk_bytes: self.disk_bytes()?,
            ..Stats::default()
        };
        let mut measured = Vec::new();
        for entry in self.entries("") {
            let entry = entry?;
            let header = entry.header;
            let pixels = u64::from(header.width) * u64::from(header.height);
            stats.records += 1;
            stats.pixels += pixels;
            stats.rgb_bytes += 3 * pixels;
            stats.latent_bytes += header.shape.byte_len();
            stats.source_bytes += header.source.map_or(0, |source| source.bytes);
            stats.stored_bytes += entry.stored_bytes;
            let encoder = header
                .encoder
                .map_or("unknown".into(), |encoder| encoder.to_string());
            *stats.encoders.entry(encoder).or_default() += 1;
            *stats.latent_spaces.entry(header.latent_space).or_default() += 1;
            *stats.codings.entry(header.coding.to_string()).or_default() += 1;
            stats.originals += u64::from(header.original);
            measured.extend(header.measured.map(|measured| measured.quality));
        }
        stats.quality = Qualities::of(&measured);
        Ok(stats)
    }
}
