//! Whether a JPEG is whole: its markers lead to its end, and its codes give as many blocks as it has.
//!
//! Invariant: what is refused is damaged. Bytes that are left over before a marker are not: cameras write such, and
//! everyone shows them.

/// A JPEG's bytes, and what its segments have said so far.
struct Jpeg<'a> {
    bytes: &'a [u8],
    at: usize,
    frame: Option<Frame>,
    /// Tables for DC (0 to 3) and AC (4 to 7).
    tables: [Option<Table>; 8],
    /// MCUs between two restarts; 0 for none.
    restart_interval: usize,
    scans: Scans,
}

/// How the components of a sequential frame are scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scans {
    /// All in one scan, or in ways that aren't sequential.
    Together,
    /// In scans of their own.
    Apart,
}

/// A frame of sequential scans.
struct Frame {
    width: usize,
    height: usize,
    components: Vec<Component>,
}

#[derive(Clone, Copy)]
struct Component {
    id: u8,
    across: usize,
    down: usize,
}

/// Length and value (times 256, plus) of the code that 16 bits begin with; 0 for none.
type Table = Vec<u16>;

/// How a JPEG is scanned; `None` if it isn't whole. It is if its markers lead to its end-of-image marker (ITU-T T.81,
/// section B.1), and its scans are whole:
/// restarts are counted from 0 to 7 and again (E.1.4); of sequential scans, each code exists, no block has more than
/// 64 coefficients, and none is missing (F.2.2).
///
/// The decoder takes any restart for the next, and fills what is missing.
pub(super) fn look_through(bytes: &[u8]) -> Option<Scans> {
    let mut jpeg = Jpeg {
        bytes,
        at: 2,
        frame: None,
        tables: Default::default(),
        restart_interval: 0,
        scans: Scans::Together,
    };
    jpeg.reaches_its_end()?;
    Some(jpeg.scans)
}

impl Jpeg<'_> {
    fn reaches_its_end(&mut self) -> Option<()> {
        loop {
            let marker = self.next_marker()?;
            if marker == 0xd9 {
                return Some(());
            }
            // TEM and restarts have no length; these are counted where they belong, in scans.
            if matches!(marker, 0x01 | 0xd0..=0xd7) {
                continue;
            }
            let length = usize::from(self.short(self.at)?);
            let end = self.at + length.max(2);
            let segment = self.bytes.get(self.at + 2..end)?;
            self.at = end;
            match marker {
                0xc0 | 0xc1 => self.frame = Some(Frame::new(segment)?),
                0xc4 => self.read_tables(segment)?,
                0xdd => self.restart_interval = u16::from_be_bytes(*segment.first_chunk()?).into(),
                0xda => self.scan(segment)?,
                _ => {}
            }
        }
    }

    /// The next marker, which ends at `at`. What is no marker is passed over.
    fn next_marker(&mut self) -> Option<u8> {
        loop {
            let rest = self.bytes.get(self.at..)?;
            self.at += rest.iter().position(|&byte| byte == 0xff)? + 1;
            match *self.bytes.get(self.at)? {
                // A stuffed zero, or one of any number that may stand before a marker.
                0x00 | 0xff => {}
                marker => {
                    self.at += 1;
                    return Some(marker);
                }
            }
        }
    }

    fn short(&self, at: usize) -> Option<u16> {
        let digits = self.bytes.get(at..)?.first_chunk()?;
        Some(u16::from_be_bytes(*digits))
    }

    fn read_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&[class_and_number, ref lengths @ ..], rest)) =
            segment.split_first_chunk::<17>()
        {
            let count = lengths.iter().map(|&n| usize::from(n)).sum();
            let (values, rest) = rest.split_at_checked(count)?;
            let (class, number) = (class_and_number >> 4 & 1, class_and_number & 3);
            self.tables[usize::from(4 * class + number)] = Some(table(lengths, values)?);
            segment = rest;
        }
        Some(())
    }

    fn scan(&mut self, segment: &[u8]) -> Option<()> {
        let count = segment.first().map_or(0, |&count| usize::from(count));
        if (self.frame.as_ref()).is_some_and(|frame| count < frame.components.len()) {
            self.scans = Scans::Apart;
        }
        let Some((units, blocks)) = self.units_of(segment) else {
            return self.restarts_in_order();
        };
        let mut bits = Bits::new(self.bytes, self.at);
        for unit in 0..units {
            if self.restart_interval > 0 && unit > 0 && unit % self.restart_interval == 0 {
                let restart = unit / self.restart_interval - 1;
                bits = bits.after_restart((restart % 8) as u8)?;
            }
            for &(dc, ac) in &blocks {
                bits.block(dc, ac)?;
            }
        }
        self.at = bits.at;
        Some(())
    }

    /// The MCUs of a sequential scan, and the tables of each of the blocks that one is made of. Nothing where that
    /// isn't known, as for frames of videos, which leave out the usual tables.
    fn units_of(&self, segment: &[u8]) -> Option<(usize, Vec<(&Table, &Table)>)> {
        let frame = self.frame.as_ref()?;
        let (&count, rest) = segment.split_first()?;
        let mut blocks = Vec::new();
        let mut components = Vec::new();
        for &[id, tables] in rest.as_chunks::<2>().0.iter().take(count.into()) {
            let component = *frame.components.iter().find(|known| known.id == id)?;
            let table = |at: u8| self.tables[usize::from(at)].as_ref();
            let (dc, ac) = (table(tables >> 4 & 3)?, table(4 + (tables & 3))?);
            let times = match count {
                1 => 1,
                _ => component.across * component.down,
            };
            blocks.extend(std::iter::repeat_n((dc, ac), times));
            components.push(component);
        }
        (!blocks.is_empty()).then_some((frame.units(&components)?, blocks))
    }

    /// The restarts of a scan whose blocks aren't counted; `at` stays before the marker that ends it.
    fn restarts_in_order(&mut self) -> Option<()> {
        for restart in (0xd0..=0xd7).cycle() {
            let before = self.at;
            match self.next_marker()? {
                found if found == restart => {}
                0xd0..=0xd7 => return None,
                _ => {
                    self.at = before;
                    return Some(());
                }
            }
        }
        None
    }
}

