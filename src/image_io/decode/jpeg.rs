//! JPEG, by `zune-jpeg`: what is damaged in a way that the decoder notices is refused, not filled with grey.

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::super::metadata::orientation;
use super::super::raster::{Channels, Colors, Raster, Samples};
use super::super::refusal::{Source, unsupported};
use super::jpeg_scan::{Scans, look_through};
use super::ycbcr_to_rgb;
use crate::error::{Error, Result};

pub(super) fn read(source: Source) -> Result<Raster> {
    match look_through(source.bytes) {
        None => return Err(source.damaged()),
        // Valid, and garbage without a word in zune-jpeg 0.5.15 (zune-image #419 and #422).
        Some(Scans::Apart) => {
            let name = source.name;
            let what =
                format!("{name}: a sequential JPEG with a scan for each component can't be read");
            return Err(unsupported(what)
                .with_hint("jpegtran -progressive makes one of it that can, without loss"));
        }
        Some(Scans::Together) => {}
    }
    let failed = |error| refused(source, error);
    // Sides are limited by their product, in `check_size`.
    let options = DecoderOptions::default()
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(source.bytes), options);
    decoder.decode_headers().map_err(failed)?;
    let info = decoder.info().ok_or_else(|| source.damaged())?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));

    let stored = decoder.input_colorspace();
    let (channels, wanted) = match stored {
        Some(ColorSpace::Luma) => (Channels::Grey, ColorSpace::Luma),
        Some(ColorSpace::RGB | ColorSpace::YCbCr) => (Channels::Rgb, ColorSpace::RGB),
        Some(four @ (ColorSpace::CMYK | ColorSpace::YCCK)) => (Channels::Cmyk, four),
        _ => return Err(source.of_unknown_kind()),
    };
    source.check_size(width, height, channels.count() as u64)?;
    let profile = decoder.icc_profile();
    // Strict from here on only: browsers show files with odd headers too.
    decoder.set_options(
        options
            .jpeg_set_out_colorspace(wanted)
            .set_strict_mode(true),
    );
    let mut samples = vec![0; width as usize * height as usize * channels.count()];
    decoder.decode_into(&mut samples).map_err(failed)?;
    if channels == Channels::Cmyk {
        to_inks(&mut samples, stored == Some(ColorSpace::YCCK));
    }
    Ok(Raster {
        width,
        height,
        samples: Samples::U8(samples),
        channels,
        colors: profile.map_or(Colors::Srgb, Colors::Profile),
        orientation: orientation(info.exif_data.as_deref()),
        exif: info.exif_data,
        more_frames: false,
    })
}

/// Inks from four channels as JPEG has them: inverted, because Adobe writes them so, and all are read as Adobe's.
/// Where three are luma and chromas (YCCK), what these give are the inks (Adobe technical note 5116, section 18).
fn to_inks(samples: &mut [u8], ycck: bool) {
    for pixel in samples.as_chunks_mut::<4>().0 {
        let [a, b, c, black] = *pixel;
        let [cyan, magenta, yellow] = if ycck {
            ycbcr_to_rgb([a, b, c])
        } else {
            [!a, !b, !c]
        };
        *pixel = [cyan, magenta, yellow, !black];
    }
}

fn refused(source: Source, error: DecodeErrors) -> Error {
    match error {
        DecodeErrors::Unsupported(_) => source.of_unknown_kind(),
        _ => source.damaged(),
    }
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Limits, read_image};

    #[test]
    fn a_sequential_jpeg_with_a_scan_for_each_component_is_refused_and_not_read_as_garbage() {
        let mut file = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut file, 75);
        // What makes it write scans of their own.
        encoder.set_optimized_huffman_tables(true);
        let white = [255; 17 * 23 * 3];
        encoder
            .encode(&white, 17, 23, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        let error = read_image(&file, "a.jpg", &Limits::default()).unwrap_err();
        assert!(
            error.to_string().contains("a scan for each component"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("jpegtran"));
    }
}
