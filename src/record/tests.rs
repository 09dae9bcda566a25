//! Records round trip, and every damaged byte is noticed.

use half::f16;

use super::*;
use crate::exif::{Exif, Position};
use crate::fields::{self, REQUIRED};
use crate::latent::LatentShape;
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
                bytes: 1234,
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
            created_ms: 1_800_000_000_000,
            unknown: vec![],
        },
        latent: Latent::new(shape, values.collect()).unwrap(),
        alpha: Some((0..23 * 9).map(|at| at as u8).collect()),
    }
}

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
    record.header.encoder = None;
    record.header.source = None;
    record.header.tiling = None;
    record.header.exif = Exif::default();
    record.header.tags = Tags::default();
    record.header.alpha = false;
    record.alpha = None;
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
    assert_eq!(back.source.unwrap().bytes, 1234);
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
