//! What an image item of an AVIF file is: its size, colours and turns, and the coded tiles that it is made of
//! (ISO/IEC 23008-12, sections 6.5 and 6.6; AV1 Image File Format 1.1).
//!
//! Invariant: an item with a property that must be understood and isn't is refused.

use super::boxes::Cursor;
use super::meta::{ItemId, Meta};
use super::planes::Cicp;

/// Why an item can't be an image here.
pub(super) enum Refused {
    Damaged,
    /// Of a kind that this reader doesn't know.
    Unknown,
}

/// An image as the container describes it.
pub(super) struct Item<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) cicp: Option<Cicp>,
    /// ICC.
    pub(super) profile: Option<&'a [u8]>,
    /// As EXIF counts.
    pub(super) orientation: u8,
    /// What an auxiliary image is for.
    auxiliary: Option<&'a [u8]>,
    /// In rows from the top left; all of one size, which the image's own is not always a multiple of.
    pub(super) tiles: Vec<ItemId>,
    pub(super) columns: u32,
    pub(super) tile_width: u32,
    pub(super) tile_height: u32,
}

impl<'a> Item<'a> {
    pub(super) fn new(meta: &Meta<'a>, id: ItemId) -> Result<Self, Refused> {
        let mut item = Self::with_properties(meta, id)?;
        match meta.kind(id) {
            Some(kind) if &kind == b"av01" => item.tiles = vec![id],
            Some(kind) if &kind == b"grid" => item.set_grid(meta, id)?,
            _ => return Err(Refused::Unknown),
        }
        Ok(item)
    }

    /// Whether this is the alpha of another image.
    pub(super) fn is_alpha(&self) -> bool {
        let kinds = [
            &b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"[..],
            b"urn:mpeg:hevc:2015:auxid:1\0",
        ];
        let said = self.auxiliary.unwrap_or_default();
        kinds.iter().any(|kind| said.starts_with(kind))
    }

    /// An image of such tiles as this one, which lie as those of `image`.
    pub(super) fn in_grid_of(self, image: &Item, tiles: Vec<ItemId>) -> Self {
        Self {
            width: image.width,
            height: image.height,
            tiles,
            columns: image.columns,
            tile_width: image.tile_width,
            tile_height: image.tile_height,
            ..self
        }
    }

    fn with_properties(meta: &Meta<'a>, id: ItemId) -> Result<Self, Refused> {
        let mut size = None;
        let (mut cicp, mut profile, mut auxiliary) = (None, None, None);
        let mut turns = Turns::default();
        for (kind, mut body, essential) in meta.properties(id).ok_or(Refused::Damaged)? {
            let read = match &kind {
                b"ispe" => read_size(body).map(|found| size = Some(found)),
                b"colr" => match body.kind() {
                    Some(kind) if &kind == b"nclx" => {
                        read_cicp(body).map(|found| cicp = Some(found))
                    }
                    Some(kind) if &kind == b"prof" || &kind == b"rICC" => {
                        profile = Some(body.0);
                        Some(())
                    }
                    found => found.map(|_| ()),
                },
                b"irot" => body.u8().map(|angle| turns.rotate(angle & 3)),
                b"imir" => body.u8().map(|axis| turns.mirror = Some(axis & 1)),
                b"auxC" => body.version().map(|_| auxiliary = Some(body.0)),
                // What these say is in the stream too.
                b"av1C" | b"pixi" => Some(()),
                _ if essential => return Err(Refused::Unknown),
                _ => Some(()),
            };
            read.ok_or(Refused::Damaged)?;
        }
        let (width, height) = size.ok_or(Refused::Damaged)?;
        Ok(Self {
            width,
            height,
            cicp,
            profile,
            orientation: turns.orientation(),
            auxiliary,
            tiles: Vec::new(),
            columns: 1,
            tile_width: width,
            tile_height: height,
        })
    }

