//! Files that people take for images and that can't be read here: told by name, with a way out.
//!
//! Invariant: no file of a known format is among them.

use super::refusal::unsupported;
use crate::error::Error;

/// How a format begins: from which byte on, and with what.
type Start = (usize, &'static [u8]);

/// What such a file is called, and how it begins.
const KNOWN: &[(&str, &[Start])] = &[
    (
        "HEIC",
        &[
            (4, b"ftyphei"),
            (4, b"ftyphev"),
            (4, b"ftypmif1"),
            (4, b"ftypmsf1"),
        ],
    ),
    ("JPEG XL", &[(0, b"\xff\x0a"), (4, b"JXL ")]),
    ("JPEG 2000", &[(4, b"jP  "), (0, b"\xff\x4f\xff\x51")]),
    ("OpenEXR", &[(0, b"\x76\x2f\x31\x01")]),
    ("Photoshop (PSD)", &[(0, b"8BPS")]),
    ("PDF", &[(0, b"%PDF")]),
    ("SVG", &[(0, b"<svg"), (0, b"<?xml")]),
    (
        "camera raw",
        &[
            (8, b"CR\x02"),
            (4, b"ftypcrx "),
            (0, b"FUJIFILMCCD-RAW"),
            (0, b"IIU\0"),
            (0, b"IIRO"),
            (0, b"IIRS"),
        ],
    ),
];

/// The error for a file of such a format. AVIF has to be told before: it shares a brand with HEIC.
pub(super) fn refusal(bytes: &[u8], name: &str) -> Option<Error> {
    let begins = |&(at, start): &Start| bytes.get(at..).is_some_and(|rest| rest.starts_with(start));
    let (format, _) = KNOWN.iter().find(|(_, starts)| starts.iter().any(begins))?;
    let error = unsupported(format!("{name} is a {format} file, which can't be read"));
    Some(error.with_hint(
        "convert it first, to a PNG or a JPEG of quality 95 or more; ImageMagick and libvips can",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_people_try_is_told_by_name_and_with_a_way_out() {
        for (start, format) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0"[..], "HEIC"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
            (b"\xff\x0a\0", "JPEG XL"),
            (b"\0\0\0\x0cJXL \r\n", "JPEG XL"),
            (b"II*\0\x10\0\0\0CR\x02\0", "camera raw"),
            (b"<svg xmlns=", "SVG"),
        ] {
            let error = refusal(start, "photo").unwrap();
            assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
            let expected = format!("photo is a {format} file, which can't be read");
            assert_eq!(error.to_string(), expected);
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn other_bytes_are_left_alone() {
        for bytes in [&b""[..], b"II*\0\x08\0\0\0", b"\xff\xd8\xff\xe0", b"hello"] {
            assert!(refusal(bytes, "photo").is_none());
        }
    }
}
