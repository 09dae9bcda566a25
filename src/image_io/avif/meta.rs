//! What the `meta` box of an AVIF file says (ISO/IEC 14496-12, section 8.11): items, where their bytes lie,
//! their properties, and which belongs to which.
//!
//! Invariant: memory grows with the bytes of the box, never with a number that it declares.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::boxes::{Cursor, Kind};

pub(super) type ItemId = u32;

pub(super) struct Meta<'a> {
    pub(super) primary: ItemId,
    file: &'a [u8],
    /// The body of the `idat` box.
    data: &'a [u8],
    items: BTreeMap<ItemId, Item>,
    properties: Vec<(Kind, Cursor<'a>)>,
    references: Vec<Reference>,
}

#[derive(Default)]
struct Item {
    kind: Kind,
    place: Place,
    /// Indices of properties, from 1, and whether a reader has to understand them.
    properties: Vec<(u16, bool)>,
}

#[derive(Default)]
struct Place {
    /// 0: offsets count from the start of the file; 1: from the start of `idat`.
    method: u8,
    /// Offset and length.
    extents: Vec<(u64, u64)>,
}

struct Reference {
    kind: Kind,
    from: ItemId,
    to: Vec<ItemId>,
}

impl<'a> Meta<'a> {
    /// Reads the `meta` box of a file; `None` if it is missing or damaged.
    pub(super) fn parse(file: &'a [u8]) -> Option<Self> {
        let mut top = Cursor(file).boxes().map_while(|found| found);
        let (_, mut body) = top.find(|(kind, _)| kind == b"meta")?;
        body.version()?;
        let mut meta = Self {
            primary: 0,
            file,
            data: &[],
            items: BTreeMap::new(),
            properties: Vec::new(),
            references: Vec::new(),
        };
        for (kind, body) in body.whole_boxes()? {
            match &kind {
                b"pitm" => meta.primary = primary(body)?,
                b"idat" => meta.data = body.0,
                b"iinf" => meta.add_kinds(body)?,
                b"iloc" => meta.add_places(body)?,
                b"iprp" => meta.add_properties(body)?,
                b"iref" => meta.references = references(body)?,
                _ => {}
            }
        }
        Some(meta)
    }

    pub(super) fn kind(&self, id: ItemId) -> Option<Kind> {
        Some(self.items.get(&id)?.kind)
    }

    /// The bytes of an item.
    pub(super) fn bytes(&self, id: ItemId) -> Option<Cow<'a, [u8]>> {
        let place = &self.items.get(&id)?.place;
        let all = match place.method {
            0 => self.file,
            1 => self.data,
            _ => return None,
        };
        let part = |&(offset, length): &(u64, u64)| {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            all.get(start..end)
        };
        if let [extent] = &place.extents[..] {
            return part(extent).map(Cow::Borrowed);
        }
        let mut joined = Vec::new();
        for extent in &place.extents {
            let part = part(extent)?;
            // Extents may overlap, but no honest file says more than it holds.
            if part.len() > all.len() - joined.len() {
                return None;
            }
            joined.extend_from_slice(part);
        }
        Some(Cow::Owned(joined))
    }

    /// The properties of an item, in their order, and whether a reader has to understand each.
    pub(super) fn properties(&self, id: ItemId) -> Option<Vec<(Kind, Cursor<'a>, bool)>> {
        let item = self.items.get(&id)?;
        let property = |&(index, essential): &(u16, bool)| {
            let (kind, body) = *self.properties.get(usize::from(index).checked_sub(1)?)?;
            Some((kind, body, essential))
        };
        // Index 0 says that there is none.
        let named = item.properties.iter().filter(|(index, _)| *index != 0);
        named.map(property).collect()
    }

    /// What an item refers to by this kind of reference.
    pub(super) fn targets(&self, kind: Kind, from: ItemId) -> impl Iterator<Item = ItemId> {
        let references = self.references.iter();
        references
            .filter(move |reference| reference.kind == kind && reference.from == from)
            .flat_map(|reference| reference.to.iter().copied())
    }

    /// The items that refer to this one by this kind of reference.
    pub(super) fn sources(&self, kind: Kind, to: ItemId) -> impl Iterator<Item = ItemId> {
        let references = self.references.iter();
        references
            .filter(move |reference| reference.kind == kind && reference.to.contains(&to))
            .map(|reference| reference.from)
    }

    fn add_kinds(&mut self, mut body: Cursor<'a>) -> Option<()> {
        let (version, _) = body.version()?;
        body.number(if version == 0 { 2 } else { 4 })?;
        for (kind, mut entry) in body.whole_boxes()? {
            let (version, _) = entry.version()?;
            if kind == *b"infe" && version >= 2 {
                let id = entry.number(if version == 2 { 2 } else { 4 })? as ItemId;
                entry.u16()?;
                self.items.entry(id).or_default().kind = entry.kind()?;
            }
        }
        Some(())
    }

    fn add_places(&mut self, mut body: Cursor<'a>) -> Option<()> {
        let (version, _) = body.version()?;
        let sizes = body.u16()?;
        let [offset, length, base, index] =
            [12, 8, 4, 0].map(|shift| usize::from(sizes >> shift & 15));
        if [offset, length, base, index].iter().any(|&size| size > 8) {
            return None;
        }
        let wide = if version < 2 { 2 } else { 4 };
        for _ in 0..body.number(wide)? {
            let id = body.number(wide)? as ItemId;
            let method = if version == 0 { 0 } else { body.u16()? & 15 };
            if body.u16()? != 0 {
                // The bytes lie in another file.
                return None;
            }
            let base = body.number(base)?;
            let count = body.u16()?;
            // Extents without a byte of their own would be free to declare.
            if offset + length == 0 && count > 1 {
                return None;
            }
            let mut extents = Vec::new();
            for _ in 0..count {
                body.number(if version == 0 { 0 } else { index })?;
                let start = base.checked_add(body.number(offset)?)?;
                extents.push((start, body.number(length)?));
            }
            let method = method as u8;
            self.items.entry(id).or_default().place = Place { method, extents };
        }
        Some(())
    }

    fn add_properties(&mut self, body: Cursor<'a>) -> Option<()> {
        for (kind, mut body) in body.whole_boxes()? {
            if kind == *b"ipco" {
                self.properties = body.whole_boxes()?;
            } else if kind == *b"ipma" {
                let (version, flags) = body.version()?;
                for _ in 0..body.u32()? {
                    let id = body.number(if version == 0 { 2 } else { 4 })? as ItemId;
                    for _ in 0..body.u8()? {
                        let (index, essential) = if flags & 1 == 1 {
                            let both = body.u16()?;
                            (both & 0x7fff, both >> 15 == 1)
                        } else {
                            let both = body.u8()?;
                            (u16::from(both & 0x7f), both >> 7 == 1)
                        };
                        let item = self.items.entry(id).or_default();
                        item.properties.push((index, essential));
                    }
                }
            }
        }
        Some(())
    }
}

