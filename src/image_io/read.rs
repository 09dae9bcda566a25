//! Reading: whole images only, upright, over white, within limits.

use std::fmt;
use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, RgbImage, RgbaImage};

use super::ImageFormat;
use super::format::known_names;
use super::inspect::{has_more_frames, jpeg_reaches_its_end, says_srgb};
use crate::error::{Error, ErrorKind, Result};
use crate::exif::Exif;
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
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ReadImage {
    /// The image, upright.
    pub pixels: Pixels,
    /// The format that the content has, whatever the file is called.
    pub format: ImageFormat,
    /// What the camera wrote into it.
    pub exif: Exif,
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
    if has_more_frames(bytes, format, decoder_limits(limits)).map_err(failed)? {
        notes.push(ImageNote::FirstFrameOnly);
    }
    Ok(ReadImage {
        pixels: Pixels::from_rgb(rgb.width(), rgb.height(), rgb.into_raw())?,
        format,
        exif: Exif::default(),
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

#[cfg(test)]
mod tests {
    use super::super::write_image;
    use super::*;
    use image::codecs::gif::GifEncoder;
    use image::codecs::png::PngEncoder;
    use image::{ExtendedColorType, Frame, ImageEncoder, Rgba};
    use std::error::Error as _;

    fn read(bytes: &[u8], name: &str) -> Result<ReadImage> {
        read_image(bytes, name, &Limits::default())
    }

    fn noise(width: u32, height: u32) -> Pixels {
        let bytes = (0..width * height * 3).map(|i| (i * i % 251) as u8);
        Pixels::from_rgb(width, height, bytes.collect()).unwrap()
    }

    /// A PNG of one pixel.
    fn png(samples: &[u8], color: ExtendedColorType, profile: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = PngEncoder::new(&mut file);
        if !profile.is_empty() {
            encoder.set_icc_profile(profile.to_vec()).unwrap();
        }
        encoder.write_image(samples, 1, 1, color).unwrap();
        file
    }

    #[test]
    fn the_content_tells_the_format_and_the_name_does_not() {
        let jpeg = write_image(&noise(8, 8), ImageFormat::Jpeg).unwrap();
        assert_eq!(read(&jpeg, "photo.png").unwrap().format, ImageFormat::Jpeg);
    }

    #[test]
    fn what_is_no_image_is_refused_by_name() {
        for bytes in [&b"hello, this is text"[..], b"", b"\0\0\x01\0\x01\0icon"] {
            let error = read(bytes, "photo.png").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
            let expected = "photo.png is no image in a known format: known are png";
            assert!(error.to_string().starts_with(expected), "{error}");
        }
        let error = read(b"hello, this is text", "text.tga").unwrap_err();
        assert!(error.to_string().starts_with("text.tga: "), "{error}");
    }

    #[test]
    fn every_format_that_lost_a_quarter_or_more_is_an_error() {
        for name in [
            "png", "jpeg", "webp", "gif", "bmp", "tiff", "qoi", "pnm", "tga",
        ] {
            let whole = write_image(&noise(19, 13), name.parse().unwrap()).unwrap();
            let file = format!("cut.{name}");
            assert_eq!(read(&whole, &file).unwrap().format.to_string(), name);
            for length in 0..=whole.len() * 3 / 4 {
                let error = read(&whole[..length], &file).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnsupportedImage, "{name} {length}");
            }
        }
    }

    #[test]
    fn damage_is_told_with_its_cause() {
        let mut png = write_image(&noise(40, 40), ImageFormat::Png).unwrap();
        let middle = png.len() / 2;
        png[middle] ^= 1;
        let error = read(&png, "a.png").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.png: the PNG data ends early or is damaged"
        );
        assert!(error.source().is_some());
    }

    #[test]
    fn a_huge_header_is_refused_before_anything_is_allocated() {
        let side = 60_000u32.to_be_bytes();
        let sides = [side, side].concat();
        let png = [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
            &sides[..],
            b"\x08\x02\0\0\0\x0f\xb0\xe2\x15\x7f\xff\xff\xffIDAT",
        ];
        let ppm = b"P6 60000 60000 255\n\0".to_vec();
        for file in [png.concat(), ppm] {
            let error = read(&file, "huge").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded);
            assert_eq!(
                error.to_string(),
                "huge is 60000x60000 = 3600000000 pixels, more than the limit of 268435456"
            );
        }
    }

    #[test]
    fn too_many_bytes_for_few_pixels_are_refused_too() {
        let limits = Limits {
            max_alloc_bytes: 767,
            ..Limits::default()
        };
        let bmp = write_image(&noise(16, 16), ImageFormat::Bmp).unwrap();
        let error = read_image(&bmp, "a", &limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        let expected = "a is 16x16 pixels = 768 bytes, more than the limit of 767";
        assert_eq!(error.to_string(), expected);
    }

    /// The corners of the stored image, in reading order, are 0, 1, 2, 3; EXIF 2.3 (tag 0x0112) says where each
    /// belongs.
    #[test]
    fn all_eight_exif_orientations_are_turned_upright() {
        let (width, height) = (32, 16);
        let level = |x: u32, y: u32| (x / 16 + y / 8 * 2) as u8 * 70 + 20;
        let row = |y| (0..width).flat_map(move |x| [level(x, y); 3]);
        let stored = Pixels::from_rgb(width, height, (0..height).flat_map(row).collect());
        let jpeg = write_image(&stored.unwrap(), ImageFormat::Jpeg).unwrap();
        for (orientation, corners) in [
            (1, [0, 1, 2, 3]),
            (2, [1, 0, 3, 2]),
            (3, [3, 2, 1, 0]),
            (4, [2, 3, 0, 1]),
            (5, [0, 2, 1, 3]),
            (6, [2, 0, 3, 1]),
            (7, [3, 1, 2, 0]),
            (8, [1, 3, 0, 2]),
        ] {
            let exif = [
                b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0",
                &[orientation, 0, 0, 0][..],
                &[0; 4],
            ];
            let tagged = [&jpeg[..2], &exif.concat(), &jpeg[2..]].concat();
            let upright = read(&tagged, "a.jpg").unwrap().pixels;
            let (wide, high) = (upright.width(), upright.height());
            let turned = orientation > 4;
            assert_eq!((wide, high), if turned { (16, 32) } else { (32, 16) });
            let found = [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(x, y)| {
                let pixel = upright.crop(x * wide / 4, y * high / 4, 1, 1).unwrap();
                (pixel.as_rgb()[0] - 10) / 70
            });
            assert_eq!(found, corners, "orientation {orientation}");
        }
    }

    #[test]
    fn grey_and_16_bits_become_8_bit_rgb() {
        let pixel = |samples: &[u16], color| {
            let bytes: Vec<_> = samples.iter().flat_map(|v| v.to_ne_bytes()).collect();
            let read = read(&png(&bytes, color, b""), "a").unwrap();
            assert_eq!(read.notes, []);
            read.pixels.into_rgb()
        };
        assert_eq!(
            pixel(&[65535, 257, 385], ExtendedColorType::Rgb16),
            [255, 1, 1]
        );
        assert_eq!(pixel(&[386], ExtendedColorType::L16), [2; 3]);
        let grey = png(&[9], ExtendedColorType::L8, b"");
        assert_eq!(read(&grey, "a").unwrap().pixels.as_rgb(), [9; 3]);
    }

    #[test]
    fn opaque_alpha_is_dropped_and_other_alpha_is_laid_over_white_and_told() {
        for (samples, color, expected, composited) in [
            (
                &[1, 2, 3, 255][..],
                ExtendedColorType::Rgba8,
                [1, 2, 3],
                false,
            ),
            (&[1, 2, 3, 0], ExtendedColorType::Rgba8, [255; 3], true),
            (
                &[0, 100, 255, 51],
                ExtendedColorType::Rgba8,
                [204, 224, 255],
                true,
            ),
            (&[10, 254], ExtendedColorType::La8, [11; 3], true),
            (&[10, 255], ExtendedColorType::La8, [10; 3], false),
        ] {
            let read = read(&png(samples, color, b""), "a").unwrap();
            assert_eq!(read.pixels.as_rgb(), expected);
            assert_eq!(read.notes == [ImageNote::Composited], composited);
        }
    }

    #[test]
    fn a_jpeg_that_lost_its_last_byte_is_an_error() {
        let jpeg = write_image(&noise(40, 40), ImageFormat::Jpeg).unwrap();
        let error = read(&jpeg[..jpeg.len() - 1], "photo.jpg").unwrap_err();
        let expected = "photo.jpg: the JPEG data ends early or is damaged";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn the_first_frame_of_several_is_read_and_told() {
        let frame = |value| Frame::new(RgbaImage::from_pixel(2, 2, Rgba([value; 4])));
        let (mut gif, frames) = (Vec::new(), [frame(255), frame(0)]);
        GifEncoder::new(&mut gif).encode_frames(frames).unwrap();
        let animated = read(&gif, "a.gif").unwrap();
        assert_eq!(animated.pixels.as_rgb(), [255; 12]);
        assert_eq!(animated.notes, [ImageNote::FirstFrameOnly]);
    }

    #[test]
    fn a_profile_that_is_not_srgb_is_told() {
        for (profile, notes) in [
            (&b"sRGB IEC61966-2.1"[..], &[][..]),
            (b"Display P3", &[ImageNote::ProfileIgnored]),
        ] {
            let file = png(&[1, 2, 3], ExtendedColorType::Rgb8, profile);
            assert_eq!(read(&file, "a").unwrap().notes, notes);
        }
    }
}
