//! What an archive says of a record beside its values: a JSON object.
//!
//! Invariant: `read` gives back the header that `write` was given, field by field, and refuses every other text but one
//! that says the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::entry::refused;
use crate::error::{Error, ErrorKind, Result};
use crate::exif::{Exif, Position};
use crate::latent::LatentShape;
use crate::quality::{Measured, Quality};
use crate::record::{
    ChannelError, Coding, EncoderStamp, Record, RecordHeader, RecordId, Source, Tags,
};
use crate::tile::Tiling;

/// What the JSON of a record says that it is.
pub(crate) const FORMAT: &str = "latentdb archive";
/// Version 1 had no alpha, tiling, exif, tags and format of the source; version 2 neither quality nor original;
/// version 3 neither the coding in the store nor the error of the latent.
const VERSION: u64 = 4;

/// What every archive names as its coding. The values are plain in it; but the first version named the coding it had,
/// and refuses other names.
const CODING: &str = "fast";
/// What stands for it in the checksum: its number in the first version.
const HASHED_CODING: Coding = Coding::Planes;

/// Values are hashed in pieces of so many.
const HASHED_VALUES: usize = 4096;

/// What every version begins with.
#[derive(Deserialize)]
struct Opening {
    format: String,
    version: u64,
}

/// All versions. `FORMAT.md` describes the keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u64,
    id: String,
    width: u32,
    height: u32,
    latent_shape: [u32; 3],
    latent_space: String,
    coding: String,
    #[serde(default)]
    alpha: bool,
    encoder: Option<Encoder>,
    source: Option<File>,
    preparation: String,
    #[serde(default)]
    tiling: Option<Tiles>,
    #[serde(default)]
    exif: Photograph,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    measured: Option<Numbers>,
    #[serde(default)]
    original: bool,
    /// The coding in the store.
    #[serde(default)]
    kept_as: Option<String>,
    /// Largest difference and root mean square of each channel.
    #[serde(default)]
    latent_error: Vec<[f32; 2]>,
    created_ms: u64,
    unknown: Vec<Field>,
    checksum: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoder {
    name: String,
    fingerprint: Option<String>,
    computed: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    format: String,
    bytes: u64,
    blake3: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tiles {
    size: u32,
    overlap: u32,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Photograph {
    taken: String,
    camera: String,
    orientation: u8,
    /// Latitude and longitude in degrees.
    position: Option<[f64; 2]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    decoder: String,
    /// `None` for infinity, which JSON can't say.
    psnr: Option<f64>,
    ssim: Option<f64>,
    ms_ssim: Option<f64>,
    ssimulacra2: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    tag: u16,
    value: String,
}

/// The JSON of `record`.
pub(super) fn write(record: &Record) -> Result<Vec<u8>> {
    let header = &record.header;
    let shape = header.shape;
    let document = Document {
        format: FORMAT.into(),
        version: VERSION,
        id: header.id.as_str().into(),
        width: header.width,
        height: header.height,
        latent_shape: [shape.channels, shape.height, shape.width],
        latent_space: header.latent_space.clone(),
        coding: CODING.into(),
        alpha: header.alpha,
        encoder: header.encoder.as_ref().map(|encoder| Encoder {
            name: encoder.name.clone(),
            fingerprint: encoder.fingerprint.map(|bytes| hex(&bytes)),
            computed: encoder.computed.clone(),
        }),
        source: header.source.as_ref().map(|source| File {
            name: source.name.clone(),
            format: source.format.clone(),
            bytes: source.bytes,
            blake3: hex(&source.blake3),
        }),
        preparation: header.preparation.clone(),
        tiling: (header.tiling).map(|Tiling { size, overlap }| Tiles { size, overlap }),
        exif: Photograph {
            taken: header.exif.taken.clone(),
            camera: header.exif.camera.clone(),
            orientation: header.exif.orientation,
            position: (header.exif.position).map(|place| [place.latitude, place.longitude]),
        },
        tags: (header.tags.iter())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        measured: header.measured.as_ref().map(Numbers::of),
        original: header.original,
        kept_as: Some(header.coding.to_string()),
        latent_error: (header.latent_error.iter())
            .map(|error| [error.max_abs, error.rms])
            .collect(),
        created_ms: header.created_ms,
        unknown: (header.unknown.iter())
            .map(|(tag, value)| Field {
                tag: *tag,
                value: hex(value),
            })
            .collect(),
        checksum: hex(&checksum(record)),
    };
    let mut json = serde_json::to_vec_pretty(&document).map_err(|e| {
        Error::invalid(format!("record `{}` can't be said in JSON", header.id)).with_source(e)
    })?;
    json.push(b'\n');
    Ok(json)
}

/// The header that the entry `name` holds, and the checksum of the record.
pub(super) fn read(name: &str, json: &[u8]) -> Result<(RecordHeader, [u8; 32])> {
    let opening: Opening = parse(name, json)?;
    if opening.format != FORMAT {
        let how = format!("is of the format `{}`", opening.format.escape_debug());
        return Err(refused(name, &format!("{how} instead of `{FORMAT}`")));
    }
    if !(1..=VERSION).contains(&opening.version) {
        let how = format!(
            "has version {}, this program reads up to version {VERSION}",
            opening.version
        );
        let message = refused(name, &how).to_string();
        return Err(Error::new(ErrorKind::UnsupportedVersion, message));
    }
    let document: Document = parse(name, json)?;
    let wrong = |error: Error| {
        let kind = match error.kind() {
            ErrorKind::UnsupportedVersion => ErrorKind::UnsupportedVersion,
            _ => ErrorKind::InvalidInput,
        };
        let message = refused(name, "is no record's header").to_string();
        Error::new(kind, message).with_source(error)
    };
    document.into_header().map_err(wrong)
}

fn parse<'a, T: Deserialize<'a>>(name: &str, json: &'a [u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|e| refused(name, "is not the JSON of a record").with_source(e))
}

impl Document {
    fn into_header(self) -> Result<(RecordHeader, [u8; 32])> {
        if self.coding != CODING {
            return Err(Error::new(
                ErrorKind::UnsupportedVersion,
                format!(
                    "the coding `{}` is unknown to this version",
                    self.coding.escape_debug()
                ),
            ));
        }
        let [channels, height, width] = self.latent_shape;
        let encoder = self.encoder.map(|encoder| {
            let fingerprint = encoder.fingerprint;
            Ok(EncoderStamp {
                name: encoder.name,
                fingerprint: fingerprint
                    .map(|digits| hash("fingerprint", &digits))
                    .transpose()?,
                computed: encoder.computed,
            })
        });
        let source = self.source.map(|source| {
            Ok(Source {
                name: source.name,
                format: source.format,
                bytes: source.bytes,
                blake3: hash("BLAKE3 of the source", &source.blake3)?,
            })
        });
        let unknown = (self.unknown.into_iter()).map(|field| {
            let value = from_hex(&field.value)
                .ok_or_else(|| not_hex("value of an unknown field", &field.value))?;
            Ok((field.tag, value))
        });
        let mut tags = Tags::default();
        for (key, value) in &self.tags {
            tags.set(key, value)?;
        }
        let shape = LatentShape {
            channels,
            height,
            width,
        };
        let (id, size) = (RecordId::new(self.id)?, (self.width, self.height));
        let position = |[latitude, longitude]: [f64; 2]| Position {
            latitude,
            longitude,
        };
        let header = RecordHeader {
            alpha: self.alpha,
            tiling: (self.tiling).map(|Tiles { size, overlap }| Tiling { size, overlap }),
            exif: Exif {
                taken: self.exif.taken,
                camera: self.exif.camera,
                orientation: self.exif.orientation,
                position: self.exif.position.map(position),
            },
            tags,
            measured: self.measured.map(Numbers::into_measured),
            original: self.original,
            coding: match &self.kept_as {
                Some(name) => name.parse()?,
                None => Coding::default(),
            },
            latent_error: (self.latent_error.into_iter())
                .map(|[max_abs, rms]| ChannelError { max_abs, rms })
                .collect(),
            encoder: encoder.transpose()?,
            source: source.transpose()?,
            preparation: self.preparation,
            created_ms: self.created_ms,
            unknown: unknown.collect::<Result<_>>()?,
            ..RecordHeader::new(id, size, shape, &self.latent_space)
        };
        header.check()?;
        // Unknown fields with tags that aren't unknown would come back as something else.
        if RecordHeader::from_fields(&header.to_fields())? != header {
            return Err(Error::invalid(
                "an unknown field has the tag of one that is known",
            ));
        }
        Ok((header, hash("checksum", &self.checksum)?))
    }
}

impl Numbers {
    fn of(Measured { quality, decoder }: &Measured) -> Self {
        Self {
            decoder: decoder.clone(),
            psnr: Some(quality.psnr).filter(|psnr| psnr.is_finite()),
            ssim: quality.ssim,
            ms_ssim: quality.ms_ssim,
            ssimulacra2: quality.ssimulacra2,
        }
    }

    fn into_measured(self) -> Measured {
        Measured {
            quality: Quality {
                ssim: self.ssim,
                ms_ssim: self.ms_ssim,
                ssimulacra2: self.ssimulacra2,
                ..Quality::of_psnr(self.psnr.unwrap_or(f64::INFINITY))
            },
            decoder: self.decoder,
        }
    }
}

/// BLAKE3 over the fields of the header, the values, the alpha and the original, as a record holds them: the one thing in an archive
/// that notices a changed bit in a value or a number.
pub(super) fn checksum(record: &Record) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let header = RecordHeader {
        coding: HASHED_CODING,
        ..record.header.clone()
    };
    hasher.update(&header.to_fields());
    let mut bytes = Vec::with_capacity(2 * HASHED_VALUES);
    for values in record.latent.as_slice().chunks(HASHED_VALUES) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        hasher.update(&bytes);
    }
    hasher.update(record.alpha.as_deref().unwrap_or_default());
    hasher.update(record.original.as_deref().unwrap_or_default());
    *hasher.finalize().as_bytes()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from(b"0123456789abcdef"[usize::from(four)]);
    let digits = bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]);
    digits.collect()
}

fn hash(what: &str, digits: &str) -> Result<[u8; 32]> {
    let bytes = from_hex(digits).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| not_hex(what, digits))
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    (pairs.iter())
        .map(|[high, low]| Some(value(*high)? << 4 | value(*low)?))
        .collect()
}

fn not_hex(what: &str, digits: &str) -> Error {
    /// More of it would fill a screen.
    const SHOWN: usize = 80;
    let shown: String = digits.chars().take(SHOWN).collect();
    Error::invalid(format!(
        "the {what} `{}` is not the hexadecimal digits it should be",
        shown.escape_debug()
    ))
}
