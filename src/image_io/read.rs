//! Reading: whole images only, upright, in sRGB, within limits.

use std::fmt;

use super::decode::decode;
use super::format::known_names;
use super::metadata::read_exif;
use super::refusal::{Limits, Source, unsupported};
use super::to_pixels::to_pixels;
use super::{ImageFormat, foreign};
use crate::error::Result;
use crate::exif::Exif;
use crate::pixels::Pixels;

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
    /// The file holds an animation or several pages; the first was read.
    FirstFrameOnly,
    /// The file says of its colours what can't be used, as a damaged profile; the values were taken as sRGB.
    ProfileIgnored,
}

impl fmt::Display for ImageNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstFrameOnly => "only the first of several frames was read",
            Self::ProfileIgnored => "the colour profile can't be used: values were taken as sRGB",
        })
    }
}

/// Reads an image file of any [`ImageFormat`]. The format is found in the content; `name` is for messages, and
/// for TGA, which can only be told by its ending.
///
/// - **Size and orientation.** Whatever the file says in EXIF or TIFF's own tag is applied.
/// - **Colours** become sRGB: by an embedded ICC profile (RGB, grey or CMYK, curves or tables), by PNG's cICP, gAMA
///   and cHRM where nothing of a higher rank is there, or by the format (Radiance HDR holds light). Conversion is
///   relative colorimetric without compensation of the black point, at 16 bits; what sRGB can't show is clipped.
///   A profile that is sRGB within a level leaves every byte as it is. CMYK without a profile is multiplied out.
/// - **Depth.** 1 to 16 bits become 8, rounded to the nearest; floats count from 0 to 1.
/// - **Alpha** is kept, straight, in [`Pixels::alpha`]; nothing is laid over anything.
/// - Of an animation or several pages the first is read.
///
/// What is lost is said in [`ReadImage::notes`].
///
/// # Errors
/// `UnsupportedImage` if the content is of no known format or kind, or damaged or cut short where pixels would
/// be missing; `LimitExceeded` if it is larger than `limits` allow. Damaged metadata is no error.
pub fn read_image(bytes: &[u8], name: &str, limits: &Limits) -> Result<ReadImage> {
    // A camera's raw file may pass for a TIFF.
    if !ImageFormat::is_avif(bytes)
        && let Some(error) = foreign::refusal(bytes, name)
    {
        return Err(error);
    }
    let format = ImageFormat::sniff(bytes, name).ok_or_else(|| {
        let known = known_names();
        unsupported(format!(
            "{name} is no image in a known format: known are {known}"
        ))
    })?;
    let raster = decode(Source {
        bytes,
        name,
        format,
        limits,
    })?;
    // A TIFF is built like EXIF, and says the same in its own directories.
    let exif = match format {
        ImageFormat::Tiff => read_exif(bytes),
        _ => raster.exif.as_deref().map(read_exif).unwrap_or_default(),
    };
    let more_frames = raster.more_frames;
    let (pixels, understood) = to_pixels(raster)?;
    let mut notes = Vec::new();
    notes.extend((!understood).then_some(ImageNote::ProfileIgnored));
    notes.extend(more_frames.then_some(ImageNote::FirstFrameOnly));
    Ok(ReadImage {
        pixels,
        format,
        exif,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{WriteOptions, write_image};
    use super::*;
    use crate::error::ErrorKind;
    use image::codecs::gif::GifEncoder;
    use image::codecs::png::PngEncoder;
    use image::{ExtendedColorType, Frame, ImageEncoder, Rgba, RgbaImage};
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
        let jpeg = write_image(&noise(8, 8), ImageFormat::Jpeg, &WriteOptions::default()).unwrap();
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
            let whole = write_image(
                &noise(19, 13),
                name.parse().unwrap(),
                &WriteOptions::default(),
            )
            .unwrap();
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
        let mut png =
            write_image(&noise(40, 40), ImageFormat::Png, &WriteOptions::default()).unwrap();
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
        let bmp = write_image(&noise(16, 16), ImageFormat::Bmp, &WriteOptions::default()).unwrap();
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
        let jpeg = write_image(
            &stored.unwrap(),
            ImageFormat::Jpeg,
            &WriteOptions::default(),
        )
        .unwrap();
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
    fn alpha_is_kept_unless_all_is_opaque() {
        for (samples, color, rgb, alpha) in [
            (
                &[1, 2, 3, 255][..],
                ExtendedColorType::Rgba8,
                [1, 2, 3],
                None,
            ),
            (&[1, 2, 3, 0], ExtendedColorType::Rgba8, [1, 2, 3], Some(0)),
            (&[10, 254], ExtendedColorType::La8, [10; 3], Some(254)),
            (&[10, 255], ExtendedColorType::La8, [10; 3], None),
        ] {
            let read = read(&png(samples, color, b""), "a").unwrap();
            assert_eq!(read.pixels.as_rgb(), rgb);
            assert_eq!(
                read.pixels.alpha(),
                alpha.as_ref().map(std::slice::from_ref)
            );
            assert_eq!(read.notes, []);
        }
    }

    #[test]
    fn a_jpeg_that_lost_its_last_byte_is_an_error() {
        let jpeg =
            write_image(&noise(40, 40), ImageFormat::Jpeg, &WriteOptions::default()).unwrap();
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
    fn a_damaged_profile_is_told_and_values_are_taken_as_srgb() {
        let file = png(&[1, 2, 3], ExtendedColorType::Rgb8, b"Display P3");
        let read = read(&file, "a").unwrap();
        assert_eq!(read.notes, [ImageNote::ProfileIgnored]);
        assert_eq!(read.pixels.as_rgb(), [1, 2, 3]);
    }
}
