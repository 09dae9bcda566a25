//! A record: a latent and what is known of it, as bytes that describe themselves.
//!
//! Invariant: `Record::from_bytes(record.to_bytes())` is the same record, and bytes that differ
//! from what `to_bytes` wrote in any bit are refused, without a panic and without allocating more
//! than they justify. `FORMAT.md` draws the bytes.

mod coding;
mod header;
mod id;
mod latent_error;
mod measured;
mod tags;
mod tier;

use twox_hash::XxHash3_64;

pub use coding::Coding;
pub(crate) use coding::{compress, decompress};
pub(crate) use header::check_name;
pub use header::{EncoderStamp, RecordHeader, Source};
pub use id::RecordId;
pub use tags::Tags;
pub use tier::{ChannelError, Tier};

use crate::error::{Error, ErrorKind, Result};
use crate::latent::Latent;

const MAGIC: [u8; 4] = *b"LDBR";
const VERSION: u16 = 1;
/// Magic, version, two reserved bytes, length of the header (u32) and of the payload (u64).
const PREFIX: usize = 20;
const CHECKSUM_BYTES: usize = 8;

/// A latent and what is known of it.
#[derive(Clone, PartialEq)]
pub struct Record {
    /// Everything beside the values.
    pub header: RecordHeader,
    /// The values.
    pub latent: Latent,
    /// The alpha of the image, a byte a pixel, rows from the top; there if and only if `header.alpha` says so.
    pub alpha: Option<Vec<u8>>,
    /// The bytes of the file that the image came from; there if and only if `header.original` says so.
    pub original: Option<Vec<u8>>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({:?}, {:?})", self.header, self.latent)
    }
}

impl Record {
    /// Keeps the latent as `coding` from now on. A lossy coding moves its values to the levels of its tier: then the
    /// header states the bounds of that, and what was measured of the image before holds no more and is forgotten.
    ///
    /// # Errors
    /// `InvalidInput` if the latent is in the levels of a coarser tier: finer ones would take more bytes and give a worse image.
    pub fn recode(&mut self, coding: Coding) -> Result<()> {
        let header = &mut self.header;
        match (header.coding, coding) {
            (from, to) if from == to => return Ok(()),
            (Coding::Quantised(from), Coding::Quantised(to)) if from < to => {
                return Err(Error::invalid(format!(
                    "`{}` is kept as {from} already, which is coarser than {to}",
                    header.id
                )));
            }
            (_, Coding::Quantised(tier)) => {
                let (latent, errors) = tier::quantised(&self.latent, tier);
                header.latent_error = tier::accumulated(&header.latent_error, errors);
                header.measured = None;
                self.latent = latent;
            }
            _ => {}
        }
        header.coding = coding;
        Ok(())
    }

    /// The record as bytes that describe themselves.
    ///
    /// # Errors
    /// `InvalidInput` if a name in the header is too long, shape and latent disagree, or the coding is lossy and the
    /// latent isn't in its levels: [`recode`](Self::recode) brings it there.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.check()?;
        let header = self.header.to_fields();
        let mut payload = coding::compress(&self.latent, self.header.coding)?;
        if let Some(alpha) = &self.alpha {
            let alpha = coding::alpha::compress(alpha, self.header.width as usize)?;
            payload.extend_from_slice(&alpha);
            payload.extend_from_slice(&coding::length(alpha.len())?);
        }
        if let Some(original) = &self.original {
            payload.extend_from_slice(original);
            payload.extend_from_slice(&(original.len() as u64).to_le_bytes());
        }
        let mut out = Vec::with_capacity(PREFIX + header.len() + payload.len() + CHECKSUM_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&(header.len() as u32).to_le_bytes());
        out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&payload);
        out.extend_from_slice(&XxHash3_64::oneshot(&out).to_le_bytes());
        Ok(out)
    }

    /// Refuses a header that can't be, and one that isn't that of the latent and the alpha.
    ///
    /// # Errors
    /// `InvalidInput`, with the id.
    pub(crate) fn check(&self) -> Result<()> {
        let header = &self.header;
        header.check()?;
        let wrong = |what: String| {
            Err(Error::invalid(format!(
                "the header of record `{}` says {what}",
                header.id
            )))
        };
        if header.shape != self.latent.shape() {
            let (said, found) = (header.shape, self.latent.shape());
            return wrong(format!("{said}, and its latent has the shape {found}"));
        }
        let (said, found) = (header.alpha_len(), self.alpha.as_ref().map(Vec::len));
        if said != found {
            let bytes = |length: Option<usize>| length.unwrap_or_default();
            return wrong(format!(
                "{} bytes of alpha, and there are {}",
                bytes(said),
                bytes(found)
            ));
        }
        let said = header.source.as_ref().filter(|_| header.original);
        let said = said.map_or(0, |source| source.bytes);
        let found = self.original.as_ref().map_or(0, Vec::len) as u64;
        if header.original != self.original.is_some() || said != found {
            return wrong(format!(
                "{said} bytes of an original, and there are {found}"
            ));
        }
        Ok(())
    }

    /// The record that was written as `bytes`.
    ///
    /// # Errors
    /// `Corrupted` if the checksum or any length disagrees; `UnsupportedVersion` if a newer
    /// version wrote the bytes or a required field or the coding is unknown.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::of_parts(split(bytes, Checksum::Compare)?)
    }

    /// Like [`from_bytes`](Self::from_bytes), of bytes that are known to be those that
    /// [`to_bytes`](Self::to_bytes) gave: without comparing their checksum once more.
    pub(crate) fn from_intact_bytes(bytes: &[u8]) -> Result<Self> {
        Self::of_parts(split(bytes, Checksum::Known)?)
    }

    fn of_parts((header, payload): (&[u8], &[u8])) -> Result<Self> {
        let header = RecordHeader::from_fields(header)?;
        let (payload, original) = if header.original {
            let (rest, original) = split_original(payload)?;
            (rest, Some(original.to_vec()))
        } else {
            (payload, None)
        };
        let (payload, alpha) = match header.alpha_len() {
            Some(length) => {
                let (latent, alpha) = split_alpha(payload)?;
                let width = header.width as usize;
                (
                    latent,
                    Some(coding::alpha::decompress(alpha, width, length)?),
                )
            }
            None => (payload, None),
        };
        let latent = coding::decompress(header.shape, header.coding, payload)?;
        Ok(Self {
            header,
            latent,
            alpha,
            original,
        })
    }
}

