//! Records round trip, and every damaged byte is noticed.

use half::f16;

use super::*;
use crate::exif::{Exif, Position};
use crate::fields::{self, REQUIRED};
use crate::latent::LatentShape;
use crate::quality::{Measured, Quality};
use crate::tile::Tiling;

fn record() -> Record {
    let shape = LatentShape {
        channels: 4,
        height: 2,
        width: 3,
    };
    let values = (0..24i8).map(|i| f16::from_f32(f32::from(i) / 7.0 - 1.0));
    Record {
        header: RecordHeader {
            id: RecordId::new("a/b").unwrap(),
            width: 23,
            height: 9,
            shape,
            latent_space: "tiny-1".into(),
            coding: Coding::Fast,
            alpha: true,
            encoder: Some(EncoderStamp {
                name: "tiny".into(),
                fingerprint: Some([7; 32]),
                computed: "f32 cpu".into(),
            }),
            source: Some(Source {
                name: "b.png".into(),
                format: "png".into(),
                bytes: ORIGINAL.len() as u64,
                blake3: [9; 32],
            }),
            preparation: "resize=23x9".into(),
            tiling: Some(Tiling {
                size: 512,
                overlap: 64,
            }),
            exif: Exif {
                taken: "2026-11-22T10:31:05+01:00".into(),
                camera: "Maker Model 3".into(),
                orientation: 6,
                position: Some(Position {
                    latitude: -33.856_784,
                    longitude: 151.215_297,
                }),
            },
            tags: tags(),
            measured: Some(Measured {
                quality: Quality {
                    ssim: Some(0.912_345_678),
                    ssimulacra2: Some(-3.25),
                    ..Quality::of_psnr(27.123_456_789)
                },
                decoder: "tiny".into(),
            }),
            latent_error: vec![
                ChannelError {
                    max_abs: 0.125,
                    rms: 0.031_25,
                };
                4
            ],
            original: true,
            created_ms: 1_800_000_000_000,
            unknown: vec![],
        },
        latent: Latent::new(shape, values.collect()).unwrap(),
        alpha: Some((0..23 * 9).map(|at| at as u8).collect()),
        original: Some(ORIGINAL.to_vec()),
    }
}

const ORIGINAL: &[u8] = b"not the bytes of a picture, but as good";

fn tags() -> Tags {
    let mut tags = Tags::default();
    tags.set("caption", "two lines\nand = signs").unwrap();
    tags.set("stars", "5").unwrap();
    tags
}

/// The same bytes with another header, under a checksum that fits.
fn with_header(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let bytes = record().to_bytes().unwrap();
    let (header, payload) = split(&bytes, Checksum::Compare).unwrap();
    let mut header = header.to_vec();
    change(&mut header);
    let mut out = bytes[..8].to_vec();
    out.extend_from_slice(&(header.len() as u32).to_le_bytes());
    out.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
    out.extend_from_slice(&XxHash3_64::oneshot(&out).to_le_bytes());
    out
}

