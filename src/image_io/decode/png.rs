//! PNG, by `png`: palettes, colour keys and few bits are expanded; the colour chunks are read in their order of rank.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Info, Transformations};

use super::super::metadata::orientation;
use super::super::raster::{Channels, Colors, Primaries, Raster, Samples};
use super::super::refusal::Source;
use crate::error::{Error, Result};

pub(super) fn read(source: Source) -> Result<Raster> {
    let failed = |error| refused(source, error);
    let limits = png::Limits {
        bytes: source.max_alloc(),
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(source.bytes), limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(failed)?;
    let ((width, height), bits) = (header.size(), header.bits_per_pixel());
    source.check_size(width, height, bits.div_ceil(8) as u64)?;

    let mut reader = decoder.read_info().map_err(failed)?;
    let (color, depth) = reader.output_color_type();
    let channels = match color {
        ColorType::Grayscale => Channels::Grey,
        ColorType::GrayscaleAlpha => Channels::GreyAlpha,
        ColorType::Rgb => Channels::Rgb,
        ColorType::Rgba => Channels::Rgba,
        ColorType::Indexed => return Err(source.of_unknown_kind()),
    };
    let count = width as usize * height as usize * channels.count();
    let (samples, frame) = if depth == BitDepth::Sixteen {
        source.check_size(width, height, 2 * channels.count() as u64)?;
        let mut samples = vec![0_u16; count];
        let frame = reader.next_frame(bytemuck::cast_slice_mut(&mut samples));
        for sample in &mut samples {
            *sample = u16::from_be(*sample);
        }
        (Samples::U16(samples), frame.map_err(failed)?)
    } else {
        source.check_size(width, height, channels.count() as u64)?;
        let mut samples = vec![0; count];
        let frame = reader.next_frame(&mut samples).map_err(failed)?;
        (Samples::U8(samples), frame)
    };
    // The first frame of an animation fills the canvas (PNG, third edition, section 11.3.6.2).
    if (frame.width, frame.height) != (width, height) {
        return Err(source.damaged());
    }
    // EXIF may follow the pixels. They are whole, so that what is wrong behind them doesn't matter.
    let animated = reader.info().animation_control.is_some();
    if !animated {
        let _ = reader.finish();
    }
    let info = reader.info();
    let exif = info.exif_metadata.as_ref().map(|exif| exif.to_vec());
    Ok(Raster {
        width,
        height,
        samples,
        channels,
        colors: colors(info),
        orientation: orientation(exif.as_deref()),
        exif,
        more_frames: animated,
    })
}

/// The colours that the chunk of the highest rank says (PNG, third edition, section 4.3).
fn colors(info: &Info) -> Colors {
    if let Some(points) = info.coding_independent_code_points {
        return Colors::Cicp {
            primaries: points.color_primaries,
            transfer: points.transfer_function,
        };
    }
    if let Some(profile) = &info.icc_profile {
        return Colors::Profile(profile.to_vec());
    }
    if info.srgb.is_some() || (info.gama_chunk.is_none() && info.chrm_chunk.is_none()) {
        return Colors::Srgb;
    }
    let primaries = info.chrm_chunk.map(|said| {
        let xy = |(x, y): (png::ScaledFloat, png::ScaledFloat)| (x.into_value(), y.into_value());
        Primaries {
            white: xy(said.white),
            red: xy(said.red),
            green: xy(said.green),
            blue: xy(said.blue),
        }
    });
    Colors::Gamma {
        exponent: info
            .gama_chunk
            .and_then(|gamma| exponent(gamma.into_value())),
        primaries,
    }
}

/// The power that turns samples into light, for the `gamma` that a gAMA chunk says: its inverse. Nothing where
/// it is that of sRGB to two digits, because who writes 1/2.2 means sRGB.
fn exponent(gamma: f32) -> Option<f32> {
    let usable = (0.05..=20.0).contains(&gamma);
    let srgb = (0.45..0.46).contains(&gamma);
    (usable && !srgb).then_some(1.0 / gamma)
}

fn refused(source: Source, error: DecodingError) -> Error {
    match error {
        DecodingError::LimitsExceeded => source.takes_too_much(),
        _ => source.damaged(),
    }
    .with_source(error)
}
