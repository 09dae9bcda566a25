//! What is known of a latent, and how it stands in a record's header and in listings.
//!
//! Invariant: `to_fields` and `from_fields` are inverse, and optional fields of later versions
//! survive the round trip.

mod raw;

use raw::Raw;

use super::coding::Coding;
use super::id::RecordId;
use super::latent_error;
use super::measured;
use super::tags::Tags;
use super::tier::ChannelError;
use crate::error::{Error, Result};
use crate::exif::{Exif, Position};
use crate::fields::{self, REQUIRED};
use crate::latent::LatentShape;
use crate::quality::Measured;
use crate::tile::Tiling;

/// The longest name of an encoder or a latent space, in bytes: both stand in the facts of every
/// listing, which are at most 256 bytes.
pub(crate) const MAX_NAME_BYTES: usize = 48;

/// Which encoder made a latent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EncoderStamp {
    /// The model's name at the time, for people: 1 to 48 bytes.
    pub name: String,
    /// BLAKE3 over the encoder's family, configuration and weights: tells two models of the same
    /// name apart. `None` for a latent that was handed in and whose encoder isn't known.
    pub fingerprint: Option<[u8; 32]>,
    /// Precision and execution provider, such as `f32 cpu`; empty if not known.
    pub computed: String,
}

impl std::fmt::Display for EncoderStamp {
    /// The name, and the first 12 hexadecimal digits of the fingerprint where it is known.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        match self.fingerprint {
            Some(fingerprint) => {
                write!(
                    f,
                    " {}",
                    &blake3::Hash::from_bytes(fingerprint).to_hex()[..12]
                )
            }
            None => Ok(()),
        }
    }
}

/// The file an image came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// File name without its folder.
    pub name: String,
    /// The format that the content has, such as `jpeg`; empty if not known.
    pub format: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// BLAKE3 of the file's bytes.
    pub blake3: [u8; 32],
}

/// Everything a record knows beside the values of its latent.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordHeader {
    /// The record's id.
    pub id: RecordId,
    /// Width of the image in pixels, as it comes back.
    pub width: u32,
    /// Height of the image in pixels, as it comes back.
    pub height: u32,
    /// Channels, height and width of the latent.
    pub shape: LatentShape,
    /// Which decoders may read the latent: those of the same latent space.
    pub latent_space: String,
    /// How the values are kept.
    pub coding: Coding,
    /// Whether the image has alpha, which is kept without loss beside the latent.
    pub alpha: bool,
    /// Which encoder made the latent, where that is known.
    pub encoder: Option<EncoderStamp>,
    /// The file the image came from, where there was one.
    pub source: Option<Source>,
    /// What was done to the image before it was encoded, such as `resize=512x512 center-crop`;
    /// empty if nothing was.
    pub preparation: String,
    /// The tiles the image was encoded in; `None` if it was encoded at once.
    pub tiling: Option<Tiling>,
    /// What the camera wrote into the source.
    pub exif: Exif,
    /// What the user says of the image.
    pub tags: Tags,
    /// How near the decoded image was to the one that went in, where that was measured.
    pub measured: Option<Measured>,
    /// How far the latent is at most from what the encoder gave, for each channel; empty if it is exactly that.
    pub latent_error: Vec<ChannelError>,
    /// Whether the file that the image came from is kept beside the latent.
    pub original: bool,
    /// When the record was made, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// Optional fields of a later version, kept as they are.
    pub(crate) unknown: Vec<(u16, Vec<u8>)>,
}

mod tag {
    use super::REQUIRED;

