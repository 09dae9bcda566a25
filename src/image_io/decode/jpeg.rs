//! JPEG, by `zune-jpeg`: what is damaged in a way that the decoder notices is refused, not filled with grey.

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::super::metadata::orientation;
use super::super::raster::{Channels, Colors, Raster, Samples};
use super::super::refusal::Source;
use super::jpeg_scan::is_whole;
use super::ycbcr_to_rgb;
use crate::error::{Error, Result};

pub(super) fn read(source: Source) -> Result<Raster> {
    if !is_whole(source.bytes) {
        return Err(source.damaged());
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
