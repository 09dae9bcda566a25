//! The autoencoder that is part of the program, so that the first run needs no download.
//!
//! Invariant: manifest and graphs belong together; a test holds their hashes and fingerprint.

use super::spec::ModelSpec;

const MANIFEST: &str = include_str!("../../onnx/tiny/manifest.json");

/// The encoder's graph.
pub(super) const ENCODER: &[u8] = include_bytes!("../../onnx/tiny/encoder.onnx");

/// The decoder's graph.
pub(super) const DECODER: &[u8] = include_bytes!("../../onnx/tiny/decoder.onnx");

/// `tiny`: f8, 4 channels, trained by `onnx/train`.
pub(super) fn tiny() -> ModelSpec {
    ModelSpec::from_json(MANIFEST).expect("a test reads the built-in manifest")
}
