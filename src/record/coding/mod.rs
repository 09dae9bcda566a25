//! How the values of a latent become fewer bytes, and back.
//!
//! Invariant: every finite f16 comes back with the same 16 bits, and no payload is more than 1 %
//! (plus a few bytes) larger than the raw values. The only user of `zstd`.

pub(super) mod alpha;
mod dense;
mod levels;
mod pairs;
mod planes;

#[cfg(test)]
mod levels_tests;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use self::pairs::Layout;
use crate::error::{Error, ErrorKind, Result};
use crate::latent::{Latent, LatentShape};
use crate::record::tier::Tier;

/// How a record keeps the values of its latent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Coding {
    /// The high bytes of all values, then the low bytes, each as a zstd frame of level 3. What
    /// records had before `Fast`.
    Planes,
    /// Signs and exponents of two neighbours as one byte, mostly in a Huffman code that is the same
    /// for all latents, the other bits as they are; as `Planes` where that takes less, as it does
    /// for latents that are no noise.
    ///
    /// Neighbours often have the same sign, which their high bytes don't show: latents of photographs
    /// take a little less than as `Planes`, and are read faster.
    #[default]
    Fast,
    /// Each value predicted from its neighbours, also those in earlier channels, and coded by how far off that is: takes
    /// least, and is read at a tenth of the speed or less; as `Planes` where that takes less.
    Dense,
    /// Rounded to the levels of a [`Tier`], and these as in `Dense`. Lossy: the record states how far values moved.
    Quantised(Tier),
}

/// Added to the quarter bits of a tier this is its number in records.
const QUANTISED: u8 = 0x80;

impl Coding {
    /// The codings that give back the very values they were given.
    pub const LOSSLESS: [Self; 3] = [Coding::Planes, Coding::Fast, Coding::Dense];

    /// The number that stands for it in records.
    pub(crate) fn tag(self) -> u8 {
        match self {
            Coding::Planes => 1,
            Coding::Fast => 2,
            Coding::Dense => 3,
            Coding::Quantised(tier) => QUANTISED | tier.quarters(),
        }
    }

    pub(crate) fn from_tag(tag: u8) -> Result<Self> {
        let lossless = (Self::LOSSLESS.into_iter()).find(|coding| coding.tag() == tag);
        let tier = || Tier::from_quarters(tag.checked_sub(QUANTISED)?).map(Coding::Quantised);
        lossless.or_else(tier).ok_or_else(|| {
            Error::new(
                ErrorKind::UnsupportedVersion,
                format!("coding {tag} is unknown to this version"),
            )
        })
    }
}

impl Display for Coding {
    /// The name used on the command line and in `--json`: `fast`, `dense`, `planes`, or that of the tier.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Coding::Planes => f.write_str("planes"),
            Coding::Fast => f.write_str("fast"),
            Coding::Dense => f.write_str("dense"),
            Coding::Quantised(tier) => tier.fmt(f),
        }
    }
}

impl FromStr for Coding {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let lossless = (Self::LOSSLESS.into_iter()).find(|coding| coding.to_string() == name);
        let coding = lossless.or_else(|| name.parse().ok().map(Coding::Quantised));
        coding.ok_or_else(|| {
            Error::invalid(format!(
                "there is no coding `{}`: they are fast, dense, planes, q8, q6, q5, q4, and the quarters of a bit between q4 and q10, such as q5.25",
                name.escape_debug()
            ))
        })
    }
}

/// What the payload of [`Coding::Fast`] begins with: how the rest is made.
mod form {
    pub(super) const PLANES: u8 = 0;
    /// What records had before `SEGMENTS`: read, and no longer written.
    pub(super) const PAIRS: u8 = 1;
    pub(super) const SEGMENTS: u8 = 2;
}

/// The values of `latent` as `coding` keeps them.
pub(crate) fn compress(latent: &Latent, coding: Coding) -> Result<Vec<u8>> {
    let values = latent.as_slice();
    let mut out = Vec::new();
    match coding {
        Coding::Planes => planes::compress(values, &mut out)?,
        Coding::Dense => return dense::compress(latent.shape(), values),
        Coding::Quantised(tier) => return levels::compress(latent.shape(), values, tier),
        Coding::Fast => {
            out.push(form::SEGMENTS);
            let pairs = pairs::compress(values, &mut out)?;
            if pairs == pairs::Fit::Good {
                return Ok(out);
            }
            let mut planes = vec![form::PLANES];
            planes::compress(values, &mut planes)?;
            if pairs == pairs::Fit::Unfit || planes.len() < out.len() {
                return Ok(planes);
            }
        }
    }
    Ok(out)
}

