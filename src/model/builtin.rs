//! The autoencoders that are part of the program, so that the first run needs no download and what earlier
//! versions wrote can always be read.
//!
//! Invariant: manifest and graphs belong together; a test holds their hashes and fingerprint. A latent space that
//! records were ever written in keeps its decoder, bit for bit.

use super::spec::ModelSpec;

/// A model in the program's own bytes.
struct BuiltIn {
    name: &'static str,
    manifest: &'static [u8],
    files: &'static [(&'static str, &'static [u8])],
}

/// The newest first: it is what images are encoded with unless told otherwise.
const MODELS: [BuiltIn; 2] = [
    BuiltIn {
        name: "tiny",
        manifest: include_bytes!("../../onnx/tiny/manifest.json"),
        files: &[
            (
                "encoder.onnx",
                include_bytes!("../../onnx/tiny/encoder.onnx"),
            ),
            (
                "decoder.onnx",
                include_bytes!("../../onnx/tiny/decoder.onnx"),
            ),
        ],
    },
    // The decoder of the first `tiny`, whose records are in the latent space `tiny-1`.
    BuiltIn {
        name: "tiny-1",
        manifest: include_bytes!("../../onnx/tiny-1/manifest.json"),
        files: &[(
            "decoder.onnx",
            include_bytes!("../../onnx/tiny-1/decoder.onnx"),
        )],
    },
];

/// All of them.
pub(super) fn models() -> Vec<ModelSpec> {
    MODELS.iter().map(read).collect()
}

/// The newest.
pub(super) fn tiny() -> ModelSpec {
    read(&MODELS[0])
}

fn read(model: &BuiltIn) -> ModelSpec {
    ModelSpec::from_json(model.manifest).expect("a test reads the built-in manifests")
}

/// Whether `name` is one of theirs, which no other model may have.
pub(super) fn has(name: &str) -> bool {
    MODELS.iter().any(|model| model.name == name)
}

/// The bytes of a file of the model `name`.
pub(super) fn file(name: &str, file: &str) -> Option<&'static [u8]> {
    let model = MODELS.iter().find(|model| model.name == name)?;
    let found = model.files.iter().find(|(name, _)| *name == file)?;
    Some(found.1)
}
