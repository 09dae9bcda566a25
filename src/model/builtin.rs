//! The autoencoder that is part of the program, so that the first run needs no download.
//!
//! Invariant: manifest and graphs belong together; a test holds their hashes and fingerprint.

use super::spec::ModelSpec;

/// Its name, which no other model may have.
pub(super) const NAME: &str = "tiny";

const MANIFEST: &[u8] = include_bytes!("../../onnx/tiny/manifest.json");

const ENCODER: &[u8] = include_bytes!("../../onnx/tiny/encoder.onnx");

const DECODER: &[u8] = include_bytes!("../../onnx/tiny/decoder.onnx");

/// `tiny`: f8, 4 channels, trained by `onnx/train`.
pub(super) fn tiny() -> ModelSpec {
    ModelSpec::from_json(MANIFEST).expect("a test reads the built-in manifest")
}

/// The bytes of one of its files.
pub(super) fn file(name: &str) -> Option<&'static [u8]> {
    match name {
        "encoder.onnx" => Some(ENCODER),
        "decoder.onnx" => Some(DECODER),
        _ => None,
    }
}
