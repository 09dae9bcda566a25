//! npz: a zip of npy files, with the names that kohya's sd-scripts give what they keep of an image.
//!
//! Invariant: what a zip's member unpacks to is bounded before it is unpacked, and only members that are wanted are.
//!
//! The names and what stands under them are those of `save_latents_to_disk` in sd-scripts' `library/strategy_base.py`.
//! Trainers of FLUX and SD3 look for `latents_{h}x{w}`, so that a file may hold several latents of one image; those of
//! SD and SDXL for `latents`.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::npy::{self, Array};
use super::{Factors, FactorsOf, LatentFile, LatentFormat};
use crate::error::{Error, Result};
use crate::latent::LatentShape;
use crate::spaces;

/// What the first member of a zip begins with.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";

/// The most bytes that a member unpacks to: 64 million f32 values.
const MAX_MEMBER: u64 = 256 << 20;

const LATENTS: &str = "latents";
const ORIGINAL_SIZE: &str = "original_size";
const CROP: &str = "crop_ltrb";
const ALPHA: &str = "alpha_mask";
const FLIPPED: &str = "latents_flipped";

/// Whose trainers look for keys without the latent's size.
const PLAIN: [&str; 2] = ["sd-v1", "sdxl"];

/// Whose trainer keeps latents as its autoencoder gives them, which scales them itself
/// (`AutoEncoder.encode` in sd-scripts' `library/flux_models.py`).
const SCALED: &str = "flux1";

/// The factors by which values of this latent space are scaled in npz files.
pub(super) fn scaling(latent_space: &str) -> Option<Factors> {
    let space = spaces::known(latent_space).filter(|space| space.name == SCALED);
    space.map(|space| space.factors)
}

pub(super) fn write(file: &LatentFile) -> Result<Vec<u8>> {
    let LatentShape {
        channels,
        height,
        width,
    } = file.latent.shape();
    let space = file.latent_space.as_deref().unwrap_or_default();
    let (scaling, shift) = scaling(space).unwrap_or((1.0, 0.0));
    let values = file.latent.as_slice().iter();
    let values = values.map(|value| ((value.to_f64() - shift) * scaling) as f32);
    let mut members = vec![(
        LATENTS,
        npy::array(
            "<f4",
            &format!("({channels}, {height}, {width})"),
            values.flat_map(f32::to_le_bytes),
        ),
    )];
    if let Some((width, height)) = file.size {
        let integers = |numbers: &[u32]| {
            let shape = format!("({},)", numbers.len());
            let bytes = numbers.iter().flat_map(|n| i64::from(*n).to_le_bytes());
            npy::array("<i8", &shape, bytes)
        };
        members.push((ORIGINAL_SIZE, integers(&[width, height])));
        // The image begins at the left and the top; what is beyond its right and bottom filled the last cells.
        members.push((CROP, integers(&[0, 0, width, height])));
        if let Some(alpha) = &file.alpha {
            let values = alpha.iter().map(|byte| f32::from(*byte) / 255.0);
            let shape = format!("({height}, {width})");
            let values = values.flat_map(f32::to_le_bytes);
            members.push((ALPHA, npy::array("<f4", &shape, values)));
        }
    }

    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let plain = if PLAIN.contains(&space) {
        Some(String::new())
    } else {
        None
    };
    for suffix in plain.into_iter().chain([format!("_{height}x{width}")]) {
        for (key, bytes) in &members {
            // The time stays 1980-01-01, where zip's begins: the same latent gives the same bytes.
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .large_file(bytes.len() >= u32::MAX as usize);
            zip.start_file(format!("{key}{suffix}.npy"), options)
                .map_err(cant_write)?;
            zip.write_all(bytes).map_err(cant_write)?;
        }
    }
    Ok(zip.finish().map_err(cant_write)?.into_inner())
}

fn cant_write(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid("the latent can't be written as npz").with_source(error)
}