/// What comes before the original in a payload, and the original, whose length comes last.
fn split_original(payload: &[u8]) -> Result<(&[u8], &[u8])> {
    let damaged = || Error::corrupted("the record's original is longer than its payload");
    let (rest, length) = payload.split_last_chunk().ok_or_else(damaged)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| damaged())?;
    let before = rest.len().checked_sub(length).ok_or_else(damaged)?;
    Ok(rest.split_at(before))
}

/// The payload of a latent, and that of the alpha behind it, whose length comes last.
fn split_alpha(payload: &[u8]) -> Result<(&[u8], &[u8])> {
    let damaged = || Error::corrupted("the record's alpha is longer than its payload");
    let (rest, length) = payload.split_last_chunk().ok_or_else(damaged)?;
    let length = u32::from_le_bytes(*length) as usize;
    let latent = rest.len().checked_sub(length).ok_or_else(damaged)?;
    Ok(rest.split_at(latent))
}

impl RecordHeader {
    /// Like [`Record::from_bytes`], without decompressing the values.
    ///
    /// # Errors
    /// As [`Record::from_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        RecordHeader::from_fields(split(bytes, Checksum::Compare)?.0)
    }
}

/// Whether somebody else has checked the bytes of a record already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checksum {
    Compare,
    Known,
}

/// Checks magic, checksum, version and lengths; returns header and payload.
fn split(bytes: &[u8], how: Checksum) -> Result<(&[u8], &[u8])> {
    let short = || Error::corrupted(format!("{} bytes are too few for a record", bytes.len()));
    let (content, checksum) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or_else(short)?;
    let (prefix, body) = content.split_first_chunk::<PREFIX>().ok_or_else(short)?;
    let [m0, m1, m2, m3, v0, v1, _, _, h0, h1, h2, h3, p @ ..] = *prefix;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(Error::corrupted("the bytes don't begin like a record"));
    }
    // The checksum comes before the version: a damaged version must not read as a newer one.
    let matches = || XxHash3_64::oneshot(content) == u64::from_le_bytes(*checksum);
    if how == Checksum::Compare && !matches() {
        return Err(Error::corrupted(
            "the record's checksum doesn't match its bytes",
        ));
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != VERSION {
        return Err(Error::new(
            ErrorKind::UnsupportedVersion,
            format!("the record has version {version}, this program reads version {VERSION}"),
        ));
    }
    let header = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
    let payload = u64::from_le_bytes(p);
    match body.split_at_checked(header) {
        Some((header, rest)) if rest.len() as u64 == payload => Ok((header, rest)),
        _ => Err(Error::corrupted(format!(
            "the record has {} bytes where its lengths say {header} + {payload}",
            body.len()
        ))),
    }
}

#[cfg(test)]
mod tests;
