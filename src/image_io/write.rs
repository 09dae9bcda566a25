//! Writing: one encoder setting per format.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::pnm::{PnmEncoder, PnmSubtype, SampleEncoding};
use image::{ExtendedColorType, ImageEncoder};

use super::ImageFormat;
use crate::error::{Error, ErrorKind, Result};
use crate::pixels::Pixels;

/// Out of 100: as good as other tools' "high", a third of the size of 100.
const JPEG_QUALITY: u8 = 90;

/// The bytes of an image file. PNG, WebP, BMP, TIFF, QOI, PNM and TGA give back the same pixels when read; JPEG
/// (quality 90, no chroma subsampling) and GIF (256 colours) don't.
///
/// # Errors
/// `UnsupportedImage` if a side is longer than the format can hold: 16384 pixels in WebP, 65535 in JPEG, GIF and
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
        _ => {
            image::write_buffer_with_format(&mut file, rgb, width, height, color, format.codec())
        }
    };
    written.map_err(|error| {
        unsupported(format!(
            "an image of {width}x{height} pixels can't be written as {format}"
        ))
        .with_source(error)
    })?;
    Ok(file.into_inner())
}
