//! AVIF files of every kind beside what libavif decodes from them, and damaged ones.

use std::path::{Path, PathBuf};

use super::super::raster::{Channels, Colors, Raster, Samples};
use super::super::refusal::{Limits, Source};
use super::super::{ImageFormat, decode};
use super::*;
use crate::error::ErrorKind;
use crate::pixels::Pixels;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/avif")
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.avif"))).unwrap()
}

fn read_within(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    decode::decode(Source {
        bytes,
        name: "a.avif",
        format: ImageFormat::Avif,
        limits,
    })
}

fn read_all(bytes: &[u8]) -> Result<Raster> {
    read_within(bytes, &Limits::default())
}

/// Samples in as many bits as the file has.
fn samples_of(raster: &Raster, bits: u32) -> Vec<i32> {
    match &raster.samples {
        Samples::U8(samples) => samples.iter().map(|&v| v.into()).collect(),
        Samples::U16(samples) => {
            let full = f64::from((1 << bits) - 1);
            let scaled = samples.iter().map(|&v| f64::from(v) / 65535.0 * full);
            scaled.map(|v| v.round() as i32).collect()
        }
        Samples::F32(_) => panic!("AVIF has no floats"),
    }
}

/// A line of `expected.tsv`.
struct Expected {
    name: String,
    width: u32,
    height: u32,
    bits: u32,
    channels: usize,
    orientation: u8,
    samples: Vec<i32>,
}

fn expected() -> Vec<Expected> {
    let table = std::fs::read_to_string(folder().join("expected.tsv")).unwrap();
    let line = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let number = |at: usize| fields[at].parse::<u32>().unwrap();
        let digits = if number(3) > 8 { 4 } else { 2 };
        let samples = fields[6]
            .as_bytes()
            .chunks(digits)
            .map(|digits| i32::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
        Expected {
            name: fields[0].to_owned(),
            width: number(1),
            height: number(2),
            bits: number(3),
            channels: number(4) as usize,
            orientation: number(5) as u8,
            samples: samples.collect(),
        }
    };
    table.lines().map(line).collect()
}

#[test]
fn every_kind_is_read_as_libavif_reads_it() {
    let all = expected();
    assert_eq!(all.len(), 38);
    for expected in all {
        let name = &expected.name;
        let raster = read_all(&file(name)).unwrap();
        let mut samples = samples_of(&raster, expected.bits);
        if name.starts_with("grid") {
            assert_eq!(raster.height, if name == "grid" { 136 } else { 70 });
            let row = expected.width as usize * expected.channels;
            samples = samples[66 * row..70 * row].to_vec();
        } else {
            assert_eq!(raster.height, expected.height, "{name}");
        }
        assert_eq!(raster.width, expected.width, "{name}");
        assert_eq!(raster.channels.count(), expected.channels, "{name}");
        assert_eq!(raster.orientation, expected.orientation, "{name}");
        assert_eq!(raster.more_frames, name == "sequence", "{name}");
        assert_eq!(samples.len(), expected.samples.len(), "{name}");
        let differences = samples
            .iter()
            .zip(&expected.samples)
            .map(|(a, b)| (a - b).abs());
        let worst = differences.max().unwrap();
        // Only what premultiplied colours are divided by is rounded twice there.
        let allowed = i32::from(name == "premultiplied");
        assert!(worst <= allowed, "{name} differs by {worst}");
    }
}

#[test]
fn colours_are_said_by_profile_code_points_or_not_at_all() {
    let colors = |name| read_all(&file(name)).unwrap().colors;
    assert_eq!(colors("420-full"), Colors::Srgb);
    let p3 = Colors::Cicp {
        primaries: 12,
        transfer: 13,
    };
    assert_eq!(colors("p3"), p3);
    let Colors::Profile(profile) = colors("profile") else {
        panic!("the profile is lost");
    };
    assert_eq!(&profile[36..40], b"acsp");
}

#[test]
fn grey_and_transparent_images_have_no_more_channels_than_they_need() {
    for (name, channels) in [
        ("grey", Channels::Grey),
        ("grey-limited-alpha", Channels::GreyAlpha),
        ("420-full", Channels::Rgb),
        ("alpha-10", Channels::Rgba),
    ] {
        assert_eq!(read_all(&file(name)).unwrap().channels, channels, "{name}");
    }
}

#[test]
fn exif_is_handed_on_from_its_tiff_header() {
    let exif = read_all(&file("profile")).unwrap().exif.unwrap();
    assert!(exif.starts_with(b"II*\0") || exif.starts_with(b"MM\0*"));
    assert!(exif.windows(5).any(|text| text == b"Maker"));
    assert_eq!(read_all(&file("p3")).unwrap().exif, None);
}

/// The file with the first `from` replaced by `to`, which is as long.
fn patched(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = file(name);
    let at = bytes.windows(from.len()).position(|part| part == from);
    bytes[at.unwrap()..][..to.len()].copy_from_slice(to);
    bytes
}

/// The `ispe` property of an image of so many pixels.
fn ispe(width: u32, height: u32) -> Vec<u8> {
    [
        &b"ispe\0\0\0\0"[..],
        &width.to_be_bytes(),
        &height.to_be_bytes(),
    ]
    .concat()
}

