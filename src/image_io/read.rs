//! Reading: whole images only, upright, over white, within limits.

use std::fmt;
use std::io::Cursor;

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{
    AnimationDecoder, DynamicImage, ImageDecoder, ImageError, ImageReader, ImageResult, RgbImage,
    RgbaImage,
};

use super::ImageFormat;
use super::format::known_names;
use crate::error::{Error, ErrorKind, Result};
use crate::pixels::Pixels;

/// How much a file may ask for. Its header is checked against both numbers before its pixels are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width times height, in pixels. 2^28 (16384 x 16384) unless told.
    pub max_pixels: u64,
    /// Bytes of the image as its file holds it (up to 16 a pixel), and once more for the decoder's own
    /// buffers. 4 GiB unless told.
    pub max_alloc_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 1 << 28,
            max_alloc_bytes: 4 << 30,
        }
    }
}

/// What reading a file gave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadImage {
    /// The image, upright.
    pub pixels: Pixels,
    /// The format that the content has, whatever the file is called.
    pub format: ImageFormat,
    /// What the file holds and the pixels don't.
    pub notes: Vec<ImageNote>,
}

/// Something in an image file that its [`Pixels`] don't keep. Displays as a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageNote {
    /// Some pixels are not fully opaque; they were laid over white.
    Composited,
    /// The file holds an animation or several pages; the first was read.
    FirstFrameOnly,
    /// The file embeds a colour profile that doesn't say it is sRGB; the values were taken as sRGB.
    ProfileIgnored,
}

impl fmt::Display for ImageNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Composited => "transparency is not kept: the image was laid over white",
            Self::FirstFrameOnly => "only the first of several frames was read",
            Self::ProfileIgnored => {
                "the embedded colour profile was ignored: values were taken as sRGB"
            }
        })
    }
}

/// Reads an image file of any [`ImageFormat`]. The format is found in the content; `name` is for messages, and
/// for TGA, which can only be told by its ending.
///
/// The EXIF orientation is applied. Of an animation the first frame is read. Grey becomes RGB; 16 bits and
/// floats become 8 bits, rounded to the nearest. What is lost is said in [`ReadImage::notes`].
///
/// # Errors
/// `UnsupportedImage` if the content is of no known format or kind, or damaged or cut short where pixels would
/// be missing; `LimitExceeded` if it is larger than `limits` allow.
pub fn read_image(bytes: &[u8], name: &str, limits: &Limits) -> Result<ReadImage> {
    let format = ImageFormat::sniff(bytes, name).ok_or_else(|| {
        let known = known_names();
        unsupported(format!(
            "{name} is no image in a known format: known are {known}"
        ))
    })?;
    let failed = |error| decoding_failed(name, format, limits, error);
    if format == ImageFormat::Jpeg && !jpeg_reaches_its_end(bytes) {
        return Err(damaged(name, format));
    }

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format.codec());
    reader.limits(decoder_limits(limits));
    let mut decoder = reader.into_decoder().map_err(failed)?;
    check_size(name, decoder.dimensions(), decoder.total_bytes(), limits)?;

    let mut notes = Vec::new();
    let profile = decoder.icc_profile().map_err(failed)?;
    if profile.is_some_and(|profile| !says_srgb(&profile)) {
        notes.push(ImageNote::ProfileIgnored);
    }
    let orientation = decoder.orientation().map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);

    let rgb = match image {
        DynamicImage::ImageRgb8(rgb) => rgb,
        image if image.color().has_alpha() => {
            let (rgb, composited) = over_white(&image.into_rgba8());
            notes.extend(composited.then_some(ImageNote::Composited));
            rgb
        }
        image => image.into_rgb8(),
    };
    if has_more_frames(bytes, format, limits).map_err(failed)? {
        notes.push(ImageNote::FirstFrameOnly);
    }
    Ok(ReadImage {
        pixels: Pixels::from_rgb(rgb.width(), rgb.height(), rgb.into_raw())?,
        format,
        notes,
    })
}

fn decoder_limits(limits: &Limits) -> image::Limits {
    let mut decoder_limits = image::Limits::no_limits();
    decoder_limits.max_alloc = Some(limits.max_alloc_bytes);
    decoder_limits
}

