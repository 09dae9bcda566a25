//! The fingerprint of an encoder whose weights were imported.
//!
//! Invariant: it depends on what the encoder computes and on nothing else: not on the names or the element type
//! the weights were published in, nor on how its graph is written.

use serde_json::Value;

use crate::error::Result;
use crate::model::weights::Tensors;

/// BLAKE3, in hexadecimal, over
/// - `latentdb-encoder-v1`, the family, and the encoder's configuration as JSON without spaces and with sorted
///   keys, each followed by a line break;
/// - for each tensor of the encoder, by its canonical name bytewise: the name, `\0f32\0`, the number of its
///   dimensions as a little-endian u32, each dimension as a little-endian i64, its values as little-endian f32.
pub(super) fn of(family: &str, config: &Value, tensors: &Tensors) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let config = sorted(config);
    hasher.update(format!("latentdb-encoder-v1\n{family}\n{config}\n").as_bytes());
    let is_encoders = |name: &str| name.starts_with("encoder.") || name.starts_with("quant_conv.");
    for (name, tensor) in tensors.iter().filter(|(name, _)| is_encoders(name)) {
        hasher.update(name.as_bytes()).update(b"\0f32\0");
        hasher.update(&(tensor.dims.len() as u32).to_le_bytes());
        for side in &tensor.dims {
            hasher.update(&side.cast_signed().to_le_bytes());
        }
        tensor.for_each_f32(name, |bytes| {
            hasher.update(bytes);
        })?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// The same JSON with the keys of objects in order: the crate keeps the order they were inserted in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(keys) => {
            let mut keys: Vec<_> = keys.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            keys.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(keys.into_iter().collect())
        }
        other => other.clone(),
    }
}
