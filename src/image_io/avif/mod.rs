//! AVIF: stills in AV1, whole or in tiles, with alpha, and the first frame of sequences.
//!
//! Invariant: nothing is decoded before the size that the container declares has passed the limits, and no
//! frame that is larger than declared.

mod av1;
mod boxes;
mod colors;
mod item;
mod meta;
mod planes;
#[cfg(test)]
mod tests;
mod write;

use boxes::{Cursor, Kind};
use colors::{Alpha, Matrix, interleaved};
use item::{Item, Refused};
use meta::{ItemId, Meta};
use planes::{Cicp, Layout, Planes};

pub(super) use write::write;

use super::raster::{Channels, Colors, Raster};
use super::refusal::Source;
use crate::error::Result;

/// Decodes an AVIF of 8, 10 or 12 bits: luma alone, 4:2:0, 4:2:2 or 4:4:4, in limited or full range.
///
/// Chroma is interpolated linearly, as libavif does by default. An orientation in EXIF is not applied: the
/// container's own turns are what counts (ISO/IEC 23000-22, section 7.3.5).
///
/// # Errors
/// `UnsupportedImage` if the file is damaged or needs what is not known here, such as layers chosen by number
/// or a clean aperture; `LimitExceeded` if it is larger than the limits allow.
pub(super) fn read(source: Source) -> Result<Raster> {
    let refused = |refused| match refused {
        Refused::Damaged => source.damaged(),
        Refused::Unknown => source.of_unknown_kind(),
    };
    let damaged = || source.damaged();
    let meta = Meta::parse(source.bytes).ok_or_else(damaged)?;
    let image = Item::new(&meta, meta.primary).map_err(refused)?;
    let alpha_item = alpha_of(&meta, &image).map_err(refused)?;
    let channels = 3 + u64::from(alpha_item.is_some());
    source.check_size(image.width, image.height, channels)?;

    let (planes, coded) = decode(source, &meta, &image)?;
    let bytes = if planes.depth == 8 { 1 } else { 2 };
    source.check_size(image.width, image.height, channels * bytes)?;
    let alpha = match alpha_item {
        None => None,
        Some((of, id, item)) => {
            if (item.width, item.height) != (image.width, image.height) {
                return Err(damaged());
            }
            let (planes, coded) = decode(source, &meta, &item)?;
            Some(Alpha {
                planes,
                full_range: coded.full_range,
                premultiplied: meta.targets(*b"prem", of).any(|to| to == id),
            })
        }
    };

    let cicp = image.cicp.unwrap_or(coded);
    let matrix = Matrix::new(cicp.matrix).ok_or_else(|| source.of_unknown_kind())?;
    if matrix == Matrix::Identity && !matches!(planes.layout, Layout::Full | Layout::Grey) {
        return Err(damaged());
    }
    Ok(Raster {
        width: image.width,
        height: image.height,
        samples: interleaved(&planes, cicp, matrix, alpha.as_ref()),
        channels: match (planes.layout, &alpha) {
            (Layout::Grey, None) => Channels::Grey,
            (Layout::Grey, Some(_)) => Channels::GreyAlpha,
            (_, None) => Channels::Rgb,
            (_, Some(_)) => Channels::Rgba,
        },
        colors: colors(image.profile, cicp),
        orientation: image.orientation,
        exif: exif(&meta),
        more_frames: has_more_frames(source.bytes),
    })
}

