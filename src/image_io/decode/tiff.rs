//! TIFF, by `tiff`: the first page, whatever lies between its strips and samples is sorted out in `tiff_samples`.

use std::borrow::Cow;
use std::io::Cursor;

use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::{ColorType, TiffError};

use super::super::directory::{ASCII, Field, Tiff};
use super::super::metadata::orientation;
use super::super::raster::{Channels, Colors, Raster, Samples};
use super::super::refusal::Source;
use super::tiff_samples::{self as samples, Planes};
use crate::error::{Error, Result};

const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const COLOR_MAP: u16 = 320;
const EXTRA_SAMPLES: u16 = 338;
const ICC_PROFILE: u16 = 34675;

const GREY: u8 = 1;
const PALETTE: u8 = 3;
const JPEG: u64 = 7;

/// What an extra sample is (TIFF 6.0, section 18): alpha that colours are multiplied with, or straight alpha.
const ASSOCIATED: u64 = 1;
const UNASSOCIATED: u64 = 2;

/// What `tiff` lets one strip of JPEG take, whatever the page's size: 16384 x 16384 pixels of 3 bytes.
const JPEG_STRIP: u64 = 3 << 28;

pub(super) fn read(source: Source) -> Result<Raster> {
    let failed = |error| refused(source, error);
    let file = Tiff::new(source.bytes).ok_or_else(|| source.damaged())?;
    let fields: Vec<_> = file.first().collect();
    let field = |tag| fields.iter().find(|field| field.tag == tag);
    let said = |tag| field(tag).and_then(Field::number);
    // Of a text that is longer than its limit `tiff` writes a line to stderr.
    let longest = source
        .bytes
        .len()
        .min(Limits::default().decoding_buffer_size) as u64;
    if fields.iter().any(|f| f.kind == ASCII && f.count > longest) {
        return Err(source.damaged());
    }
    if said(COMPRESSION) == Some(JPEG) && source.limits.max_alloc_bytes < JPEG_STRIP {
        return Err(source.takes_too_much());
    }
    let has_palette = said(PHOTOMETRIC) == Some(PALETTE.into());
    let bytes = if has_palette {
        Cow::Owned(with_indexes_as_grey(source.bytes, &fields))
    } else {
        Cow::Borrowed(source.bytes)
    };

    let mut decoder = Decoder::new(Cursor::new(&bytes[..])).map_err(failed)?;
    let (width, height) = decoder.dimensions().map_err(failed)?;
    source.check_size(width, height, 1)?;
    let color = decoder.colortype().map_err(failed)?;
    let layout = decoder.image_buffer_layout().map_err(failed)?;
    let pixels = u64::from(width) * u64::from(height);
    let length = layout.complete_len as u64;
    source.check_size(width, height, length.div_ceil(pixels))?;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = layout.complete_len.max(source.bytes.len());
    limits.intermediate_buffer_size = source.max_alloc();
    limits.ifd_value_size = source.max_alloc();
    let mut decoder = decoder.with_limits(limits);
    let mut data = DecodingResult::U8(Vec::new());
    decoder.read_image_to_buffer(&mut data).map_err(failed)?;

    let unknown = || source.of_unknown_kind();
    let planes = Planes {
        width: width as usize,
        pixels: pixels as usize,
        count: layout.planes,
    };
    let extra = said(EXTRA_SAMPLES);
    let (mut samples, channels) = match color {
        ColorType::Gray(bits) if has_palette => {
            let map = field(COLOR_MAP).ok_or_else(|| source.damaged())?;
            let indexes = planes.unpacked(data, bits).ok_or_else(unknown)?;
            let colors = samples::colors_of(&indexes, bits, &map.numbers());
            (
                Samples::U8(colors.ok_or_else(|| source.damaged())?),
                Channels::Rgb,
            )
        }
        ColorType::Gray(bits @ (1 | 2 | 4)) => {
            let levels = planes.unpacked(data, bits).ok_or_else(unknown)?;
            (
                Samples::U8(samples::full_range(levels, bits)),
                Channels::Grey,
            )
        }
        // The colours of JPEG are only defined for its 8 bits.
        ColorType::YCbCr(8) if said(COMPRESSION) == Some(JPEG) => {
            let samples = planes.interleaved(data, 3, 3).ok_or_else(unknown)?;
            (
                samples::from_ycbcr(samples).ok_or_else(unknown)?,
                Channels::Rgb,
            )
        }
        color => {
            let (stored, channels) = layout_of(color, extra).ok_or_else(unknown)?;
            let samples = planes.interleaved(data, stored, channels.count());
            (samples.ok_or_else(unknown)?, channels)
        }
    };
    if channels.has_alpha() && extra == Some(ASSOCIATED) {
        samples::divide_by_alpha(&mut samples, channels);
    }
    let profile = field(ICC_PROFILE).and_then(Field::bytes);
    Ok(Raster {
        width,
        height,
        samples,
        channels,
        colors: profile.map_or(Colors::Srgb, |profile| Colors::Profile(profile.to_vec())),
        orientation: orientation(Some(source.bytes)),
        exif: None,
        more_frames: file.has_second(),
    })
}