    pub(in crate::record) const ID: u16 = REQUIRED | 1;
    pub(in crate::record) const IMAGE_SIZE: u16 = REQUIRED | 2;
    pub(in crate::record) const LATENT_SHAPE: u16 = REQUIRED | 3;
    pub(in crate::record) const LATENT_SPACE: u16 = REQUIRED | 4;
    pub(in crate::record) const CODING: u16 = REQUIRED | 5;
    pub(in crate::record) const ALPHA: u16 = REQUIRED | 6;
    pub(in crate::record) const ORIGINAL: u16 = REQUIRED | 7;
    pub(in crate::record) const ENCODER_NAME: u16 = 1;
    pub(in crate::record) const ENCODER_FINGERPRINT: u16 = 2;
    pub(in crate::record) const COMPUTED: u16 = 3;
    pub(in crate::record) const SOURCE_NAME: u16 = 4;
    pub(in crate::record) const SOURCE_BYTES: u16 = 5;
    pub(in crate::record) const SOURCE_BLAKE3: u16 = 6;
    pub(in crate::record) const PREPARATION: u16 = 7;
    pub(in crate::record) const CREATED_MS: u16 = 8;
    pub(in crate::record) const SOURCE_FORMAT: u16 = 10;
    pub(in crate::record) const TILING: u16 = 11;
    pub(in crate::record) const TAKEN: u16 = 12;
    pub(in crate::record) const CAMERA: u16 = 13;
    pub(in crate::record) const ORIENTATION: u16 = 14;
    pub(in crate::record) const POSITION: u16 = 15;
    pub(in crate::record) const TAG: u16 = 16;
    pub(in crate::record) const QUALITY: u16 = 17;
    pub(in crate::record) const MEASURED_BY: u16 = 18;
    pub(in crate::record) const LATENT_ERROR: u16 = 19;
}

impl RecordHeader {
    /// A header that says what it must of an image of `size` (width and height in pixels), and nothing else.
    pub fn new(id: RecordId, size: (u32, u32), shape: LatentShape, latent_space: &str) -> Self {
        Self {
            id,
            width: size.0,
            height: size.1,
            shape,
            latent_space: latent_space.to_owned(),
            coding: Coding::default(),
            alpha: false,
            encoder: None,
            source: None,
            preparation: String::new(),
            tiling: None,
            exif: Exif::default(),
            tags: Tags::default(),
            measured: None,
            latent_error: Vec::new(),
            original: false,
            created_ms: 0,
            unknown: Vec::new(),
        }
    }

    /// Bytes of the image's alpha, if it has any.
    pub(crate) fn alpha_len(&self) -> Option<usize> {
        self.alpha
            .then(|| self.width as usize * self.height as usize)
    }

    /// Refuses names that a listing could not show, and values that can't be.
    pub(crate) fn check(&self) -> Result<()> {
        let Exif {
            orientation,
            position,
            ..
        } = &self.exif;
        if *orientation > 8 {
            return Err(Error::invalid(format!(
                "there is no orientation {orientation}"
            )));
        }
        if let Some(Position {
            latitude,
            longitude,
        }) = position
            && !(latitude.abs() <= 90.0 && longitude.abs() <= 180.0)
        {
            return Err(Error::invalid(format!(
                "there is no place at {latitude}, {longitude}"
            )));
        }
        if let Some(Measured { quality, .. }) = &self.measured {
            measured::check(quality)?;
        }
        latent_error::check(&self.latent_error, self.shape)?;
        let encoder = self.encoder.as_ref().map(|e| ("encoder", &e.name));
        for (what, name) in [("latent space", &self.latent_space)]
            .into_iter()
            .chain(encoder)
        {
            check_name(what, name)?;
        }
        if self.width == 0 || self.height == 0 {
            return Err(Error::invalid(format!(
                "an image can't be {}x{}",
                self.width, self.height
            )));
        }
        self.shape.values().map(drop)
    }

    pub(crate) fn to_fields(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(320);
        fields::push(&mut out, tag::ID, self.id.as_bytes());
        self.push_common(&mut out);
        if let Some(encoder) = &self.encoder {
            push_text(&mut out, tag::COMPUTED, &encoder.computed);
        }
        if let Some(source) = &self.source {
            push_text(&mut out, tag::SOURCE_NAME, &source.name);
            fields::push(&mut out, tag::SOURCE_BLAKE3, &source.blake3);
        }
        push_text(&mut out, tag::PREPARATION, &self.preparation);
        fields::push(&mut out, tag::CREATED_MS, &self.created_ms.to_le_bytes());
        self.push_picture(&mut out);
        for (tag, value) in &self.unknown {
            fields::push(&mut out, *tag, value);
        }
        out
    }