/// The largest latent, and notes on what else was there.
pub(super) fn read(bytes: &[u8], factors: &FactorsOf<'_>) -> Result<(LatentFile, Vec<String>)> {
    let zip = ZipArchive::new(Cursor::new(bytes));
    let mut members = Members(zip.map_err(|e| damaged("is no zip that can be read", e))?);
    let mut notes = Vec::new();
    let suffix = members.largest(&mut notes)?;

    let latents = members.needed(&format!("{LATENTS}{suffix}"))?;
    let latent = Array::new(&latents)?.latent(factors(LatentFormat::Npz, None)?)?;
    if members.has(&format!("{FLIPPED}{suffix}")) {
        notes.push("latents of the mirrored image are left out".into());
    }
    let original = members.numbers(&format!("{ORIGINAL_SIZE}{suffix}"))?;
    let crop = members.numbers(&format!("{CROP}{suffix}"))?;
    let alpha = members.alpha(&format!("{ALPHA}{suffix}"))?;
    let original = match original.as_deref() {
        Some(&[width, height]) => Some(pixels(width, height)?),
        _ => None,
    };
    let whole = original.filter(|(width, height)| {
        let crop = crop.unwrap_or_default();
        crop.into_iter()
            .map(whole)
            .eq([0, 0, *width, *height].map(Some))
    });
    // An image that was resized or cut is as large as its alpha, which is that of what came of it.
    let size = whole.or_else(|| alpha.as_ref().map(|alpha| alpha.size));
    if let (Some((width, height)), Some(Alpha { size: (w, h), .. })) = (size, &alpha)
        && (width, height) != (*w, *h)
    {
        return Err(Error::invalid(format!(
            "`{ALPHA}{suffix}` is of {w}x{h} pixels, and the image of {width}x{height}"
        )));
    }
    let file = LatentFile {
        latent,
        latent_space: None,
        encoder: None,
        size,
        alpha: alpha.map(|alpha| alpha.bytes),
    };
    Ok((file, notes))
}

/// The alpha of an image of `size`, a byte a pixel.
struct Alpha {
    size: (u32, u32),
    bytes: Vec<u8>,
}

fn pixels(width: f64, height: f64) -> Result<(u32, u32)> {
    let sides = whole(width).zip(whole(height));
    sides.filter(|(w, h)| *w > 0 && *h > 0).ok_or_else(|| {
        Error::invalid(format!(
            "`{ORIGINAL_SIZE}` is {width}x{height}, which is no number of pixels"
        ))
    })
}

/// The whole number that `number` is.
fn whole(number: f64) -> Option<u32> {
    let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    is_whole.then_some(number as u32)
}

fn damaged(how: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::invalid(format!("the npz {how}")).with_source(error)
}

/// The npy files in the zip, by their names without ending.
struct Members<'a>(ZipArchive<Cursor<&'a [u8]>>);

