//! Every image of `corpus/` gives the pixels that were computed apart from this crate, in `corpus/make.py`.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::{Path, PathBuf};

use latentdb::{Limits, ReadImage, read_image};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// A line of `expected.tsv`.
struct Expected {
    file: String,
    size: (u32, u32),
    /// How far off a value may be, in levels.
    within: u8,
    notes: String,
    rgb: Vec<u8>,
    alpha: Option<Vec<u8>>,
}

fn expected() -> Vec<Expected> {
    let bytes = |hex: &str| {
        let digits = (0..hex.len()).step_by(2);
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        digits.map(byte).collect::<Vec<_>>()
    };
    let lines = std::fs::read_to_string(folder().join("expected.tsv")).unwrap();
    let line = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let [file, width, height, within, notes, rgb, alpha] = fields[..] else {
            panic!("{line}")
        };
        Expected {
            file: file.to_owned(),
            size: (width.parse().unwrap(), height.parse().unwrap()),
            within: within.parse().unwrap(),
            notes: notes.to_owned(),
            rgb: bytes(rgb),
            alpha: (alpha != "-").then(|| bytes(alpha)),
        }
    };
    lines.lines().map(line).collect()
}

fn read(file: &str) -> latentdb::Result<ReadImage> {
    let bytes = std::fs::read(folder().join(file)).unwrap();
    read_image(&bytes, file, &Limits::default())
}

/// What is wrong with what was read, if anything.
fn difference(expected: &Expected) -> Option<String> {
    let image = match read(&expected.file) {
        Ok(image) => image,
        Err(error) => return Some(format!("{error}: {:?}", std::error::Error::source(&error))),
    };
    let pixels = &image.pixels;
    if (pixels.width(), pixels.height()) != expected.size {
        return Some(format!("{}x{} pixels", pixels.width(), pixels.height()));
    }
    let notes: Vec<_> = image.notes.iter().map(|note| format!("{note:?}")).collect();
    if notes.join(",") != expected.notes.trim_matches('-') {
        return Some(format!("notes {notes:?}"));
    }
    if pixels.alpha() != expected.alpha.as_deref() {
        return Some(format!("alpha {:?}", pixels.alpha()));
    }
    let pairs = pixels.as_rgb().iter().zip(&expected.rgb);
    let off = pairs.clone().map(|(a, b)| a.abs_diff(*b)).max()?;
    let differ = pairs.filter(|(a, b)| a != b).count();
    (off > expected.within).then(|| format!("{differ} values differ, by up to {off}"))
}

#[test]
fn every_image_gives_the_pixels_that_were_computed_apart() {
    let expected = expected();
    let files = std::fs::read_dir(folder()).unwrap();
    let images = files.filter(|file| {
        let file = file.as_ref().unwrap();
        let name = file.file_name().to_string_lossy().into_owned();
        // AVIF has a folder and tests of its own.
        file.path().is_file() && ![".py", ".tsv"].iter().any(|end| name.ends_with(end))
    });
    assert_eq!(images.count(), expected.len(), "each file has its line");
    let wrong: Vec<_> = expected
        .iter()
        .filter_map(|image| Some(format!("{}: {}", image.file, difference(image)?)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_orientation_that_was_applied_is_told() {
    for ending in ["jpg", "png", "webp", "tif"] {
        for orientation in 1..=8 {
            let read = read(&format!("orientation{orientation}.{ending}")).unwrap();
            assert_eq!(read.exif.orientation, orientation, "{ending}");
        }
    }
    assert_eq!(read("rgb8.png").unwrap().exif.orientation, 0);
}