/// Samples a pixel as `tiff` gives them, and the channels that the first of them are.
fn layout_of(color: ColorType, extra: Option<u64>) -> Option<(usize, Channels)> {
    let has_alpha = matches!(extra, Some(ASSOCIATED | UNASSOCIATED));
    Some(match color {
        ColorType::Gray(_) => (1, Channels::Grey),
        ColorType::GrayA(_) => (2, Channels::GreyAlpha),
        ColorType::RGB(_) => (3, Channels::Rgb),
        ColorType::RGBA(_) => (4, Channels::Rgba),
        ColorType::CMYK(_) => (4, Channels::Cmyk),
        ColorType::CMYKA(_) => (5, Channels::Cmyk),
        // What `tiff` calls so is grey with extra samples.
        ColorType::Multiband { num_samples, .. } if has_alpha => {
            (num_samples.into(), Channels::GreyAlpha)
        }
        ColorType::Multiband { num_samples, .. } => (num_samples.into(), Channels::Grey),
        _ => return None,
    })
}

/// The file with its palette's indexes declared as grey: `tiff` reads no palettes, and indexes are read alike.
fn with_indexes_as_grey(bytes: &[u8], fields: &[Field]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for field in fields.iter().filter(|field| field.tag == PHOTOMETRIC) {
        // The number's low byte is the first or the second of it, by byte order; the other one is zero.
        for byte in bytes.iter_mut().skip(field.slot).take(2) {
            *byte = if *byte == PALETTE { GREY } else { *byte };
        }
    }
    bytes
}

fn refused(source: Source, error: TiffError) -> Error {
    match error {
        TiffError::LimitsExceeded => source.takes_too_much(),
        TiffError::UnsupportedError(_) => source.of_unknown_kind(),
        _ => source.damaged(),
    }
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::super::super::{ImageFormat, WriteOptions, read_image, write_image};
    use crate::error::ErrorKind;
    use crate::image_io::Limits;
    use crate::pixels::Pixels;

    /// `tiff` would answer with an exceeded limit, and print that.
    #[test]
    fn a_text_longer_than_the_file_is_damage() {
        let pixels = Pixels::from_rgb(1, 1, vec![1, 2, 3]).unwrap();
        let mut tiff = write_image(&pixels, ImageFormat::Tiff, &WriteOptions::default()).unwrap();
        let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
        let photometric = super::PHOTOMETRIC.to_le_bytes();
        let field = (directory + 2..tiff.len())
            .step_by(12)
            .find(|&at| tiff[at..at + 2] == photometric)
            .unwrap();
        tiff[field + 2..field + 8].copy_from_slice(b"\x02\0\xff\xff\xff\x7f");
        let error = read_image(&tiff, "a.tif", &Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedImage, "{error}");
    }

    #[test]
    fn strips_of_jpeg_are_read_only_where_they_may_take_what_they_may_need() {
        let jpeg = include_bytes!("../../../tests/corpus/jpeg.tif");
        let limits = |max_alloc_bytes| Limits {
            max_alloc_bytes,
            ..Limits::default()
        };
        assert!(read_image(jpeg, "a", &limits(super::JPEG_STRIP)).is_ok());
        let error = read_image(jpeg, "a", &limits(super::JPEG_STRIP - 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    }
}
