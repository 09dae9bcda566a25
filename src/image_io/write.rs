//! Writing: one encoder setting per format.
//!
//! Invariant: what a format can't hold is refused, or laid over a background; nothing else is lost in silence.

use std::io::Cursor;

use image::codecs::pnm::{PnmEncoder, PnmSubtype, SampleEncoding};
use image::{ExtendedColorType, ImageEncoder};
use jpeg_encoder::{ColorType, EncodingError, SamplingFactor};
use tiff::TiffResult;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::RGBA8;
use tiff::tags::Tag;
use webp::{Encoder, PixelLayout, WebPConfig};

use super::format::names_of;
use super::{ImageFormat, avif};
use crate::error::{Error, ErrorKind, Result};
use crate::pixels::Pixels;

/// Out of 100.
const JPEG_QUALITY: u8 = 90;

/// From this quality on a JPEG has all samples of chroma.
const WHOLE_CHROMA: u8 = 90;

/// Out of 100: where the strands of hair in a photograph begin to melt at lower ones.
const AVIF_QUALITY: u8 = 85;

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// From 1 to 100, for JPEG (90 unless told), WebP (lossless unless told) and AVIF (85 unless told). The
    /// numbers of different formats don't compare.
    pub quality: Option<u8>,
    /// The RGB colour that transparent pixels are laid over in formats without transparency: JPEG, GIF and PNM.
    /// White unless told.
    pub background: [u8; 3],
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            quality: None,
            background: [255; 3],
        }
    }
}

impl WriteOptions {
    /// Whether an image can be written like this, whatever it shows.
    ///
    /// # Errors
    /// `InvalidInput` if the format can't be written or has no quality to choose, or the quality is out of range.
    pub fn check(&self, format: ImageFormat) -> Result<()> {
        if !format.is_written() {
            let written = names_of(ImageFormat::is_written);
            return Err(Error::invalid(format!(
                "{format} can only be read; formats to write are {written}"
            )));
        }
        match self.quality {
            Some(_) if !format.has_quality() => {
                let lossy = names_of(ImageFormat::has_quality);
                Err(Error::invalid(format!(
                    "{format} has no quality to choose; formats with one are {lossy}"
                )))
            }
            Some(quality) if !(1..=100).contains(&quality) => Err(Error::invalid(format!(
                "a quality is from 1 to 100, not {quality}"
            ))),
            _ => Ok(()),
        }
    }
}

/// The bytes of an image file, in sRGB.
///
/// PNG, WebP without a quality, BMP, TIFF, QOI, PNM and TGA give back the same pixels when read; JPEG, AVIF, WebP
/// with a quality (that WebP, and a JPEG of a quality below 90, with half the sides of chroma) and GIF (256 colours) don't. Transparency
/// is written in PNG, WebP, AVIF, BMP, TIFF, QOI and TGA.
///
/// # Errors
/// `InvalidInput` if [`WriteOptions::check`] fails; `UnsupportedImage` if a side is longer than the format can
/// hold: 16383 pixels in WebP, 65535 in JPEG, AVIF, GIF and TGA.
pub fn write_image(
    pixels: &Pixels,
    format: ImageFormat,
    options: &WriteOptions,
) -> Result<Vec<u8>> {
    options.check(format)?;
    let (width, height) = (pixels.width(), pixels.height());
    if width.max(height) > format.max_side() {
        let limit = format.max_side();
        return Err(Error::new(
            ErrorKind::UnsupportedImage,
            format!(
                "an image of {width}x{height} pixels can't be written as {format}: the longest side it holds is {limit}"
            ),
        ));
    }
    let opaque;
    let pixels = if format.has_alpha() {
        pixels
    } else {
        opaque = pixels.over(options.background);
        &opaque
    };
    match (format, options.quality) {
        (ImageFormat::Avif, quality) => avif::write(pixels, quality.unwrap_or(AVIF_QUALITY)),
        (ImageFormat::WebP, Some(quality)) => lossy_webp(pixels, quality),
        (ImageFormat::Jpeg, quality) => jpeg(pixels, quality.unwrap_or(JPEG_QUALITY))
            .map_err(|error| refused(pixels, format).with_source(error)),
        _ => by_image(pixels, format),
    }
}

/// By the encoders of `image`.
fn by_image(pixels: &Pixels, format: ImageFormat) -> Result<Vec<u8>> {
    let (width, height) = (pixels.width(), pixels.height());
    let rgba = pixels.alpha().map(|alpha| interleaved(pixels, alpha));
    let (samples, color) = match &rgba {
        Some(rgba) => (&rgba[..], ExtendedColorType::Rgba8),
        None => (pixels.as_rgb(), ExtendedColorType::Rgb8),
    };
    let mut file = Cursor::new(Vec::new());
    let written = match format {
        ImageFormat::Tiff if rgba.is_some() => {
            return tiff_with_alpha(pixels, samples)
                .map_err(|error| refused(pixels, format).with_source(error));
        }
        // Left to itself the encoder writes a PAM (P7), which fewer programs read.
        ImageFormat::Pnm => PnmEncoder::new(&mut file)
            .with_subtype(PnmSubtype::Pixmap(SampleEncoding::Binary))
            .write_image(samples, width, height, color),
        _ => image::write_buffer_with_format(
            &mut file,
            samples,
            width,
            height,
            color,
            format.codec(),
        ),
    };
    written.map_err(|error| refused(pixels, format).with_source(error))?;
    Ok(file.into_inner())
}

