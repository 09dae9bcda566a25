//! What a manifest says of a model.
//!
//! Invariant: a spec that was read has a plausible shape: at least one half, a compression ratio that is a power
//! of two, names that records can carry, and files that lie in the model's own folder.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::latent::LatentShape;
use crate::record::check_name;

/// The version of manifests that is written and read here.
pub(super) const MANIFEST_VERSION: u32 = 1;

/// A model as its manifest describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Version of the manifest's own form.
    pub(super) manifest_version: u32,
    /// The name people use: `--encoder NAME`, `--decoder NAME`.
    pub name: String,
    /// The architecture's family: `autoencoder-kl`, `autoencoder-tiny`, `tiny`, or `onnx` for graphs that were
    /// written elsewhere.
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
    /// The family's configuration.
    #[serde(default)]
    pub config: serde_json::Value,
    /// BLAKE3 over family, configuration and weights of the encoder, in hexadecimal; `None` without an encoder.
    pub fingerprint: Option<String>,
    /// Licence of the weights.
    pub license: String,
    /// Where the weights come from.
    pub source: String,
    /// The half that writes latents.
    pub encoder: Option<ModelHalf>,
    /// The half that reads latents.
    pub decoder: Option<ModelHalf>,
    /// All files of the model, the manifest aside.
    pub files: Vec<ModelFile>,
}

/// One half of a model: an ONNX graph.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelHalf {
    /// The graph that computes in f32.
    pub file: String,
    /// The same graph computing in f16, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_f16: Option<String>,
    /// Number of weights, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// 10^9 floating-point operations for a 512x512 image, where they were counted: two for each multiply-add of
    /// convolutions and attention; of a decoder that samples, in two steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gflop_512: Option<f64>,
    /// The most images it takes at once, where there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<u32>,
    /// What is known of it for cutting images into tiles; `None` for graphs written elsewhere or by a version
    /// that knew no tiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiles: Option<TileFacts>,
    /// How it makes an image in several runs, of a decoder that does; `None` where one run gives the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
    /// The graph's tensor of pixels.
    pub pixels: PixelTensor,
    /// The graph's tensor of the latent.
    pub latent: LatentTensor,
}

/// How a decoder makes an image out of noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Sampler {
    /// As OpenAI's consistency decoder does, see [`Sampling`](crate::Sampling).
    Consistency,
}

/// What must be known of half a model to cut images into tiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TileFacts {
    /// Bytes that a run takes for each pixel, beside the weights; in f32.
    pub bytes_per_pixel: u64,
    /// How many pixels beyond a place its result depends on; `None` if it depends on the whole image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<u32>,
    /// The graph whose norms are given their statistics, where there are norms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The same graph computing in f16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_f16: Option<String>,
}

/// How a graph takes or gives pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PixelTensor {
    /// Name of the input or output.
    pub name: String,
    /// Type of its values.
    pub element: Element,
    /// The order of its dimensions.
    pub layout: Layout,
    /// What black and white are.
    pub range: [f32; 2],
}

/// How a graph takes or gives a latent: `[batch, channels, rows, columns]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatentTensor {
    /// Name of the input or output.
    pub name: String,
    /// Type of its values.
    pub element: Element,
    /// Whether its values are `(latent - shift_factor) * scaling_factor`.
    #[serde(default)]
    pub scaled: bool,
    /// Whether it has twice the channels: the posterior means, then the logarithms of the variances.
    #[serde(default)]
    pub moments: bool,
}

/// Type of a graph's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Element {
    /// Bytes.
    U8,
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
}

/// The order of dimensions of a tensor of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Layout {
    /// Batch, channels, height, width.
    Nchw,
    /// Batch, height, width, channels.
    Nhwc,
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        })
    }
}

impl std::str::FromStr for Layout {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "nchw" => Ok(Layout::Nchw),
            "nhwc" => Ok(Layout::Nhwc),
            _ => Err(Error::invalid(format!(
                "`{}` is no layout: nchw or nhwc",
                text.escape_debug()
            ))),
        }
    }
}

/// A file in a model's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Its name, without a folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

impl ModelHalf {
    /// A half whose graph takes and gives what the graphs written here do.
    pub(super) fn own(file: String, file_f16: Option<String>) -> Self {
        Self {
            file,
            file_f16,
            parameters: None,
            gflop_512: None,
            max_batch: None,
            tiles: None,
            sampler: None,
            pixels: PixelTensor {
                name: super::onnx::PIXELS.to_owned(),
                element: Element::U8,
                layout: Layout::Nhwc,
                range: [0.0, 255.0],
            },
            latent: LatentTensor {
                name: super::onnx::LATENT.to_owned(),
                element: Element::F16,
                scaled: false,
                moments: false,
            },
        }
    }

    /// A decoder that samples, whose graph is one evaluation of the network.
    pub(super) fn denoiser(file: String, file_f16: Option<String>) -> Self {
        Self {
            sampler: Some(Sampler::Consistency),
            // One image in many channels fills a GPU.
            max_batch: Some(1),
            pixels: PixelTensor {
                name: super::onnx::OUTPUT.to_owned(),
                element: Element::F32,
                layout: Layout::Nchw,
                range: [-1.0, 1.0],
            },
            ..Self::own(file, file_f16)
        }
    }
}

