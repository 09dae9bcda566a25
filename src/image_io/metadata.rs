//! What EXIF says of a picture: orientation, time, camera, place (CIPA DC-008, "Exif 3.0").
//!
//! Invariant: damage makes what it hits unknown, and is never an error.

use std::ops::Range;

use super::directory::{Field, Tiff};
use crate::exif::{Exif, Position};

/// More than any camera's name has; what is longer is cut.
const LONGEST_NAME: usize = 128;

const MAKE: u16 = 0x010f;
const MODEL: u16 = 0x0110;
const ORIENTATION: u16 = 0x0112;
const EXIF_DIRECTORY: u16 = 0x8769;
const GPS_DIRECTORY: u16 = 0x8825;

/// Times from the best to the worst, each with the tag of its offset from UTC: when the picture was taken, when
/// it was digitised, when the file was changed.
const TIMES: [(u16, u16); 3] = [(0x9003, 0x9011), (0x9004, 0x9012), (0x0132, 0x9010)];

/// The orientation, 1 to 8; 1 (upright) where none is said.
pub(super) fn orientation(exif: Option<&[u8]>) -> u8 {
    exif.and_then(tiff).and_then(said_orientation).unwrap_or(1)
}

/// All that is wanted of EXIF, or of a TIFF file, which is built the same way.
pub(super) fn read_exif(bytes: &[u8]) -> Exif {
    let Some(tiff) = tiff(bytes) else {
        return Exif::default();
    };
    let main: Vec<_> = tiff.first().collect();
    let linked = |tag| {
        let at = find(&main, tag).and_then(Field::number);
        let at = at.and_then(|at| usize::try_from(at).ok());
        at.map_or_else(Vec::new, |at| tiff.fields(at).collect())
    };
    let inner = linked(EXIF_DIRECTORY);
    Exif {
        taken: taken(&[&main[..], &inner].concat()).unwrap_or_default(),
        camera: camera(&main),
        orientation: said_orientation(tiff).unwrap_or(0),
        position: position(&linked(GPS_DIRECTORY)),
    }
}

/// The header of the TIFF that EXIF is; some writers of WebP put what a JPEG has before it there too.
fn tiff(exif: &[u8]) -> Option<Tiff<'_>> {
    Tiff::new(exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
}

fn said_orientation(tiff: Tiff) -> Option<u8> {
    let said = tiff.first().find(|field| field.tag == ORIENTATION)?;
    said.number()
        .filter(|number| (1..=8).contains(number))
        .map(|number| number as u8)
}

fn find<'f, 'a>(fields: &'f [Field<'a>], tag: u16) -> Option<&'f Field<'a>> {
    fields.iter().find(|field| field.tag == tag)
}

fn taken(fields: &[Field]) -> Option<String> {
    let text = |tag| find(fields, tag).and_then(Field::text);
    TIMES.iter().find_map(|&(time, offset)| {
        let mut taken = date_time(&text(time)?)?;
        if let Some(offset) = text(offset).filter(|offset| is_like(offset, "+00:00")) {
            taken.push_str(&offset);
        }
        Some(taken)
    })
}

/// `2026:11:22 10:31:05` as `2026-11-22T10:31:05`, if it is a time.
fn date_time(exif: &str) -> Option<String> {
    let number = |at: Range<usize>| exif.get(at)?.parse::<u8>().ok();
    let is_time = is_like(exif, "0000:00:00 00:00:00")
        && (1..=12).contains(&number(5..7)?)
        && (1..=31).contains(&number(8..10)?)
        && number(11..13)? < 24
        && number(14..16)? < 60
        && number(17..19)? <= 60;
    is_time.then(|| format!("{}T{}", exif[..10].replace(':', "-"), &exif[11..]))
}

