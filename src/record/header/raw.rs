//! Reading the fields of a header.
//!
//! Invariant: a field that must be understood and isn't is refused; what may be unknown is kept; a header without what
//! it must say is damage.

use super::{EncoderStamp, RecordHeader, Source, tag};
use crate::error::{Error, Result};
use crate::exif::{Exif, Position};
use crate::fields::{self, REQUIRED};
use crate::latent::LatentShape;
use crate::quality::{Measured, Quality};
use crate::record::coding::Coding;
use crate::record::id::RecordId;
use crate::record::latent_error;
use crate::record::measured;
use crate::record::tags::Tags;
use crate::record::tier::ChannelError;
use crate::tile::Tiling;

/// The fields as found, before it is known whether all that must be there is.
#[derive(Default)]
pub(super) struct Raw {
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
    original: bool,
    quality: Option<Quality>,
    measured_by: String,
    latent_error: Vec<ChannelError>,
    created_ms: u64,
    unknown: Vec<(u16, Vec<u8>)>,
}

impl Raw {
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
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
            tag::ORIGINAL => {
                let [] = fields::array("original", value)?;
                self.original = true;
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
            tag::QUALITY => self.quality = Some(measured::from_bytes(value)?),
            tag::LATENT_ERROR => self.latent_error = latent_error::from_bytes(value)?,
            tag::MEASURED_BY => self.measured_by = fields::text("measured by", value)?,
            _ if tag & REQUIRED != 0 => {
                return Err(fields::unknown_required("the record's header", tag));
            }
            _ => self.unknown.push((tag, value.to_vec())),
        }
        Ok(())
    }

    pub(super) fn into_header(self, id: Option<RecordId>) -> Result<RecordHeader> {
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
            measured: self.quality.map(|quality| Measured {
                quality,
                decoder: self.measured_by,
            }),
            latent_error: self.latent_error,
            original: self.original,
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