impl Frame {
    fn new(segment: &[u8]) -> Option<Self> {
        let (&[_, h1, h0, w1, w0, _], rest) = segment.split_first_chunk()?;
        let component = |&[id, sampling, _]: &[u8; 3]| Component {
            id,
            across: usize::from(sampling >> 4).max(1),
            down: usize::from(sampling & 15).max(1),
        };
        Some(Self {
            width: u16::from_be_bytes([w1, w0]).into(),
            height: u16::from_be_bytes([h1, h0]).into(),
            components: rest.as_chunks().0.iter().map(component).collect(),
        })
    }

    /// The MCUs of a scan of these components: blocks of one, rectangles of blocks of several (A.2).
    fn units(&self, components: &[Component]) -> Option<usize> {
        let across = self.components.iter().map(|c| c.across).max()?;
        let down = self.components.iter().map(|c| c.down).max()?;
        Some(match components {
            [one] => {
                (self.width * one.across).div_ceil(8 * across)
                    * (self.height * one.down).div_ceil(8 * down)
            }
            _ => self.width.div_ceil(8 * across) * self.height.div_ceil(8 * down),
        })
    }
}

/// The codes of a Huffman table (C.2), by the 16 bits that they begin. Nothing if there are too many.
fn table(lengths: &[u8], values: &[u8]) -> Option<Table> {
    let mut table = vec![0; 1 << 16];
    let (mut next, mut values) = (0, values.iter());
    for (length, &count) in (1..).zip(lengths) {
        for &value in values.by_ref().take(count.into()) {
            let end = next + (1 << (16 - length));
            let entry = (length << 8) as u16 | u16::from(value);
            table.get_mut(next..end)?.fill(entry);
            next = end;
        }
    }
    Some(table)
}