/// The alpha of the primary image, which is an image of its own, or one of each tile. Before it stand an item and the
/// one that is its alpha.
fn alpha_of<'a>(
    meta: &Meta<'a>,
    image: &Item,
) -> Result<Option<(ItemId, ItemId, Item<'a>)>, Refused> {
    let of = |id| {
        let mut auxiliary = meta.sources(*b"auxl", id);
        auxiliary.find_map(|id| {
            let item = Item::new(meta, id).ok()?;
            item.is_alpha().then_some((id, item))
        })
    };
    if let Some((id, item)) = of(meta.primary) {
        return Ok(Some((meta.primary, id, item)));
    }
    let of_tiles: Vec<_> = image.tiles.iter().map(|&tile| of(tile)).collect();
    if of_tiles.iter().all(Option::is_none) {
        return Ok(None);
    }
    let of_tiles: Option<Vec<_>> = of_tiles.into_iter().collect();
    // What lacks alpha beside tiles that have it could be meant as opaque, or lost.
    let of_tiles = of_tiles.ok_or(Refused::Unknown)?;
    let ids = of_tiles.iter().map(|(id, _)| *id).collect();
    match of_tiles.into_iter().next() {
        Some((id, first)) => Ok(Some((image.tiles[0], id, first.in_grid_of(image, ids)))),
        None => Ok(None),
    }
}

/// The samples of an image, and what its stream says of them.
fn decode(source: Source, meta: &Meta, item: &Item) -> Result<(Planes, Cicp)> {
    let tile = |id| decode_tile(meta, item, id).ok_or_else(|| source.damaged());
    if let [whole] = item.tiles[..] {
        return tile(whole);
    }
    let mut joined: Option<(Planes, Cicp)> = None;
    for (index, &id) in (0..).zip(&item.tiles) {
        let (planes, cicp) = tile(id)?;
        let (whole, _) = joined.get_or_insert_with(|| {
            let whole = Planes::new(item.width, item.height, planes.depth, planes.layout);
            (whole, cicp)
        });
        let (x, y) = (index % item.columns, index / item.columns);
        whole
            .paste(&planes, x * item.tile_width, y * item.tile_height)
            .ok_or_else(|| source.damaged())?;
    }
    joined.ok_or_else(|| source.damaged())
}

fn decode_tile(meta: &Meta, item: &Item, id: ItemId) -> Option<(Planes, Cicp)> {
    let max_pixels = item.tile_width.checked_mul(item.tile_height)?;
    let (planes, cicp) = av1::decode(meta.bytes(id)?.into_owned(), max_pixels)?;
    let same = (planes.width, planes.height) == (item.tile_width, item.tile_height);
    same.then_some((planes, cicp))
}

/// A profile goes before code points; what is unspecified is sRGB (AV1 Image File Format 1.1, section 2.2.1).
fn colors(profile: Option<&[u8]>, cicp: Cicp) -> Colors {
    const SRGB: (u8, u8) = (1, 13);
    let said = |code, default| if code == 2 { default } else { code };
    let primaries = said(cicp.primaries, SRGB.0);
    let transfer = said(cicp.transfer, SRGB.1);
    match profile {
        Some(profile) => Colors::Profile(profile.to_vec()),
        None if (primaries, transfer) == SRGB => Colors::Srgb,
        None => Colors::Cicp {
            primaries,
            transfer,
        },
    }
}

/// The EXIF that describes the primary image. Four bytes say where its TIFF header begins.
fn exif(meta: &Meta) -> Option<Vec<u8>> {
    let mut describing = meta.sources(*b"cdsc", meta.primary);
    let id = describing.find(|&id| meta.kind(id) == Some(*b"Exif"))?;
    let bytes = meta.bytes(id)?;
    let mut cursor = Cursor(&bytes);
    let start = cursor.u32()? as usize;
    Some(cursor.0.get(start..)?.to_vec())
}

/// Whether a track of a sequence has more than one frame.
fn has_more_frames(file: &[u8]) -> bool {
    fn any_track(body: Cursor, path: &[Kind]) -> bool {
        let Some((next, path)) = path.split_first() else {
            return frames(body).is_some_and(|frames| frames > 1);
        };
        let mut inside = body.boxes().map_while(|found| found);
        inside.any(|(kind, body)| kind == *next && any_track(body, path))
    }
    fn frames(mut sizes: Cursor) -> Option<u32> {
        sizes.version()?;
        sizes.u32()?;
        sizes.u32()
    }
    let path = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz"].map(|kind| *kind);
    any_track(Cursor(file), &path)
}