/// The latent that [`compress`] was given.
pub(crate) fn decompress(shape: LatentShape, coding: Coding, payload: &[u8]) -> Result<Latent> {
    let values = shape.values()?;
    let (form, rest) = match coding {
        Coding::Planes => (form::PLANES, payload),
        Coding::Dense => return Latent::from_finite(shape, dense::decompress(shape, payload)?),
        Coding::Quantised(tier) => {
            return Latent::from_finite(shape, levels::decompress(shape, tier, payload)?);
        }
        Coding::Fast => payload
            .split_first()
            .map(|(form, rest)| (*form, rest))
            .ok_or_else(damaged)?,
    };
    match form {
        form::PLANES => Latent::new(shape, planes::decompress(values, rest)?),
        form::PAIRS => Latent::from_finite(shape, pairs::decompress(Layout::Whole, values, rest)?),
        form::SEGMENTS => {
            Latent::from_finite(shape, pairs::decompress(Layout::Segments, values, rest)?)
        }
        _ => Err(Error::corrupted(format!(
            "the compressed latent has the form {form}"
        ))),
    }
}

fn damaged() -> Error {
    Error::corrupted("the compressed latent contradicts its own lengths")
}

/// `length` as a payload has it.
pub(super) fn length(length: usize) -> Result<[u8; 4]> {
    let length = u32::try_from(length);
    let length = length.map_err(|_| Error::invalid("the latent is too large for one record"))?;
    Ok(length.to_le_bytes())
}

/// A zstd block gives at most 128 KiB and takes at least 4 bytes, so a frame that claims to hold
/// more than this for each of its bytes is refused before anything is allocated.
const MAX_EXPANSION: usize = 128 * 1024 / 4;

/// What zstd looks for.
#[derive(Debug, Clone, Copy)]
enum Effort {
    /// zstd's default level: beyond it the ratio on latents grows by 1 % at a tenth of the speed.
    Repetitions,
    /// A fast look for repetitions: long ones, and the short ones that it can't be kept from.
    FewRepetitions,
}

impl Effort {
    fn compressor(self) -> std::io::Result<Compressor<'static>> {
        match self {
            Effort::Repetitions => Compressor::new(3),
            Effort::FewRepetitions => {
                let mut compressor = Compressor::new(1)?;
                compressor.set_parameter(CParameter::MinMatch(7))?;
                compressor.set_parameter(CParameter::HashLog(6))?;
                Ok(compressor)
            }
        }
    }
}

thread_local! {
    // Making a context of zstd takes longer than decompressing a latent of 512x512 pixels does.
    // One for each effort, so that parameters are set once.
    static COMPRESSORS: RefCell<[Option<Compressor<'static>>; 2]> =
        const { RefCell::new([None, None]) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// `plane` as a zstd frame.
fn squeeze(plane: &[u8], effort: Effort) -> Result<Vec<u8>> {
    let frame = COMPRESSORS.with_borrow_mut(|compressors| {
        let compressor = &mut compressors[effort as usize];
        let compressor = match compressor {
            Some(compressor) => compressor,
            None => compressor.insert(effort.compressor()?),
        };
        compressor.compress(plane)
    });
    frame.map_err(|e: std::io::Error| {
        Error::new(ErrorKind::Io, "zstd can't compress the latent").with_source(e)
    })
}

/// The plane of `length` bytes in a zstd frame, in `plane`, whose content doesn't matter.
fn expand_into(plane: &mut Vec<u8>, frame: &[u8], length: usize) -> Result<()> {
    if length / MAX_EXPANSION > frame.len() {
        return Err(damaged());
    }
    plane.clear();
    plane.reserve(length);
    let written = DECOMPRESSOR
        .with_borrow_mut(|decompressor| {
            let decompressor = match decompressor {
                Some(decompressor) => decompressor,
                None => {
                    decompressor.insert(Decompressor::with_prepared_dictionary(&pairs::DICTIONARY)?)
                }
            };
            decompressor.decompress_to_buffer(frame, plane)
        })
        .map_err(|e| Error::corrupted("zstd can't decompress the latent").with_source(e))?;
    if written == length {
        Ok(())
    } else {
        Err(damaged())
    }
}

/// The plane of `length` bytes that lies in `bytes` as it is, or as a zstd frame.
fn expand(bytes: &[u8], is_frame: bool, length: usize) -> Result<Cow<'_, [u8]>> {
    if is_frame {
        let mut plane = Vec::new();
        expand_into(&mut plane, bytes, length)?;
        return Ok(plane.into());
    }
    if bytes.len() == length {
        Ok(bytes.into())
    } else {
        Err(damaged())
    }
}
