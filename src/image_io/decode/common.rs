//! Every other format, by `image`: WebP, GIF, BMP, QOI, PNM, TGA and Radiance HDR.

use std::io::Cursor;

use image::codecs::{gif::GifDecoder, webp::WebPDecoder};
use image::{
    AnimationDecoder, ColorType, DynamicImage, ImageDecoder, ImageError, ImageReader, ImageResult,
    Limits,
};

use super::super::ImageFormat;
use super::super::metadata::orientation;
use super::super::raster::{Channels, Colors, Raster, Samples};
use super::super::refusal::Source;
use crate::error::{Error, Result};

pub(super) fn read(source: Source) -> Result<Raster> {
    let failed = |error| refused(source, error);
    let mut reader = ImageReader::with_format(Cursor::new(source.bytes), source.format.codec());
    reader.limits(limits(source));
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let ((width, height), color) = (decoder.dimensions(), decoder.color_type());
    source.check_size(width, height, color.bytes_per_pixel().into())?;
    let profile = decoder.icc_profile().map_err(failed)?;
    let exif = decoder.exif_metadata().map_err(failed)?;
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;

    let light = matches!(image.color(), ColorType::Rgb32F | ColorType::Rgba32F);
    let (samples, channels) = match image {
        DynamicImage::ImageLuma8(image) => (Samples::U8(image.into_raw()), Channels::Grey),
        DynamicImage::ImageLumaA8(image) => (Samples::U8(image.into_raw()), Channels::GreyAlpha),
        DynamicImage::ImageRgb8(image) => (Samples::U8(image.into_raw()), Channels::Rgb),
        DynamicImage::ImageRgba8(image) => (Samples::U8(image.into_raw()), Channels::Rgba),
        DynamicImage::ImageLuma16(image) => (Samples::U16(image.into_raw()), Channels::Grey),
        DynamicImage::ImageLumaA16(image) => (Samples::U16(image.into_raw()), Channels::GreyAlpha),
        DynamicImage::ImageRgb16(image) => (Samples::U16(image.into_raw()), Channels::Rgb),
        DynamicImage::ImageRgba16(image) => (Samples::U16(image.into_raw()), Channels::Rgba),
        DynamicImage::ImageRgb32F(image) => (Samples::F32(image.into_raw()), Channels::Rgb),
        DynamicImage::ImageRgba32F(image) => (Samples::F32(image.into_raw()), Channels::Rgba),
        _ => return Err(source.of_unknown_kind()),
    };
    let colors = match profile {
        Some(profile) => Colors::Profile(profile),
        // Of these formats only Radiance HDR has floats, and they are light.
        None if light => Colors::Linear,
        None => Colors::Srgb,
    };
    Ok(Raster {
        width,
        height,
        samples,
        channels,
        colors,
        orientation: orientation(exif.as_deref()),
        exif,
        more_frames: has_more_frames(source).map_err(failed)?,
    })
}

/// Whether the file is an animation.
fn has_more_frames(source: Source) -> ImageResult<bool> {
    let bytes = Cursor::new(source.bytes);
    match source.format {
        ImageFormat::WebP => Ok(WebPDecoder::new(bytes)?.has_animation()),
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(bytes)?;
            decoder.set_limits(limits(source))?;
            Ok(matches!(decoder.into_frames().nth(1), Some(Ok(_))))
        }
        _ => Ok(false),
    }
}

fn limits(source: Source) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(source.limits.max_alloc_bytes);
    limits
}

fn refused(source: Source, error: ImageError) -> Error {
    match error {
        ImageError::Limits(_) => source.takes_too_much(),
        ImageError::Unsupported(_) => source.of_unknown_kind(),
        _ => source.damaged(),
    }
    .with_source(error)
}