/// Progressive, with Huffman tables made for the image, which `image` doesn't write. Below quality 90 chroma has half the
/// sides, as is usual for JPEG.
///
/// Not sequential: `jpeg-encoder` then gives each component a scan of its own where it makes the tables, which is allowed,
/// and which `zune-jpeg` 0.5.15, and with it many a program, reads as garbage.
fn jpeg(pixels: &Pixels, quality: u8) -> std::result::Result<Vec<u8>, EncodingError> {
    let mut file = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut file, quality);
    encoder.set_sampling_factor(match quality {
        WHOLE_CHROMA.. => SamplingFactor::R_4_4_4,
        _ => SamplingFactor::R_4_2_0,
    });
    encoder.set_progressive(true);
    encoder.set_optimized_huffman_tables(true);
    // A JPEG's sides are checked to fit 16 bits.
    let (width, height) = (pixels.width() as u16, pixels.height() as u16);
    encoder.encode(pixels.as_rgb(), width, height, ColorType::Rgb)?;
    Ok(file)
}

/// `image` writes a fourth sample without the tag that calls it alpha (TIFF 6.0, section 18).
fn tiff_with_alpha(pixels: &Pixels, rgba: &[u8]) -> TiffResult<Vec<u8>> {
    const UNASSOCIATED: u16 = 2;
    let mut file = Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file)?;
    let mut image = encoder.new_image::<RGBA8>(pixels.width(), pixels.height())?;
    image.encoder().write_tag(Tag::ExtraSamples, UNASSOCIATED)?;
    image.write_data(rgba)?;
    Ok(file.into_inner())
}

/// By libwebp: `image` writes WebP without loss only.
fn lossy_webp(pixels: &Pixels, quality: u8) -> Result<Vec<u8>> {
    let rgba = pixels.alpha().map(|alpha| interleaved(pixels, alpha));
    let (samples, layout) = match &rgba {
        Some(rgba) => (&rgba[..], PixelLayout::Rgba),
        None => (pixels.as_rgb(), PixelLayout::Rgb),
    };
    let failed = || refused(pixels, ImageFormat::WebP);
    let mut config = WebPConfig::new().map_err(|()| failed())?;
    config.quality = f32::from(quality);
    // Saturated edges keep their place: 1.2 dB in chroma for 3 % more bytes, at 1.6 times the time.
    config.use_sharp_yuv = 1;
    Encoder::new(samples, layout, pixels.width(), pixels.height())
        .encode_advanced(&config)
        .map(|file| file.to_vec())
        .map_err(|error| failed().with_source(format!("{error:?}")))
}

fn interleaved(pixels: &Pixels, alpha: &[u8]) -> Vec<u8> {
    let (colors, _) = pixels.as_rgb().as_chunks::<3>();
    let all = colors.iter().zip(alpha);
    all.flat_map(|(&[r, g, b], &alpha)| [r, g, b, alpha])
        .collect()
}

