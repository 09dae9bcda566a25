//! Writing: one encoder setting per format.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::pnm::{PnmEncoder, PnmSubtype, SampleEncoding};
use image::{ExtendedColorType, ImageEncoder};

use super::ImageFormat;
use crate::error::{Error, ErrorKind, Result};
use crate::pixels::Pixels;

/// Out of 100.
const JPEG_QUALITY: u8 = 90;

/// The bytes of an image file. PNG, WebP, BMP, TIFF, QOI, PNM and TGA give back the same pixels when read; JPEG
/// (quality 90, no chroma subsampling) and GIF (256 colours) don't.
///
/// # Errors
/// `UnsupportedImage` if a side is longer than the format can hold: 16383 pixels in WebP, 65535 in JPEG, GIF and
/// TGA.
pub fn write_image(pixels: &Pixels, format: ImageFormat) -> Result<Vec<u8>> {
    let (width, height) = (pixels.width(), pixels.height());
    let unsupported = |message| Error::new(ErrorKind::UnsupportedImage, message);
    if width.max(height) > format.max_side() {
        return Err(unsupported(format!(
            "an image of {width}x{height} pixels can't be written as {format}: the longest side it holds is {}",
            format.max_side()
        )));
    }
    let (rgb, color) = (pixels.as_rgb(), ExtendedColorType::Rgb8);
    let mut file = Cursor::new(Vec::new());
    let written = match format {
        ImageFormat::Jpeg => JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY)
            .write_image(rgb, width, height, color),
        // Left to itself the encoder writes a PAM (P7), which fewer programs read.
        ImageFormat::Pnm => PnmEncoder::new(&mut file)
            .with_subtype(PnmSubtype::Pixmap(SampleEncoding::Binary))
            .write_image(rgb, width, height, color),
        _ => image::write_buffer_with_format(&mut file, rgb, width, height, color, format.codec()),
    };
    written.map_err(|error| {
        unsupported(format!(
            "an image of {width}x{height} pixels can't be written as {format}"
        ))
        .with_source(error)
    })?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, read_image};
    use super::*;
    use crate::metrics::psnr;

    fn gradient(width: u32, height: u32) -> Pixels {
        let value = |i: u32| (i * 37 % 256) as u8;
        let pixel = |x: u32, y: u32| [value(x), value(y), value(x / 2 + y / 3)];
        let row = |y| (0..width).flat_map(move |x| pixel(x, y));
        Pixels::from_rgb(width, height, (0..height).flat_map(row).collect()).unwrap()
    }

    fn there_and_back(pixels: &Pixels, format: ImageFormat) -> Pixels {
        let bytes = write_image(pixels, format).unwrap();
        let read = read_image(&bytes, "a.tga", &Limits::default()).unwrap();
        assert_eq!((read.format, read.notes), (format, vec![]));
        read.pixels
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
        let smooth = Pixels::from_rgb(64, 64, (0..64 * 64 * 3).map(|i| (i / 64) as u8).collect());
        let smooth = smooth.unwrap();
        for format in [ImageFormat::Jpeg, ImageFormat::Gif] {
            let found = psnr(&there_and_back(&smooth, format), &smooth).unwrap();
            assert!(found > 38.0, "{format}: {found} dB");
            for (width, height) in [(1, 1), (5000, 1)] {
                let back = there_and_back(&gradient(width, height), format);
                assert_eq!((back.width(), back.height()), (width, height));
            }
        }
    }

    #[test]
    fn a_side_that_the_format_cannot_hold_is_refused_with_the_limit() {
        use ImageFormat::{Gif, Jpeg, Tga, WebP};
        for (format, limit) in [(WebP, 16383), (Jpeg, 65535), (Gif, 65535), (Tga, 65535)] {
            let longest = there_and_back(&gradient(limit, 1), format);
            assert_eq!(longest.width(), limit);
            let error = write_image(&gradient(1, limit + 1), format).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
            let message = error.to_string();
            assert!(message.contains(&format!("1x{}", limit + 1)), "{message}");
            assert!(message.ends_with(&limit.to_string()), "{message}");
        }
    }

    #[test]
    fn pnm_is_a_binary_ppm() {
        let bytes = write_image(&gradient(3, 2), ImageFormat::Pnm).unwrap();
        assert!(bytes.starts_with(b"P6\n3 2 255\n"));
    }
}