/// The bits of a scan, up to its next marker.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, from the highest on.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            buffer: 0,
            count: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match self.bytes.get(self.at..) {
                Some([0xff, 0x00, ..]) => {
                    self.at += 1;
                    0xff
                }
                Some([byte, ..]) if *byte != 0xff => *byte,
                _ => return,
            };
            self.at += 1;
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// Reads past one coded block. Nothing if it isn't whole or no block.
    fn block(&mut self, dc: &Table, ac: &Table) -> Option<()> {
        let size = self.code(dc).filter(|&size| size <= 16)?;
        self.skip(size.into())?;
        let mut coefficients = 1;
        while coefficients < 64 {
            let code = self.code(ac)?;
            let (zeros, size) = (code >> 4, code & 15);
            match (zeros, size) {
                (15, 0) => coefficients += 16,
                (_, 0) => return Some(()),
                _ => coefficients += zeros + 1,
            }
            self.skip(size.into())?;
        }
        (coefficients == 64).then_some(())
    }

    fn code(&mut self, table: &Table) -> Option<u8> {
        if self.count < 32 {
            self.fill();
        }
        let entry = table[(self.buffer >> 48) as usize];
        self.skip(u32::from(entry >> 8))?;
        (entry > 0xff).then_some(entry as u8)
    }

    /// Nothing if there are fewer bits.
    fn skip(&mut self, bits: u32) -> Option<()> {
        self.count = self.count.checked_sub(bits)?;
        self.buffer <<= bits;
        Some(())
    }

    /// The bits after the restart of this number, which must be the next marker.
    fn after_restart(self, number: u8) -> Option<Self> {
        let mut at = self.at;
        loop {
            match *self.bytes.get(at..)? {
                [0xff, marker, ..] if marker == 0xd0 | number => {
                    return Some(Self::new(self.bytes, at + 2));
                }
                [0xff, 0x00 | 0xff, ..] => at += 1,
                [0xff, ..] => return None,
                _ => at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole(bytes: &[u8]) -> bool {
        look_through(bytes).is_some()
    }

    /// Of one sequential scan, which is what is looked through.
    fn jpeg() -> Vec<u8> {
        let noise = (0..40 * 40 * 3).map(|i: u32| (i * i % 251) as u8);
        let noise: Vec<_> = noise.collect();
        let mut file = Vec::new();
        jpeg_encoder::Encoder::new(&mut file, 90)
            .encode(&noise, 40, 40, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        file
    }

    /// The bytes of its scan.
    fn scan(jpeg: &[u8]) -> std::ops::Range<usize> {
        let start = jpeg.windows(2).position(|two| two == b"\xff\xda").unwrap();
        start + 14..jpeg.len() - 2
    }

    #[test]
    fn a_jpeg_ends_at_its_marker_and_not_at_one_inside_a_segment() {
        let jpeg = jpeg();
        assert!(is_whole(&jpeg));
        assert!(is_whole(&[&jpeg[..], b"more"].concat()));
        let thumbnail = b"\xff\xe1\0\x06\xff\xd8\xff\xd9";
        let tagged = [&jpeg[..2], thumbnail, &jpeg[2..]].concat();
        assert!(is_whole(&tagged));
        for length in 0..tagged.len() {
            assert!(!is_whole(&tagged[..length]), "{length}");
        }
    }

    #[test]
    fn a_scan_that_lost_bytes_is_not_whole_and_one_with_more_is() {
        let jpeg = jpeg();
        let scan = scan(&jpeg);
        let with_end = |length| [&jpeg[..scan.start + length], b"\xff\xd9"].concat();
        for length in 0..scan.len() - 1 {
            assert!(!is_whole(&with_end(length)), "{length}");
        }
        let padded = [&jpeg[..scan.end], &[0; 215], b"\xff\xd9"].concat();
        assert!(is_whole(&padded));
    }

    #[test]
    fn a_code_that_no_table_has_is_damage() {
        let mut jpeg = jpeg();
        let middle = scan(&jpeg).start + scan(&jpeg).len() / 2;
        // All ones are no code (ITU-T T.81, C.2); each byte is stuffed.
        jpeg[middle..middle + 8].copy_from_slice(&[0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0]);
        assert!(!is_whole(&jpeg));
    }

    #[test]
    fn a_restart_that_is_lost_or_comes_twice_is_damage() {
        let scan = |restarts: &[u8]| {
            let data = restarts
                .iter()
                .flat_map(|restart| [0x55, 0xff, 0xd0 + restart]);
            let head = b"\xff\xd8\xff\xda\0\x02";
            [&head[..], &data.collect::<Vec<_>>(), b"\x55\xff\xd9"].concat()
        };
        assert!(is_whole(&scan(&[0, 1, 2, 3, 4, 5, 6, 7, 0, 1])));
        for wrong in [&[1][..], &[0, 2], &[0, 0], &[0, 1, 2, 3, 4, 5, 6, 0]] {
            assert!(!is_whole(&scan(wrong)), "{wrong:?}");
        }
    }
}