fn refused(pixels: &Pixels, format: ImageFormat) -> Error {
    Error::new(
        ErrorKind::UnsupportedImage,
        format!(
            "an image of {}x{} pixels can't be written as {format}",
            pixels.width(),
            pixels.height()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, read_image};
    use super::*;
    use crate::metrics::psnr;

    const ALL: [ImageFormat; 10] = {
        use ImageFormat::{Avif, Bmp, Gif, Jpeg, Png, Pnm, Qoi, Tga, Tiff, WebP};
        [Png, Jpeg, WebP, Avif, Gif, Bmp, Tiff, Qoi, Pnm, Tga]
    };

    fn gradient(width: u32, height: u32) -> Pixels {
        let value = |i: u32| (i * 37 % 256) as u8;
        let pixel = |x: u32, y: u32| [value(x), value(y), value(x / 2 + y / 3)];
        let row = |y| (0..width).flat_map(move |x| pixel(x, y));
        Pixels::from_rgb(width, height, (0..height).flat_map(row).collect()).unwrap()
    }

    fn smooth() -> Pixels {
        let values = (0..64 * 64 * 3).map(|i| (i / 64) as u8);
        Pixels::from_rgb(64, 64, values.collect()).unwrap()
    }

    fn written(pixels: &Pixels, format: ImageFormat, quality: Option<u8>) -> Vec<u8> {
        let options = WriteOptions {
            quality,
            ..WriteOptions::default()
        };
        write_image(pixels, format, &options).unwrap()
    }

    fn read(bytes: &[u8]) -> Pixels {
        let read = read_image(bytes, "a.tga", &Limits::default()).unwrap();
        assert_eq!(read.notes, []);
        read.pixels
    }

    fn there_and_back(pixels: &Pixels, format: ImageFormat) -> Pixels {
        let bytes = written(pixels, format, None);
        assert_eq!(ImageFormat::sniff(&bytes, "a.tga"), Some(format));
        read(&bytes)
    }

    #[test]
    fn lossless_formats_give_back_the_same_pixels() {
        use ImageFormat::{Bmp, Png, Pnm, Qoi, Tga, Tiff, WebP};
        for format in [Png, WebP, Bmp, Tiff, Qoi, Pnm, Tga] {
            for (width, height) in [(1, 1), (5000, 1), (1, 5000), (61, 43)] {
                let pixels = gradient(width, height);
                assert_eq!(there_and_back(&pixels, format), pixels, "{format}");
            }
        }
    }

    #[test]
    fn lossy_formats_give_back_nearly_the_same_pixels() {
        for format in [ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::Avif] {
            let found = psnr(&there_and_back(&smooth(), format), &smooth()).unwrap();
            assert!(found > 38.0, "{format}: {found} dB");
            for (width, height) in [(1, 1), (5000, 1), (1, 300)] {
                let back = there_and_back(&gradient(width, height), format);
                assert_eq!((back.width(), back.height()), (width, height));
            }
        }
    }

    #[test]
    fn a_higher_quality_is_nearer_to_the_image_and_takes_more_bytes() {
        use ImageFormat::{Avif, Jpeg, WebP};
        for format in [Jpeg, WebP, Avif] {
            let files = [1, 50, 100].map(|quality| written(&smooth(), format, Some(quality)));
            assert!(files.is_sorted_by_key(Vec::len), "{format}");
            let fidelity = files.map(|file| psnr(&read(&file), &smooth()).unwrap());
            assert!(fidelity.is_sorted(), "{format}: {fidelity:?}");
            assert!(fidelity[2] > 38.0, "{format}: {fidelity:?}");
        }
    }

    #[test]
    fn alpha_is_written_where_the_format_has_it_and_laid_over_the_background_elsewhere() {
        let alpha: Vec<u8> = (0..61 * 43).map(|i| (i * 7 % 256) as u8).collect();
        let clear = gradient(61, 43).with_alpha(alpha).unwrap();
        let options = WriteOptions {
            background: [10, 200, 30],
            ..WriteOptions::default()
        };
        for format in ALL {
            let back = read(&write_image(&clear, format, &options).unwrap());
            let expected = if format.has_alpha() {
                clear.clone()
            } else {
                clear.over(options.background).into_owned()
            };
            assert_eq!(back.alpha().is_some(), format.has_alpha(), "{format}");
            if !matches!(
                format,
                ImageFormat::Jpeg | ImageFormat::Gif | ImageFormat::Avif
            ) {
                assert_eq!(back, expected, "{format}");
            }
        }
        for format in [ImageFormat::WebP, ImageFormat::Avif] {
            let back = read(&written(&clear, format, Some(90)));
            let pairs = back.alpha().unwrap().iter().zip(clear.alpha().unwrap());
            let worst = pairs.map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
            assert!(worst <= 24, "{format}: {worst}");
        }
    }

    #[test]
    fn a_quality_is_refused_where_there_is_none_and_out_of_range() {
        for format in ALL {
            for (quality, fine) in [(0, false), (1, true), (100, true), (101, false)] {
                let options = WriteOptions {
                    quality: Some(quality),
                    ..WriteOptions::default()
                };
                let checked = options.check(format);
                assert_eq!(checked.is_ok(), fine && format.has_quality(), "{format}");
            }
            assert!(WriteOptions::default().check(format).is_ok());
        }
        let options = WriteOptions {
            quality: Some(50),
            ..WriteOptions::default()
        };
        let error = write_image(&smooth(), ImageFormat::Png, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            error.to_string(),
            "png has no quality to choose; formats with one are jpeg, jpg, jfif, webp, avif"
        );
    }

    #[test]
    fn radiance_hdr_is_not_written() {
        let options = WriteOptions::default();
        let error = write_image(&smooth(), ImageFormat::Hdr, &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let expected = "hdr can only be read; formats to write are png, jpeg";
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn a_side_that_the_format_cannot_hold_is_refused_with_the_limit() {
        use ImageFormat::{Avif, Gif, Jpeg, Tga, WebP};
        for (format, limit) in [
            (WebP, 16383),
            (Jpeg, 65535),
            (Avif, 65535),
            (Gif, 65535),
            (Tga, 65535),
        ] {
            // So long an AVIF takes ten seconds here.
            if format != Avif {
                let longest = there_and_back(&gradient(limit, 1), format);
                assert_eq!(longest.width(), limit);
            }
            let options = WriteOptions::default();
            let error = write_image(&gradient(1, limit + 1), format, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
            let message = error.to_string();
            assert!(message.contains(&format!("1x{}", limit + 1)), "{message}");
            assert!(message.ends_with(&limit.to_string()), "{message}");
        }
        let longest = written(&gradient(16383, 1), WebP, Some(50));
        assert_eq!(read(&longest).width(), 16383);
    }

    #[test]
    fn pnm_is_a_binary_ppm() {
        let bytes = written(&gradient(3, 2), ImageFormat::Pnm, None);
        assert!(bytes.starts_with(b"P6\n3 2 255\n"));
    }
}