impl Members<'_> {
    fn has(&self, key: &str) -> bool {
        self.0.index_for_name(&format!("{key}.npy")).is_some()
    }

    /// What follows `latents` in the name of the largest latent: empty, or `_{h}x{w}`.
    fn largest(&self, notes: &mut Vec<String>) -> Result<String> {
        let mut sized = Vec::new();
        for index in 0..self.0.len() {
            // A name that is no text is none of ours.
            let Some(Ok(name)) = self.0.name_for_index(index) else {
                continue;
            };
            let suffix = (name.strip_prefix(LATENTS)).and_then(|rest| rest.strip_suffix(".npy"));
            let Some(suffix) = suffix else { continue };
            if let Some(cells) = cells(suffix) {
                sized.push((cells, suffix.to_owned()));
            }
        }
        sized.sort_unstable();
        let Some((_, largest)) = sized.pop() else {
            if self.has(LATENTS) {
                return Ok(String::new());
            }
            return Err(Error::invalid(format!(
                "the npz holds neither `{LATENTS}` nor `{LATENTS}_{{h}}x{{w}}`"
            )));
        };
        if !sized.is_empty() {
            notes.push(format!(
                "of {} latents of different sizes the largest is kept",
                sized.len() + 1
            ));
        }
        Ok(largest)
    }

    fn needed(&mut self, key: &str) -> Result<Vec<u8>> {
        let bytes = self.bytes(key)?;
        bytes.ok_or_else(|| Error::invalid(format!("the npz holds no `{key}`")))
    }

    /// The bytes of a member; `None` if there is none.
    fn bytes(&mut self, key: &str) -> Result<Option<Vec<u8>>> {
        let Some(index) = self.0.index_for_name(&format!("{key}.npy")) else {
            return Ok(None);
        };
        let cant_read = |error| damaged(&format!("has a `{key}` that can't be read"), error);
        let member = self.0.by_index(index);
        let member = member.map_err(|e| cant_read(std::io::Error::other(e)))?;
        if member.size() > MAX_MEMBER {
            return Err(Error::invalid(format!(
                "the npz says that `{key}` has {} bytes, more than the {MAX_MEMBER} allowed",
                member.size()
            )));
        }
        // Memory is taken as bytes come, whatever is said of them.
        let (size, mut bytes) = (member.size(), Vec::new());
        let read = member.take(size + 1).read_to_end(&mut bytes);
        read.map_err(cant_read)?;
        if bytes.len() as u64 != size {
            return Err(Error::invalid(format!(
                "the npz says that `{key}` has {size} bytes, and there are others"
            )));
        }
        Ok(Some(bytes))
    }

    /// The values of an array of one dimension.
    fn numbers(&mut self, key: &str) -> Result<Option<Vec<f64>>> {
        let Some(bytes) = self.bytes(key)? else {
            return Ok(None);
        };
        let array = Array::new(&bytes)?;
        let (four, eight) = (
            array.data.as_chunks::<4>().0.iter(),
            array.data.as_chunks::<8>().0.iter(),
        );
        let numbers: Vec<f64> = match array.dtype {
            "<i4" => four.map(|b| f64::from(i32::from_le_bytes(*b))).collect(),
            "<i8" => eight.map(|b| i64::from_le_bytes(*b) as f64).collect(),
            "<f4" => four.map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
            "<f8" => eight.map(|b| f64::from_le_bytes(*b)).collect(),
            other => {
                return Err(Error::invalid(format!(
                    "`{key}` is of type {other}: known are <i4, <i8, <f4 and <f8"
                )));
            }
        };
        if array.shape != [numbers.len()] {
            return Err(Error::invalid(format!(
                "`{key}` has the shape {:?} and {} values",
                array.shape,
                numbers.len()
            )));
        }
        Ok(Some(numbers))
    }

    fn alpha(&mut self, key: &str) -> Result<Option<Alpha>> {
        let Some(bytes) = self.bytes(key)? else {
            return Ok(None);
        };
        let array = Array::new(&bytes)?;
        let (values, rest) = array.data.as_chunks::<4>();
        let size = match array.shape[..] {
            [height, width]
                if array.dtype == "<f4"
                    && rest.is_empty()
                    && height.checked_mul(width) == Some(values.len()) =>
            {
                u32::try_from(width).ok().zip(u32::try_from(height).ok())
            }
            _ => None,
        };
        let size = size.filter(|_| !values.is_empty()).ok_or_else(|| {
            Error::invalid(format!(
                "`{key}` is {} of the shape {:?}, and not <f4 of the height and width of the image",
                array.dtype, array.shape
            ))
        })?;
        let byte = |(at, value): (usize, &[u8; 4])| {
            let value = f32::from_le_bytes(*value);
            if (0.0..=1.0).contains(&value) {
                return Ok((value * 255.0).round() as u8);
            }
            Err(Error::invalid(format!(
                "value {at} of `{key}` is {value}: alpha is 0 to 1"
            )))
        };
        let bytes = values.iter().enumerate().map(byte).collect::<Result<_>>()?;
        Ok(Some(Alpha { size, bytes }))
    }
}

/// How many cells a latent has whose key ends in `_{h}x{w}`.
fn cells(suffix: &str) -> Option<u64> {
    let (height, width) = suffix.strip_prefix('_')?.split_once('x')?;
    let (height, width): (u32, u32) = (height.parse().ok()?, width.parse().ok()?);
    Some(u64::from(height) * u64::from(width))
}

#[cfg(test)]
mod tests;