impl ModelSpec {
    /// Reads a manifest.
    ///
    /// # Errors
    /// `UnsupportedVersion` if a later version wrote it; `InvalidInput` if it is no manifest or says
    /// something that can't be.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            manifest_version: u32,
        }
        let invalid = |e| Error::invalid("the manifest can't be read").with_source(e);
        let version: Version = serde_json::from_slice(bytes).map_err(invalid)?;
        if version.manifest_version > MANIFEST_VERSION {
            return Err(Error::new(
                ErrorKind::UnsupportedVersion,
                format!(
                    "the manifest is of version {}, and this program reads up to version {MANIFEST_VERSION}",
                    version.manifest_version
                ),
            ));
        }
        let spec: Self = serde_json::from_slice(bytes).map_err(invalid)?;
        spec.check()?;
        Ok(spec)
    }

    /// Refuses a spec that contradicts itself.
    pub(super) fn check(&self) -> Result<()> {
        check_name("model", &self.name)?;
        check_name("latent space", &self.latent_space)?;
        let contradiction = |what: &str| {
            Err(Error::invalid(format!(
                "the manifest of `{}` contradicts itself: {what}",
                self.name
            )))
        };
        let ratio = self.spatial_compression_ratio;
        if !ratio.is_power_of_two() || ratio > 256 || !(1..=1024).contains(&self.latent_channels) {
            return contradiction("its latents have an impossible shape");
        }
        if !self.scaling_factor.is_normal() || !self.shift_factor.is_finite() {
            return contradiction("its scaling is no number to divide by");
        }
        if self.encoder.is_none() && self.decoder.is_none() {
            return contradiction("it has neither encoder nor decoder");
        }
        if self.encoder.is_some() != self.encoder_fingerprint().is_some() {
            return contradiction("a fingerprint belongs to an encoder, and has 64 digits");
        }
        let named = |file: &str| self.files.iter().any(|known| known.name == file);
        for half in [&self.encoder, &self.decoder].into_iter().flatten() {
            let tiles = half.tiles.iter();
            let tiles = tiles.flat_map(|tiles| [tiles.file.as_ref(), tiles.file_f16.as_ref()]);
            let graphs = [Some(&half.file), half.file_f16.as_ref()].into_iter();
            if !graphs.chain(tiles).flatten().all(|file| named(file)) {
                return contradiction("a graph is not among its files");
            }
            let [low, high] = half.pixels.range;
            if !(high - low).is_normal() {
                return contradiction("black and white are the same");
            }
        }
        if !self.files.iter().all(|file| is_plain(&file.name)) {
            return contradiction("a file lies outside of its folder");
        }
        Ok(())
    }

    /// The encoder's fingerprint as bytes; `None` if the manifest has none.
    pub(crate) fn encoder_fingerprint(&self) -> Option<[u8; 32]> {
        let digits = blake3::Hash::from_hex(self.fingerprint.as_ref()?).ok()?;
        Some(*digits.as_bytes())
    }

    /// The error for work that needs the `half` that isn't there.
    pub(crate) fn lacks(&self, half: &str) -> Error {
        let hint = if self.is_built_in() {
            "it is there to read what earlier versions encoded; `tiny` encodes"
        } else {
            "latentdb model list says what each model has"
        };
        let what = format!("the model `{}` has no {half}", self.name);
        Error::new(ErrorKind::ModelNotFound, what).with_hint(hint)
    }

    /// Whether the model is part of the program and lies in no folder.
    pub fn is_built_in(&self) -> bool {
        super::builtin::has(&self.name)
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

/// Whether `name` names a file in the very folder it is looked up in, on every system.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['/', '\\', ':', '\0'])
        && name.chars().any(|c| c != '.')
        && name.len() <= 255
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{
        "manifest_version": 1,
        "name": "m", "family": "f", "latent_space": "s", "latent_channels": 4,
        "spatial_compression_ratio": 8, "scaling_factor": 1.0, "shift_factor": 0.0,
        "fingerprint": "0000000000000000000000000000000000000000000000000000000000000000",
        "license": "MIT", "source": "here",
        "encoder": {
            "file": "e.onnx",
            "pixels": {"name": "pixels", "element": "u8", "layout": "nhwc", "range": [0, 255]},
            "latent": {"name": "latent", "element": "f16"}
        },
        "files": [{"name": "e.onnx", "bytes": 1, "sha256": ""}]
    }"#;

    #[test]
    fn a_latent_covers_the_whole_image() {
        let spec = ModelSpec::from_json(MANIFEST.as_bytes()).unwrap();
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
            ("scaling_factor\": 1.0", "scaling_factor\": 0.0"),
            ("[0, 255]", "[1, 1]"),
            ("\"file\": \"e.onnx\"", "\"file\": \"f.onnx\""),
            ("e.onnx", "../e.onnx"),
            ("\"name\": \"e.onnx\"", "\"name\": \"/e.onnx\""),
        ] {
            let text = MANIFEST.replace(from, to);
            assert_ne!(text, MANIFEST);
            assert!(ModelSpec::from_json(text.as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn a_manifest_of_a_later_version_is_refused_by_both_versions() {
        let later = r#"{"manifest_version": 7, "anything": true}"#;
        let error = ModelSpec::from_json(later.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        assert!(error.to_string().contains("version 7") && error.to_string().contains("version 1"));
    }
}