#[test]
fn a_record_comes_back_as_it_was() {
    let mut record = record();
    assert_eq!(
        Record::from_bytes(&record.to_bytes().unwrap()).unwrap(),
        record
    );
    // Nothing but the original, then nothing at all.
    record.header.alpha = false;
    record.alpha = None;
    let bytes = record.to_bytes().unwrap();
    assert_eq!(Record::from_bytes(&bytes).unwrap(), record);
    record.header.original = false;
    record.original = None;
    record.header.measured = None;
    record.header.encoder = None;
    record.header.source = None;
    record.header.tiling = None;
    record.header.exif = Exif::default();
    record.header.tags = Tags::default();
    record.header.preparation.clear();
    assert_eq!(
        Record::from_bytes(&record.to_bytes().unwrap()).unwrap(),
        record
    );
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = record().to_bytes().unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let error = Record::from_bytes(&damaged).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn every_truncation_and_every_appended_byte_is_noticed() {
    let mut bytes = record().to_bytes().unwrap();
    for length in 0..bytes.len() {
        let error = Record::from_bytes(&bytes[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "cut to {length}");
    }
    bytes.push(0);
    assert!(Record::from_bytes(&bytes).is_err());
}

#[test]
fn an_unknown_optional_field_is_kept_when_the_record_is_written_again() {
    let bytes = with_header(|header| fields::push(header, 0x0777, b"later"));
    let read = Record::from_bytes(&bytes).unwrap();
    assert_eq!(read.header.unknown, [(0x0777, b"later".to_vec())]);
    assert_eq!(Record::from_bytes(&read.to_bytes().unwrap()).unwrap(), read);
}

#[test]
fn an_unknown_required_field_is_refused_by_number() {
    let bytes = with_header(|header| fields::push(header, REQUIRED | 0x777, b"later"));
    let error = Record::from_bytes(&bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    assert!(error.to_string().contains("0x8777"), "{error}");
}

#[test]
fn a_newer_version_is_refused_by_both_numbers() {
    let mut bytes = record().to_bytes().unwrap();
    bytes[4] = 2;
    let content = bytes.len() - CHECKSUM_BYTES;
    let checksum = XxHash3_64::oneshot(&bytes[..content]);
    bytes[content..].copy_from_slice(&checksum.to_le_bytes());
    let error = Record::from_bytes(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the record has version 2, this program reads version 1"
    );
}

#[test]
fn a_header_without_a_field_that_must_be_there_is_refused_by_its_name() {
    let bytes = with_header(Vec::clear);
    let error = Record::from_bytes(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "the header has no field `image size`");
}

#[test]
fn facts_of_the_longest_names_fit_a_listing() {
    let mut header = record().header;
    header.latent_space = "s".repeat(header::MAX_NAME_BYTES);
    header.encoder.as_mut().unwrap().name = "e".repeat(header::MAX_NAME_BYTES);
    header.check().unwrap();
    let facts = header.to_facts();
    assert!(
        facts.len() <= crate::backend::MAX_FACTS_BYTES,
        "{}",
        facts.len()
    );
    let back = RecordHeader::from_facts(header.id.clone(), &facts).unwrap();
    assert_eq!((back.width, back.height, back.shape), (23, 9, header.shape));
    assert_eq!(back.latent_space, header.latent_space);
    assert_eq!(back.encoder.unwrap().fingerprint, Some([7; 32]));
    assert_eq!(back.source.unwrap().bytes, ORIGINAL.len() as u64);
}

#[test]
fn names_that_a_listing_cannot_show_are_refused() {
    for name in ["", "two words", "line\nbreak", &"x".repeat(49)] {
        let mut record = record();
        record.header.latent_space = name.into();
        assert_eq!(
            record.to_bytes().unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
}

#[test]
fn an_original_must_be_the_source_that_the_header_tells_of() {
    for change in [
        (|record| record.header.original = false) as fn(&mut Record),
        |record| record.original = None,
        |record| record.original = Some(vec![0; 3]),
        |record| record.header.source = None,
    ] {
        let mut record = record();
        change(&mut record);
        let error = record.to_bytes().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("original"), "{error}");
    }
}

#[test]
fn an_original_that_is_said_to_be_longer_than_the_record_is_damage() {
    let record = record();
    let bytes = record.to_bytes().unwrap();
    let (header, payload) = split(&bytes, Checksum::Compare).unwrap();
    for length in [payload.len() as u64 - 7, u64::MAX] {
        let mut payload = payload.to_vec();
        let at = payload.len() - 8;
        payload[at..].copy_from_slice(&length.to_le_bytes());
        let error = Record::of_parts((header, &payload)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
    }
}

#[test]
fn facts_tell_the_quality_and_that_there_is_an_original() {
    let header = record().header;
    let facts = header.to_facts();
    assert!(facts.len() <= 256);
    let listed = RecordHeader::from_facts(header.id.clone(), &facts).unwrap();
    assert!(listed.original && listed.alpha);
    let quality = |header: &RecordHeader| header.measured.as_ref().unwrap().quality;
    assert_eq!(quality(&listed), quality(&header));
}

#[test]
fn a_quality_that_no_image_has_is_refused_and_infinity_is_kept() {
    let mut record = record();
    let mut quality = |quality| {
        if let Some(measured) = &mut record.header.measured {
            measured.quality = quality;
        }
        record.to_bytes()
    };
    let exact = quality(Quality::of_psnr(f64::INFINITY)).unwrap();
    let back = RecordHeader::from_bytes(&exact).unwrap().measured.unwrap();
    assert_eq!(back.quality, Quality::of_psnr(f64::INFINITY));
    assert!(quality(Quality::of_psnr(f64::NAN)).is_err());
    let impossible = Quality {
        ssim: Some(f64::INFINITY),
        ..Quality::of_psnr(30.0)
    };
    assert!(quality(impossible).is_err());
}
