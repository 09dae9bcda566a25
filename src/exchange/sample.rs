//! What a WebDataset sample says of a latent beside its values: a JSON object.
//!
//! Invariant: a JSON that isn't of this form is somebody else's, and says nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::record::{EncoderStamp, RecordHeader, Source, Tags};

/// The JSON of a sample. `docs/exchange.md` describes the keys.
#[derive(Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) id: String,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) latent_space: String,
    encoder: Option<String>,
    fingerprint: Option<String>,
    scaling_factor: Option<f64>,
    shift_factor: Option<f64>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    source: Option<Original>,
}

#[derive(Serialize, Deserialize)]
struct Original {
    name: String,
    #[serde(default)]
    format: String,
    bytes: u64,
    blake3: String,
}

impl Sample {
    /// What is said of the record with this header, whose latent space has these factors.
    pub(super) fn new(header: &RecordHeader, factors: Option<(f64, f64)>) -> Self {
        let encoder = header.encoder.as_ref();
        let hex = |bytes: &[u8; 32]| blake3::Hash::from_bytes(*bytes).to_hex().to_string();
        let (scaling_factor, shift_factor) = factors.unzip();
        let tags = header.tags.iter();
        Self {
            id: header.id.to_string(),
            width: header.width,
            height: header.height,
            latent_space: header.latent_space.clone(),
            encoder: encoder.map(|encoder| encoder.name.clone()),
            fingerprint: encoder.and_then(|encoder| encoder.fingerprint.as_ref().map(hex)),
            scaling_factor,
            shift_factor,
            tags: (tags.map(|(key, value)| (key.to_owned(), value.to_owned()))).collect(),
            source: header.source.as_ref().map(|source| Original {
                name: source.name.clone(),
                format: source.format.clone(),
                bytes: source.bytes,
                blake3: hex(&source.blake3),
            }),
        }
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| {
            Error::invalid(format!("record `{}` can't be said in JSON", self.id)).with_source(e)
        })
    }

    /// What the JSON of a sample says, if it is of this form.
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    pub(super) fn encoder(&self) -> Result<Option<EncoderStamp>> {
        let Some(name) = self.encoder.clone() else {
            return Ok(None);
        };
        let fingerprint = self.fingerprint.as_deref();
        Ok(Some(EncoderStamp {
            name,
            fingerprint: fingerprint.map(|d| hash("fingerprint", d)).transpose()?,
            computed: String::new(),
        }))
    }

    pub(super) fn source(&self) -> Result<Option<Source>> {
        let source = self.source.as_ref().map(|source| {
            Ok(Source {
                name: source.name.clone(),
                format: source.format.clone(),
                bytes: source.bytes,
                blake3: hash("BLAKE3 of the source", &source.blake3)?,
            })
        });
        source.transpose()
    }

    pub(super) fn tags(&self) -> Result<Tags> {
        let mut tags = Tags::default();
        for (key, value) in &self.tags {
            tags.set(key, value)?;
        }
        Ok(tags)
    }
}

fn hash(what: &str, digits: &str) -> Result<[u8; 32]> {
    let hash = blake3::Hash::from_hex(digits).map_err(|e| {
        Error::invalid(format!(
            "the {what} is not the 64 hexadecimal digits it should be"
        ))
        .with_source(e)
    })?;
    Ok(*hash.as_bytes())
}