#[test]
fn a_declared_size_is_held_to_the_limits_and_the_stream_to_the_declared_size() {
    let huge = patched("420-full", &ispe(17, 11), &ispe(60_000, 60_000));
    let error = read_all(&huge).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert_eq!(
        error.to_string(),
        "a.avif is 60000x60000 = 3600000000 pixels, more than the limit of 268435456"
    );
    for other in [ispe(16, 11), ispe(11, 17), ispe(18, 11), ispe(0, 11)] {
        let error = read_all(&patched("420-full", &ispe(17, 11), &other)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedImage);
    }
    let limits = Limits {
        max_alloc_bytes: 11 * 7 * 3 * 2 - 1,
        ..Limits::default()
    };
    assert!(read_within(&file("444-full"), &Limits::default()).is_ok());
    let error = read_within(&file("444-full-10"), &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn a_property_that_must_be_understood_and_is_not_is_refused() {
    // The mirror of orientation 2 is essential; under another name nobody knows it.
    let error = read_all(&patched("orientation-2", b"imir", b"what")).unwrap_err();
    assert_eq!(error.to_string(), "a.avif: AVIF of this kind can't be read");
    // A shape of pixels is not.
    let known = patched("orientation-2", b"pixi", b"what");
    assert_eq!(read_all(&known).unwrap().orientation, 2);
}

#[test]
fn a_matrix_that_is_not_known_is_refused() {
    let nclx = |matrix: u8| [&b"nclx\0\x01\0\x0d\0"[..], &[matrix]].concat();
    let error = read_all(&patched("420-full", &nclx(6), &nclx(14))).unwrap_err();
    assert_eq!(error.to_string(), "a.avif: AVIF of this kind can't be read");
    // Green, blue and red can't share samples.
    assert!(read_all(&patched("420-full", &nclx(6), &nclx(0))).is_err());
}

#[test]
fn a_file_that_is_cut_anywhere_is_an_error() {
    let limits = Limits::default();
    for name in ["alpha", "grid"] {
        let whole = file(name);
        for length in (0..whole.len()).step_by(7) {
            let error = read_within(&whole[..length], &limits).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnsupportedImage, "{name} {length}");
        }
    }
}

#[test]
fn damaged_files_are_an_image_within_limits_or_an_error() {
    let limits = Limits {
        max_pixels: 1 << 16,
        max_alloc_bytes: 1 << 20,
    };
    let names = [
        "alpha-10",
        "420-full",
        "grid",
        "premultiplied",
        "sequence",
        "profile",
    ];
    let (mut read, mut refused) = (0, 0);
    for seed in 0..300_u64 {
        let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        let mut bytes = file(names[random() % names.len()]);
        for _ in 0..=random() % 3 {
            let at = random() % bytes.len();
            let run = 1 + random() % 4;
            match random() % 5 {
                0 => bytes[at] ^= 1 << (random() % 8),
                1 => bytes[at] = random() as u8,
                2 => bytes[at..]
                    .iter_mut()
                    .take(run)
                    .for_each(|byte| *byte = 0xff),
                3 => bytes.truncate(at + 1),
                _ => bytes.insert(at, random() as u8),
            }
        }
        match read_within(&bytes, &limits) {
            Ok(raster) => {
                let pixels = u64::from(raster.width) * u64::from(raster.height);
                assert!(pixels <= limits.max_pixels, "seed {seed}");
                read += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 20 && refused > 20, "{read} read, {refused} refused");
}

#[test]
fn what_is_written_comes_back_nearly_the_same_with_its_alpha() {
    let value = |i: u32| (i * 4).min(255) as u8;
    let row = |y| (0..64).flat_map(move |x| [value(x), value(y), value(x.midpoint(y))]);
    let rgb: Vec<u8> = (0..48).flat_map(row).collect();
    let alpha: Vec<u8> = (0..64 * 48).map(|i| value(i / 64)).collect();
    let pixels = Pixels::from_rgb(64, 48, rgb.clone()).unwrap();
    let clear = pixels.clone().with_alpha(alpha.clone()).unwrap();
    for (pixels, channels) in [(pixels, Channels::Rgb), (clear, Channels::Rgba)] {
        let bytes = write(&pixels, 90).unwrap();
        assert!(ImageFormat::is_avif(&bytes));
        let raster = read_all(&bytes).unwrap();
        assert_eq!((raster.width, raster.height), (64, 48));
        assert_eq!((raster.channels, &raster.colors), (channels, &Colors::Srgb));
        let mut expected = rgb.chunks(3).zip(&alpha).map(|(rgb, &alpha)| {
            let alpha = (channels == Channels::Rgba).then_some(alpha);
            rgb.iter().copied().chain(alpha).collect::<Vec<_>>()
        });
        let found = samples_of(&raster, 8);
        for pixel in found.chunks(channels.count()) {
            let expected = expected.next().unwrap();
            for (&found, expected) in pixel.iter().zip(expected) {
                assert!(
                    (found - i32::from(expected)).abs() <= 6,
                    "{found} {expected}"
                );
            }
        }
    }
}
