//! One AV1 frame to planes of samples; the only user of the AV1 decoder.
//!
//! Invariant: a frame is decoded only if its own header keeps to the size that the container promised.

use re_rav1d::dav1d::pixel::YUVRange;
use re_rav1d::dav1d::{Decoder, Error, Picture, PixelLayout, PlanarImageComponent, Settings};

use super::planes::{Cicp, Layout, Planes};

/// Decodes the first frame of `stream`; `None` if it is damaged, or has more than `max_pixels`.
///
/// The decoder works in this thread alone: its own threads would be waited for in vain if one of them died.
pub(super) fn decode(stream: Vec<u8>, max_pixels: u32) -> Option<(Planes, Cicp)> {
    if stream.is_empty() {
        return None;
    }
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_frame_size_limit(max_pixels);
    // Of several layers the finest is the image.
    settings.set_all_layers(false);
    let mut decoder = Decoder::with_settings(&settings).ok()?;
    let mut sent = decoder.send_data(stream, None, None, None);
    loop {
        let picture = match (decoder.get_picture(), sent) {
            (Ok(picture), _) => picture,
            (Err(Error::Again), Err(Error::Again)) => {
                sent = decoder.send_pending_data();
                continue;
            }
            // Asked again without new data, the decoder hands out what it holds back.
            (Err(Error::Again), Ok(())) => decoder.get_picture().ok()?,
            _ => return None,
        };
        return Some((planes(&picture)?, cicp(&picture)));
    }
}

fn planes(picture: &Picture) -> Option<Planes> {
    let layout = match picture.pixel_layout() {
        PixelLayout::I400 => Layout::Grey,
        PixelLayout::I420 => Layout::Quarter,
        PixelLayout::I422 => Layout::Half,
        PixelLayout::I444 => Layout::Full,
    };
    let depth = u8::try_from(picture.bit_depth()).ok()?;
    let mut planes = Planes::new(picture.width(), picture.height(), depth, layout);
    let components = [
        PlanarImageComponent::Y,
        PlanarImageComponent::U,
        PlanarImageComponent::V,
    ];
    for (plane, component) in planes.parts.iter_mut().zip(components) {
        let (bytes, stride) = (picture.plane(component), picture.stride(component) as usize);
        for (to, from) in plane.rows_mut().zip(bytes.chunks(stride)) {
            if depth == 8 {
                let from = from.get(..to.len())?;
                to.iter_mut().zip(from).for_each(|(to, &v)| *to = v.into());
            } else {
                let (from, _) = from.get(..to.len() * 2)?.as_chunks();
                to.iter_mut()
                    .zip(from)
                    .for_each(|(to, &v)| *to = u16::from_ne_bytes(v));
            }
        }
    }
    Some(planes)
}

/// What the stream itself says of its colours.
fn cicp(picture: &Picture) -> Cicp {
    Cicp {
        primaries: picture.color_primaries() as u8,
        transfer: picture.transfer_characteristic() as u8,
        matrix: picture.matrix_coefficients() as u8,
        full_range: picture.color_range() == YUVRange::Full,
    }
}