    fn push_picture(&self, out: &mut Vec<u8>) {
        if let Some(source) = &self.source {
            push_text(out, tag::SOURCE_FORMAT, &source.format);
        }
        if let Some(Tiling { size, overlap }) = self.tiling {
            let sides = [size, overlap].map(u32::to_le_bytes);
            fields::push(out, tag::TILING, sides.as_flattened());
        }
        push_text(out, tag::TAKEN, &self.exif.taken);
        push_text(out, tag::CAMERA, &self.exif.camera);
        if self.exif.orientation != 0 {
            fields::push(out, tag::ORIENTATION, &[self.exif.orientation]);
        }
        if let Some(Position {
            latitude,
            longitude,
        }) = self.exif.position
        {
            let degrees = [latitude, longitude].map(f64::to_le_bytes);
            fields::push(out, tag::POSITION, degrees.as_flattened());
        }
        for (key, value) in self.tags.iter() {
            fields::push(out, tag::TAG, format!("{key}={value}").as_bytes());
        }
        if let Some(Measured { decoder, .. }) = &self.measured {
            push_text(out, tag::MEASURED_BY, decoder);
        }
        if !self.latent_error.is_empty() {
            let bytes = latent_error::to_bytes(&self.latent_error);
            fields::push(out, tag::LATENT_ERROR, &bytes);
        }
    }

    /// The fields that a listing shows without reading the record: at most 256 bytes.
    pub(crate) fn to_facts(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(192);
        self.push_common(&mut out);
        out
    }

    fn push_common(&self, out: &mut Vec<u8>) {
        let size = [self.width, self.height].map(u32::to_le_bytes);
        let LatentShape {
            channels,
            height,
            width,
        } = self.shape;
        let shape = [channels, height, width].map(u32::to_le_bytes);
        fields::push(out, tag::IMAGE_SIZE, size.as_flattened());
        fields::push(out, tag::LATENT_SHAPE, shape.as_flattened());
        fields::push(out, tag::LATENT_SPACE, self.latent_space.as_bytes());
        fields::push(out, tag::CODING, &[self.coding.tag()]);
        if let Some(encoder) = &self.encoder {
            push_text(out, tag::ENCODER_NAME, &encoder.name);
            if let Some(fingerprint) = &encoder.fingerprint {
                fields::push(out, tag::ENCODER_FINGERPRINT, fingerprint);
            }
        }
        if let Some(source) = &self.source {
            fields::push(out, tag::SOURCE_BYTES, &source.bytes.to_le_bytes());
        }
        if self.alpha {
            fields::push(out, tag::ALPHA, &[]);
        }
        if self.original {
            fields::push(out, tag::ORIGINAL, &[]);
        }
        if let Some(Measured { quality, .. }) = &self.measured {
            fields::push(out, tag::QUALITY, &measured::to_bytes(quality));
        }
    }

    pub(crate) fn from_fields(bytes: &[u8]) -> Result<Self> {
        Raw::read(bytes)?.into_header(None)
    }

    /// What the facts of a listing say of the record `id`; the rest is empty.
    pub(crate) fn from_facts(id: RecordId, bytes: &[u8]) -> Result<Self> {
        Raw::read(bytes)?.into_header(Some(id))
    }
}

fn push_text(out: &mut Vec<u8>, tag: u16, text: &str) {
    if !text.is_empty() {
        fields::push(out, tag, text.as_bytes());
    }
}

pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{}` can't be the name of a {what}: 1 to {MAX_NAME_BYTES} letters, digits, '-', '_', '.' or '+'",
        name.escape_debug()
    )))
}