/// Whether a text has the digits (`0`), signs (`+`) and other characters of a pattern where that has them.
fn is_like(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.chars().zip(pattern.chars()).all(|(c, p)| match p {
            '0' => c.is_ascii_digit(),
            '+' => c == '+' || c == '-',
            _ => c == p,
        })
}

/// Make and model; the model alone where it begins with the first word of the make.
fn camera(fields: &[Field]) -> String {
    let name = |tag| {
        let name = find(fields, tag).and_then(Field::text).unwrap_or_default();
        let shown = name.chars().filter(|c| !c.is_control());
        shown.take(LONGEST_NAME).collect::<String>()
    };
    let (make, model) = (name(MAKE), name(MODEL));
    let brand = make.split_whitespace().next().unwrap_or_default();
    let repeated = model
        .get(..brand.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(brand));
    if repeated {
        return model;
    }
    format!("{make} {model}").trim().to_owned()
}

fn position(fields: &[Field]) -> Option<Position> {
    let angle = |side_tag, tag, negative: &str, positive: &str, most: f64| {
        let side = find(fields, side_tag)?.text()?;
        let sign = match side.as_str() {
            s if s.eq_ignore_ascii_case(positive) => 1.0,
            s if s.eq_ignore_ascii_case(negative) => -1.0,
            _ => return None,
        };
        let parts = find(fields, tag)?.fractions();
        let [degrees, minutes, seconds] = parts[..] else {
            return None;
        };
        let angle = degrees + minutes / 60.0 + seconds / 3600.0;
        (angle <= most).then_some(sign * angle)
    };
    Some(Position {
        latitude: angle(1, 2, "S", "N", 90.0)?,
        longitude: angle(3, 4, "W", "E", 180.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One field: tag, type, count, and the value as it lies in the file.
    type Entry<'a> = (u16, u16, u32, &'a [u8]);

    /// The bytes of a directory that lies at `at`, with its long values behind it.
    fn directory(at: usize, entries: &[Entry]) -> Vec<u8> {
        let mut table = (entries.len() as u16).to_be_bytes().to_vec();
        let mut values = Vec::new();
        for &(tag, kind, count, value) in entries {
            table.extend(tag.to_be_bytes());
            table.extend(kind.to_be_bytes());
            table.extend(count.to_be_bytes());
            if value.len() <= 4 {
                table.extend(value);
                table.resize(table.len() + 4 - value.len(), 0);
            } else {
                let behind = at + 2 + entries.len() * 12 + 4 + values.len();
                table.extend((behind as u32).to_be_bytes());
                values.extend(value);
            }
        }
        table.extend([0; 4]);
        [table, values].concat()
    }

    /// EXIF with the fields of its main, its inner and its GPS directory.
    fn exif(main: &[Entry], inner: &[Entry], gps: &[Entry]) -> Vec<u8> {
        let (inner_at, gps_at) = (1000_u32.to_be_bytes(), 2000_u32.to_be_bytes());
        let links = [
            (EXIF_DIRECTORY, 4, 1, &inner_at[..]),
            (GPS_DIRECTORY, 4, 1, &gps_at[..]),
        ];
        let mut bytes = b"MM\0*\0\0\0\x08".to_vec();
        bytes.extend(directory(8, &[main, &links].concat()));
        for (at, entries) in [(1000, inner), (2000, gps)] {
            bytes.resize(at, 0);
            bytes.extend(directory(at, entries));
        }
        bytes
    }

    fn text(tag: u16, value: &str) -> Entry<'_> {
        (tag, 2, value.len() as u32, value.as_bytes())
    }

    #[test]
    fn the_best_time_is_taken_with_its_own_offset() {
        let changed = text(0x0132, "2026:11:23 00:00:00\0");
        let digitised = text(0x9004, "2026:11:22 12:00:00\0");
        let original = text(0x9003, "2026:11:22 10:31:05\0");
        let offset = text(0x9011, "+01:00\0");
        for (main, inner, expected) in [
            (vec![], vec![], ""),
            (vec![changed], vec![], "2026-11-23T00:00:00"),
            (
                vec![changed],
                vec![digitised, offset],
                "2026-11-22T12:00:00",
            ),
            (
                vec![changed],
                vec![digitised, original, offset],
                "2026-11-22T10:31:05+01:00",
            ),
        ] {
            assert_eq!(read_exif(&exif(&main, &inner, &[])).taken, expected);
        }
    }

    #[test]
    fn what_is_no_time_is_unknown() {
        for value in [
            "    :  :     :  :  \0",
            "2026:13:22 10:31:05\0",
            "2026:00:00 00:00:00\0",
            "2026:11:22 24:00:00\0",
            "2026-11-22 10:31:05\0",
            "2026:11:22\0",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}1\0",
        ] {
            let found = read_exif(&exif(&[], &[text(0x9003, value)], &[])).taken;
            assert_eq!(found, "", "{value}");
        }
    }

    #[test]
    fn the_make_is_not_repeated() {
        for (make, model, expected) in [
            ("Apple\0", "iPhone 12\0", "Apple iPhone 12"),
            ("Canon\0", "Canon EOS 5D\0", "Canon EOS 5D"),
            ("NIKON CORPORATION\0", "NIKON D850\0", "NIKON D850"),
            ("\0", "X100 \0", "X100"),
            ("Leica\0", "\0", "Leica"),
        ] {
            let exif = exif(&[text(MAKE, make), text(MODEL, model)], &[], &[]);
            assert_eq!(read_exif(&exif).camera, expected);
        }
    }

    #[test]
    fn a_position_is_in_degrees_and_south_and_west_are_negative() {
        let fractions = |parts: [(u32, u32); 3]| {
            let pair = |(a, b): (u32, u32)| [a.to_be_bytes(), b.to_be_bytes()].concat();
            parts.map(pair).concat()
        };
        let (latitude, longitude) = (
            fractions([(33, 1), (30, 1), (3600, 100)]),
            fractions([(70, 1), (45, 1), (0, 1)]),
        );
        let read = |latitude: &[u8]| {
            let angles = [(2, 5, 3, latitude), (4, 5, 3, &longitude[..])];
            let sides = [text(1, "S\0"), text(3, "W\0")];
            read_exif(&exif(&[], &[], &[sides, angles].concat())).position
        };
        let found = read(&latitude).unwrap();
        assert!((found.latitude + 33.51).abs() < 1e-9, "{found:?}");
        assert!((found.longitude + 70.75).abs() < 1e-9, "{found:?}");
        for wrong in [[(0, 0), (0, 1), (0, 1)], [(91, 1), (0, 1), (0, 1)]] {
            assert_eq!(read(&fractions(wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_orientation_outside_1_to_8_is_none() {
        for (said, read, applied) in [(0_u16, 0, 1), (1, 1, 1), (8, 8, 8), (9, 0, 1), (256, 0, 1)] {
            let exif = exif(&[(ORIENTATION, 3, 1, &said.to_be_bytes())], &[], &[]);
            assert_eq!(read_exif(&exif).orientation, read);
            assert_eq!(orientation(Some(&exif)), applied);
        }
        assert_eq!(orientation(None), 1);
    }

    #[test]
    fn cut_exif_says_what_is_left_of_it() {
        let (make, model) = (text(MAKE, "Maker\0"), text(MODEL, "Model\0"));
        let whole = exif(
            &[make, model],
            &[text(0x9003, "2026:11:22 10:31:05\0")],
            &[],
        );
        for length in 0..whole.len() {
            let cut = read_exif(&whole[..length]);
            assert!(["", "Maker", "Maker Model"].contains(&&cut.camera[..]));
        }
        let without_inner = read_exif(&whole[..1000]);
        assert_eq!(without_inner.camera, "Maker Model");
        assert_eq!(without_inner.taken, "");
    }
}