    fn set_grid(&mut self, meta: &Meta<'a>, id: ItemId) -> Result<(), Refused> {
        let (columns, rows, size) = meta
            .bytes(id)
            .and_then(|bytes| read_grid(Cursor(&bytes)))
            .ok_or(Refused::Damaged)?;
        self.tiles = meta.targets(*b"dimg", id).collect();
        let count = (columns * rows) as usize;
        if size != (self.width, self.height) || self.tiles.len() != count {
            return Err(Refused::Damaged);
        }
        let mut tile_size = None;
        for &tile in &self.tiles {
            let tile = Self::with_properties(meta, tile)?;
            let size = (tile.width, tile.height);
            if *tile_size.get_or_insert(size) != size {
                return Err(Refused::Damaged);
            }
            // Colours may be said of the tiles alone.
            self.cicp = self.cicp.or(tile.cicp);
            self.profile = self.profile.or(tile.profile);
        }
        let (width, height) = tile_size.ok_or(Refused::Damaged)?;
        let covers = |length: u32, count: u32, whole: u32| {
            let (length, count, whole) = (u64::from(length), u64::from(count), u64::from(whole));
            length * (count - 1) < whole && length * count >= whole
        };
        if !covers(width, columns, self.width) || !covers(height, rows, self.height) {
            return Err(Refused::Damaged);
        }
        self.columns = columns;
        (self.tile_width, self.tile_height) = (width, height);
        Ok(())
    }
}

fn read_size(mut body: Cursor) -> Option<(u32, u32)> {
    body.version()?;
    Some((body.u32()?, body.u32()?))
}

fn read_cicp(mut body: Cursor) -> Option<Cicp> {
    let code = |number: u16| u8::try_from(number).ok();
    Some(Cicp {
        primaries: code(body.u16()?)?,
        transfer: code(body.u16()?)?,
        matrix: code(body.u16()?)?,
        full_range: body.u8()? >> 7 == 1,
    })
}

/// Columns, rows, and the size of the whole.
fn read_grid(mut body: Cursor) -> Option<(u32, u32, (u32, u32))> {
    body.u8()?;
    let wide = if body.u8()? & 1 == 1 { 4 } else { 2 };
    let (rows, columns) = (u32::from(body.u8()?) + 1, u32::from(body.u8()?) + 1);
    let (width, height) = (body.number(wide)?, body.number(wide)?);
    Some((columns, rows, (width as u32, height as u32)))
}

/// Quarter turns against the clock, and then a mirror.
#[derive(Default)]
struct Turns {
    rotation: u8,
    /// 0 exchanges top and bottom, 1 left and right.
    mirror: Option<u8>,
}

impl Turns {
    fn rotate(&mut self, quarters: u8) {
        // To turn a mirrored image is to turn it the other way first.
        self.rotation = match self.mirror {
            None => self.rotation + quarters,
            Some(_) => self.rotation + 4 - quarters,
        } & 3;
    }

    /// The number that EXIF has for these turns.
    fn orientation(&self) -> u8 {
        let by_rotation = match self.mirror {
            None => [1, 8, 3, 6],
            Some(0) => [4, 5, 2, 7],
            Some(_) => [2, 7, 4, 5],
        };
        by_rotation[usize::from(self.rotation)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The corners 0 1 / 2 3 of an image after its turns, by the words of the standard.
    fn turned(turns: &[(&str, u8)]) -> [u8; 4] {
        let turn = |[a, b, c, d]: [u8; 4], &(kind, how): &(&str, u8)| match (kind, how) {
            ("irot", quarters) => (0..quarters).fold([a, b, c, d], |[a, b, c, d], _| [b, d, a, c]),
            (_, 0) => [c, d, a, b],
            _ => [b, a, d, c],
        };
        turns.iter().fold([0, 1, 2, 3], turn)
    }

    /// The same corners as EXIF 2.3 (tag 0x0112) turns them.
    const BY_EXIF: [[u8; 4]; 8] = [
        [0, 1, 2, 3],
        [1, 0, 3, 2],
        [3, 2, 1, 0],
        [2, 3, 0, 1],
        [0, 2, 1, 3],
        [2, 0, 3, 1],
        [3, 1, 2, 0],
        [1, 3, 0, 2],
    ];

    #[test]
    fn turns_and_mirrors_in_either_order_become_the_orientation_of_exif() {
        for quarters in 0..4 {
            for axis in [None, Some(0), Some(1)] {
                for mirror_first in [false, true] {
                    let mut steps = vec![("irot", quarters)];
                    let at = usize::from(!mirror_first);
                    if let Some(axis) = axis {
                        steps.insert(at, ("imir", axis));
                    }
                    let mut turns = Turns::default();
                    for &(kind, how) in &steps {
                        match kind {
                            "irot" => turns.rotate(how),
                            _ => turns.mirror = Some(how),
                        }
                    }
                    let found = BY_EXIF[usize::from(turns.orientation()) - 1];
                    assert_eq!(found, turned(&steps), "{steps:?}");
                }
            }
        }
    }
}
