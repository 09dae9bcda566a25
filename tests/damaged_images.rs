//! Damaged image files, of every format: an error or an image within the limits, in bounded memory.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeMap;
use std::path::Path;

use latentdb::{ErrorKind, Limits, read_image};

const DAMAGES_PER_FORMAT: usize = 200;

/// Far above what the corpus needs, which is at most 48x32 pixels.
const LIMITS: Limits = Limits {
    max_pixels: 1 << 16,
    max_alloc_bytes: 4 << 20,
};

/// Memory of the whole test process, in KiB: what it has before the first image is about 10,000, and a read may
/// take the image, the decoder's buffers, the pixels and the tables of a profile.
const MOST_MEMORY: u64 = 64 << 10;

/// The xorshift of Marsaglia (2003), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// The files of the corpus by format, as their endings name it.
fn corpus() -> BTreeMap<&'static str, Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut formats = BTreeMap::<_, Vec<_>>::new();
    let mut paths: Vec<_> = [folder.join("avif"), folder]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("jpg") => "jpeg",
            Some("png") => "png",
            Some("webp") => "webp",
            Some("gif") => "gif",
            Some("bmp") => "bmp",
            Some("tif") => "tiff",
            Some("qoi") => "qoi",
            Some("pbm" | "pgm" | "ppm" | "pam") => "pnm",
            Some("tga") => "tga",
            Some("hdr") => "hdr",
            Some("avif") => "avif",
            _ => continue,
        };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(path).unwrap();
        formats.entry(format).or_default().push((name, bytes));
    }
    formats
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let run = at..(at + 1 + random.below(16)).min(bytes.len());
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[run].fill([0, 0xff][random.below(2)]),
        2 => bytes[run]
            .iter_mut()
            .for_each(|byte| *byte = random.below(256) as u8),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(run)),
        5 => {
            let inserted: Vec<u8> = (0..run.len()).map(|_| random.below(256) as u8).collect();
            bytes.splice(at..at, inserted);
        }
        6 => {
            let copy = bytes[run].to_vec();
            let to = random.below(bytes.len());
            bytes.splice(to..to, copy);
        }
        // A length, an offset or a count at its extremes, in either byte order.
        _ => {
            let extremes = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, u32::MAX];
            let number = extremes[random.below(extremes.len())].to_be_bytes();
            for (byte, digit) in bytes[at..].iter_mut().zip(&number[random.below(3)..]) {
                *byte = *digit;
            }
        }
    }
}

/// The chunks of a PNG with checksums that fit, as far as there are whole chunks: damage behind them is reached.
fn with_checksums(png: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = png.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let end = (at + 8).saturating_add(length);
        if png.len() < end.saturating_add(4) {
            return;
        }
        let sum = crc32(&png[at + 4..end]);
        png[end..end + 4].copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
    let byte = |crc: u32, &byte: &u8| (0..8).fold(crc ^ u32::from(byte), |crc, _| bit(crc));
    !bytes.iter().fold(u32::MAX, byte)
}

#[test]
fn a_damaged_file_is_an_error_or_an_image_within_the_limits() {
    for (format, files) in corpus() {
        let (mut images, mut random) = (0, Random(0x9e37_79b9_7f4a_7c15));
        for round in 0..DAMAGES_PER_FORMAT {
            let (name, whole) = &files[round % files.len()];
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                damage(&mut bytes, &mut random);
            }
            if format == "png" && random.below(4) > 0 {
                with_checksums(&mut bytes);
            }
            match read_image(&bytes, name, &LIMITS) {
                Ok(image) => {
                    let (width, height) = (image.pixels.width(), image.pixels.height());
                    assert!(u64::from(width) * u64::from(height) <= LIMITS.max_pixels);
                    images += 1;
                }
                Err(error) => {
                    let known = [ErrorKind::UnsupportedImage, ErrorKind::LimitExceeded];
                    assert!(known.contains(&error.kind()), "{name}, {round}: {error}");
                    assert!(
                        error.to_string().starts_with(name),
                        "{name}, {round}: {error}"
                    );
                }
            }
        }
        assert!(
            (1..DAMAGES_PER_FORMAT).contains(&images),
            "{format}: {images}"
        );
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(peak < MOST_MEMORY, "{peak} KiB");
    }
}

#[test]
fn the_checksum_is_that_of_png() {
    assert_eq!(crc32(b"IEND"), 0xae42_6082);
}