fn primary(mut body: Cursor) -> Option<ItemId> {
    let (version, _) = body.version()?;
    Some(body.number(if version == 0 { 2 } else { 4 })? as ItemId)
}

fn references(mut body: Cursor) -> Option<Vec<Reference>> {
    let (version, _) = body.version()?;
    let wide = if version == 0 { 2 } else { 4 };
    let reference = |(kind, mut body): (Kind, Cursor)| {
        let from = body.number(wide)? as ItemId;
        let mut to = Vec::new();
        for _ in 0..body.u16()? {
            to.push(body.number(wide)? as ItemId);
        }
        Some(Reference { kind, from, to })
    };
    body.whole_boxes()?.into_iter().map(reference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: Kind, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + body.len()).unwrap();
        [&length.to_be_bytes()[..], &kind, body].concat()
    }

    /// A file whose `meta` box has these boxes, and ten bytes behind it.
    fn file(boxes: &[Vec<u8>]) -> Vec<u8> {
        let meta = boxed(*b"meta", &[&[0; 4][..], &boxes.concat()].concat());
        [meta, boxed(*b"mdat", b"0123456789")].concat()
    }

    /// The place of item 1: `method`, then extents of offset and length, one byte for each number.
    fn iloc(method: u8, extents: &[[u8; 8]]) -> Vec<u8> {
        let start = [1, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, method, 0, 0, 0];
        let count = extents.len() as u8;
        boxed(
            *b"iloc",
            &[&start[..], &[count], &extents.concat()].concat(),
        )
    }

    fn extent(offset: u32, length: u32) -> [u8; 8] {
        let both = [offset.to_be_bytes(), length.to_be_bytes()].concat();
        both.try_into().unwrap()
    }

    fn bytes_of(file: &[u8]) -> Option<Vec<u8>> {
        Some(Meta::parse(file)?.bytes(1)?.into_owned())
    }

    #[test]
    fn an_item_lies_in_the_file_or_in_the_box_in_one_part_or_several() {
        let idat = boxed(*b"idat", b"abcdef");
        let inside = file(&[iloc(1, &[extent(2, 3)]), idat.clone()]);
        assert_eq!(bytes_of(&inside).unwrap(), b"cde");
        let two = file(&[iloc(1, &[extent(4, 2), extent(0, 1)]), idat]);
        assert_eq!(bytes_of(&two).unwrap(), b"efa");
        let start = file(&[iloc(0, &[extent(0, 0)])]).len() as u32 - 10;
        let outside = file(&[iloc(0, &[extent(start + 3, 4)])]);
        assert_eq!(bytes_of(&outside).unwrap(), b"3456");
    }

    #[test]
    fn parts_that_leave_the_file_or_repeat_it_are_refused() {
        let idat = boxed(*b"idat", b"abcdef");
        for extents in [
            &[extent(4, 3)][..],
            &[extent(u32::MAX, u32::MAX)],
            &[extent(0, 6), extent(0, 1)],
        ] {
            let file = file(&[iloc(1, extents), idat.clone()]);
            assert_eq!(bytes_of(&file), None);
        }
        let other_method = file(&[iloc(2, &[extent(0, 1)])]);
        assert_eq!(bytes_of(&other_method), None);
    }

    #[test]
    fn extents_that_take_no_bytes_to_declare_are_refused() {
        let free = |count: u8| {
            let place = [1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0xff, count];
            file(&[boxed(*b"iloc", &place)])
        };
        assert!(Meta::parse(&free(0xff)).is_none());
    }

    #[test]
    fn numbers_that_promise_more_than_the_box_holds_are_damage() {
        let many = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        for boxes in [
            boxed(*b"iprp", &boxed(*b"ipma", &many)),
            boxed(*b"iloc", &[0, 0, 0, 0, 0x44, 0, 0xff, 0xff]),
            boxed(
                *b"iref",
                &[&[0; 4][..], &boxed(*b"dimg", &[0, 1, 0xff, 0xff])].concat(),
            ),
            boxed(*b"pitm", &[0, 0, 0, 0, 1]),
        ] {
            assert!(Meta::parse(&file(&[boxes])).is_none());
        }
        assert!(Meta::parse(&file(&[])).is_some());
        assert!(Meta::parse(b"").is_none());
    }
}
