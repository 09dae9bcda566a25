//! What a manifest says of a model.
//!
//! Invariant: a spec that was read has a plausible shape: at least one half, a compression ratio
//! that is a power of two, names that records can carry.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::latent::LatentShape;
use crate::record::check_name;

/// A model as its manifest describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelSpec {
    /// The name people use: `--encoder NAME`, `--decoder NAME`.
    pub name: String,
    /// The architecture's family.
    pub family: String,
    /// Which latents its decoder reads and its encoder writes.
    pub latent_space: String,
    /// Channels of the latent.
    pub latent_channels: u32,
    /// Pixels a latent cell covers along each side: 8 is "f8".
    pub spatial_compression_ratio: u32,
    /// What a diffusion model multiplies latents with, after subtracting `shift_factor`.
    pub scaling_factor: f64,
    /// What a diffusion model subtracts from latents first.
    pub shift_factor: f64,
    /// BLAKE3 over family, configuration and weights of the encoder, in hexadecimal.
    pub fingerprint: String,
    /// Licence of the weights.
    pub license: String,
    /// Where the weights come from.
    pub source: String,
    /// The half that writes latents.
    pub encoder: Option<ModelHalf>,
    /// The half that reads latents.
    pub decoder: Option<ModelHalf>,
}

/// One half of a model: an ONNX graph.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelHalf {
    /// File name in the model's folder.
    pub file: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Number of weights.
    pub parameters: u64,
    /// 10^9 floating-point operations for a 512x512 image: two for each multiply-add of its
    /// convolutions.
    pub gflop_512: f64,
}

impl ModelSpec {
    /// Reads a manifest.
    ///
    /// # Errors
    /// `InvalidInput` if it is no manifest or says something that can't be.
    pub(crate) fn from_json(text: &str) -> Result<Self> {
        let spec: Self = serde_json::from_str(text)
            .map_err(|e| Error::invalid("the manifest can't be read").with_source(e))?;
        check_name("model", &spec.name)?;
        check_name("latent space", &spec.latent_space)?;
        let ratio = spec.spatial_compression_ratio;
        let plausible = (1..=1024).contains(&spec.latent_channels)
            && ratio.is_power_of_two()
            && ratio <= 256
            && (spec.encoder.is_some() || spec.decoder.is_some());
        if !plausible || spec.encoder_fingerprint().is_none() {
            return Err(Error::invalid(format!(
                "the manifest of `{}` contradicts itself",
                spec.name
            )));
        }
        Ok(spec)
    }

    /// The encoder's fingerprint as bytes; `None` if the manifest's digits are none.
    pub(crate) fn encoder_fingerprint(&self) -> Option<[u8; 32]> {
        let digits = blake3::Hash::from_hex(&self.fingerprint).ok()?;
        Some(*digits.as_bytes())
    }

    /// The shape of the latent of an image of `width` x `height` pixels: sides are divided by the
    /// compression ratio and rounded up.
    pub fn latent_shape(&self, width: u32, height: u32) -> LatentShape {
        LatentShape {
            channels: self.latent_channels,
            height: height.div_ceil(self.spatial_compression_ratio),
            width: width.div_ceil(self.spatial_compression_ratio),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{
        "name": "m", "family": "f", "latent_space": "s", "latent_channels": 4,
        "spatial_compression_ratio": 8, "scaling_factor": 1.0, "shift_factor": 0.0,
        "fingerprint": "0000000000000000000000000000000000000000000000000000000000000000",
        "license": "MIT", "source": "here",
        "encoder": {"file": "e.onnx", "sha256": "", "parameters": 1, "gflop_512": 1.0}
    }"#;

    #[test]
    fn a_latent_covers_the_whole_image() {
        let spec = ModelSpec::from_json(MANIFEST).unwrap();
        for (side, cells) in [(1, 1), (7, 1), (8, 1), (9, 2), (512, 64), (5000, 625)] {
            assert_eq!(spec.latent_shape(side, 8).width, cells);
            assert_eq!(spec.latent_shape(8, side).height, cells);
        }
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused() {
        for (from, to) in [
            ("\"latent_channels\": 4", "\"latent_channels\": 0"),
            ("ratio\": 8", "ratio\": 7"),
            ("\"name\": \"m\"", "\"name\": \"../m\""),
            ("00000000\"", "0000zzzz\""),
            ("\"encoder\"", "\"other\""),
        ] {
            let text = MANIFEST.replace(from, to);
            assert_ne!(text, MANIFEST);
            assert!(ModelSpec::from_json(&text).is_err(), "{to}");
        }
    }
}
