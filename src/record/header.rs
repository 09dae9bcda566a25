//! What is known of a latent, and how it stands in a record's header and in listings.
//!
//! Invariant: `to_fields` and `from_fields` are inverse, and optional fields of later versions
//! survive the round trip.

use super::coding::Coding;
use super::id::RecordId;
use super::tags::Tags;
use crate::error::{Error, Result};
use crate::exif::{Exif, Position};
use crate::fields::{self, REQUIRED};
use crate::latent::LatentShape;
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
    /// When the record was made, in milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// Optional fields of a later version, kept as they are.
    pub(crate) unknown: Vec<(u16, Vec<u8>)>,
}

mod tag {
    use super::REQUIRED;

    pub(super) const ID: u16 = REQUIRED | 1;
    pub(super) const IMAGE_SIZE: u16 = REQUIRED | 2;
    pub(super) const LATENT_SHAPE: u16 = REQUIRED | 3;
    pub(super) const LATENT_SPACE: u16 = REQUIRED | 4;
    pub(super) const CODING: u16 = REQUIRED | 5;
    pub(super) const ALPHA: u16 = REQUIRED | 6;
    pub(super) const ENCODER_NAME: u16 = 1;
    pub(super) const ENCODER_FINGERPRINT: u16 = 2;
    pub(super) const COMPUTED: u16 = 3;
    pub(super) const SOURCE_NAME: u16 = 4;
    pub(super) const SOURCE_BYTES: u16 = 5;
    pub(super) const SOURCE_BLAKE3: u16 = 6;
    pub(super) const PREPARATION: u16 = 7;
    pub(super) const CREATED_MS: u16 = 8;
    pub(super) const SOURCE_FORMAT: u16 = 10;
    pub(super) const TILING: u16 = 11;
    pub(super) const TAKEN: u16 = 12;
    pub(super) const CAMERA: u16 = 13;
    pub(super) const ORIENTATION: u16 = 14;
    pub(super) const POSITION: u16 = 15;
    pub(super) const TAG: u16 = 16;
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

/// The fields as found, before it is known whether all that must be there is.
#[derive(Default)]
struct Raw {
    id: Option<RecordId>,
    size: Option<[u32; 2]>,
    shape: Option<[u32; 3]>,
    latent_space: Option<String>,
    coding: Option<Coding>,
    alpha: bool,
    encoder_name: Option<String>,
    fingerprint: Option<[u8; 32]>,
    computed: String,
    source_name: String,
    source_bytes: Option<u64>,
    source_blake3: Option<[u8; 32]>,
    source_format: String,
    preparation: String,
    tiling: Option<[u32; 2]>,
    exif: Exif,
    tags: Tags,
    created_ms: u64,
    unknown: Vec<(u16, Vec<u8>)>,
}

impl Raw {
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut raw = Self::default();
        for field in fields::iter(bytes) {
            let (tag, value) = field?;
            raw.take(tag, value)?;
        }
        Ok(raw)
    }

    fn take(&mut self, tag: u16, value: &[u8]) -> Result<()> {
        match tag {
            tag::ID => {
                let id = RecordId::new(fields::text("id", value)?);
                let bad = |e| Error::corrupted("the id in the header is invalid").with_source(e);
                self.id = Some(id.map_err(bad)?);
            }
            tag::IMAGE_SIZE => self.size = Some(fields::u32s("image size", value)?),
            tag::LATENT_SHAPE => self.shape = Some(fields::u32s("latent shape", value)?),
            tag::LATENT_SPACE => self.latent_space = Some(fields::text("latent space", value)?),
            tag::CODING => {
                let [coding] = fields::array("coding", value)?;
                self.coding = Some(Coding::from_tag(coding)?);
            }
            tag::ALPHA => {
                let [] = fields::array("alpha", value)?;
                self.alpha = true;
            }
            tag::ENCODER_NAME => self.encoder_name = Some(fields::text("encoder", value)?),
            tag::ENCODER_FINGERPRINT => {
                self.fingerprint = Some(fields::array("fingerprint", value)?);
            }
            tag::COMPUTED => self.computed = fields::text("computed", value)?,
            tag::SOURCE_NAME => self.source_name = fields::text("source name", value)?,
            tag::SOURCE_BYTES => {
                let bytes = fields::array("source size", value)?;
                self.source_bytes = Some(u64::from_le_bytes(bytes));
            }
            tag::SOURCE_BLAKE3 => {
                self.source_blake3 = Some(fields::array("source BLAKE3", value)?);
            }
            tag::PREPARATION => self.preparation = fields::text("preparation", value)?,
            tag::CREATED_MS => {
                self.created_ms = u64::from_le_bytes(fields::array("created", value)?);
            }
            tag::SOURCE_FORMAT => self.source_format = fields::text("source format", value)?,
            tag::TILING => self.tiling = Some(fields::u32s("tiling", value)?),
            tag::TAKEN => self.exif.taken = fields::text("date taken", value)?,
            tag::CAMERA => self.exif.camera = fields::text("camera", value)?,
            tag::ORIENTATION => [self.exif.orientation] = fields::array("orientation", value)?,
            tag::POSITION => self.exif.position = Some(position(value)?),
            tag::TAG => self.tags.read(&fields::text("tag", value)?)?,
            _ if tag & REQUIRED != 0 => {
                return Err(fields::unknown_required("the record's header", tag));
            }
            _ => self.unknown.push((tag, value.to_vec())),
        }
        Ok(())
    }

    fn into_header(self, id: Option<RecordId>) -> Result<RecordHeader> {
        let missing = |name: &str| Error::corrupted(format!("the header has no field `{name}`"));
        let [width, height] = self.size.ok_or_else(|| missing("image size"))?;
        let [channels, rows, columns] = self.shape.ok_or_else(|| missing("latent shape"))?;
        let encoder = self.encoder_name.map(|name| EncoderStamp {
            name,
            fingerprint: self.fingerprint,
            computed: self.computed,
        });
        let source = self.source_bytes.map(|bytes| Source {
            name: self.source_name,
            format: self.source_format,
            bytes,
            blake3: self.source_blake3.unwrap_or_default(),
        });
        let header = RecordHeader {
            id: self.id.or(id).ok_or_else(|| missing("id"))?,
            width,
            height,
            shape: LatentShape {
                channels,
                height: rows,
                width: columns,
            },
            latent_space: self.latent_space.ok_or_else(|| missing("latent space"))?,
            coding: self.coding.ok_or_else(|| missing("coding"))?,
            alpha: self.alpha,
            encoder,
            source,
            preparation: self.preparation,
            tiling: self.tiling.map(|[size, overlap]| Tiling { size, overlap }),
            exif: self.exif,
            tags: self.tags,
            created_ms: self.created_ms,
            unknown: self.unknown,
        };
        let contradiction = |e| Error::corrupted("the header contradicts itself").with_source(e);
        header.check().map_err(contradiction)?;
        Ok(header)
    }
}

fn position(value: &[u8]) -> Result<Position> {
    let bytes: [u8; 16] = fields::array("position", value)?;
    let [latitude, longitude] = [0, 8].map(|at| {
        let mut degrees = [0; 8];
        degrees.copy_from_slice(&bytes[at..at + 8]);
        f64::from_le_bytes(degrees)
    });
    Ok(Position {
        latitude,
        longitude,
    })
}