fn check_size(name: &str, size: (u32, u32), bytes: u64, limits: &Limits) -> Result<()> {
    let (width, height) = size;
    let pixels = u64::from(width) * u64::from(height);
    let too_large = |message| Err(Error::new(ErrorKind::LimitExceeded, message));
    if pixels == 0 {
        return Err(unsupported(format!(
            "{name} is an image of {width}x{height} pixels"
        )));
    }
    if pixels > limits.max_pixels {
        return too_large(format!(
            "{name} is {width}x{height} = {pixels} pixels, more than the limit of {}",
            limits.max_pixels
        ));
    }
    if bytes > limits.max_alloc_bytes {
        return too_large(format!(
            "{name} is {width}x{height} pixels = {bytes} bytes, more than the limit of {}",
            limits.max_alloc_bytes
        ));
    }
    Ok(())
}

fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::UnsupportedImage, message)
}

fn damaged(name: &str, format: ImageFormat) -> Error {
    let format = format.to_string().to_uppercase();
    unsupported(format!(
        "{name}: the {format} data ends early or is damaged"
    ))
}

fn decoding_failed(name: &str, format: ImageFormat, limits: &Limits, error: ImageError) -> Error {
    match error {
        ImageError::Limits(_) => Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "{name}: decoding takes more than the limit of {} bytes",
                limits.max_alloc_bytes
            ),
        ),
        ImageError::Unsupported(_) => {
            let format = format.to_string().to_uppercase();
            unsupported(format!("{name}: {format} of this kind can't be read"))
        }
        _ => damaged(name, format),
    }
    .with_source(error)
}

/// Whether the markers of a JPEG lead to its end-of-image marker (ITU-T T.81, section B.1).
///
/// `image` lets its JPEG decoder fill what is missing with grey; the other decoders refuse.
fn jpeg_reaches_its_end(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
        rest = &rest[at + 1..];
        match *rest {
            [0xd9, ..] => return true,
            // A stuffed zero, a restart or TEM marker, or padding before a marker: none has a length.
            [0x00 | 0x01 | 0xd0..=0xd7 | 0xff, ..] => {}
            [_, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                rest = rest.get(1 + length..).unwrap_or_default();
            }
            _ => return false,
        }
    }
    false
}

/// The image without alpha, and whether that changed a pixel.
fn over_white(image: &RgbaImage) -> (RgbImage, bool) {
    let mut composited = false;
    let mut rgb = RgbImage::new(image.width(), image.height());
    for (to, from) in rgb.pixels_mut().zip(image.pixels()) {
        let [r, g, b, alpha] = from.0;
        composited |= alpha < 255;
        let blend = |value: u8| {
            let alpha = u16::from(alpha);
            ((u16::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        to.0 = [r, g, b].map(blend);
    }
    (rgb, composited)
}

/// Whether an ICC profile calls itself sRGB: in ASCII (version 2) or UTF-16 (version 4).
fn says_srgb(profile: &[u8]) -> bool {
    profile.windows(4).any(|text| text == b"sRGB")
        || profile.windows(8).any(|text| text == b"\0s\0R\0G\0B")
}

fn has_more_frames(bytes: &[u8], format: ImageFormat, limits: &Limits) -> ImageResult<bool> {
    match format {
        ImageFormat::Png => PngDecoder::with_limits(Cursor::new(bytes), decoder_limits(limits))?.is_apng(),
        ImageFormat::WebP => Ok(WebPDecoder::new(Cursor::new(bytes))?.has_animation()),
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(Cursor::new(bytes))?;
            decoder.set_limits(decoder_limits(limits))?;
            Ok(matches!(decoder.into_frames().nth(1), Some(Ok(_))))
        }
        ImageFormat::Tiff => Ok(tiff_has_more_pages(bytes).unwrap_or(false)),
        _ => Ok(false),
    }
}

/// Whether the first directory of a TIFF links to another (TIFF 6.0, section 2).
fn tiff_has_more_pages(bytes: &[u8]) -> Option<bool> {
    let little = bytes.starts_with(b"II");
    let number = |at: usize, length: usize| {
        let digits = bytes.get(at..at.checked_add(length)?)?.iter();
        let push = |number, &byte| number << 8 | usize::from(byte);
        Some(if little {
            digits.rev().fold(0, push)
        } else {
            digits.fold(0, push)
        })
    };
    let directory = number(4, 4)?;
    let entries = number(directory, 2)?;
    Some(number(directory + 2 + 12 * entries, 4)? != 0)
}
