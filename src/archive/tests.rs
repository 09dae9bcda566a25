//! Archives give back the records they were made of, bit by bit, and everything else is refused by its name.

use half::f16;
use proptest::prelude::*;
use tar::Header;

use super::*;
use crate::exif::{Exif, Position};
use crate::latent::{Latent, LatentShape};
use crate::quality::{Measured, Quality};
use crate::record::{ChannelError, Coding, EncoderStamp, Source, Tags};
use crate::tile::Tiling;

pub(super) fn record(id: &str) -> Record {
    let shape = LatentShape {
        channels: 2,
        height: 2,
        width: 3,
    };
    // 0, -0, the smallest and the largest subnormals, the largest values.
    let bits = [
        0, 0x8000, 1, 0x8001, 0x03ff, 0x83ff, 0x7bff, 0xfbff, 0x0400, 0x3c00, 0x3555, 0xb555,
    ];
    Record {
        header: RecordHeader {
            id: RecordId::new(id).unwrap(),
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
                name: "b \"\\é\u{7f}\n.png".into(),
                format: "png".into(),
                bytes: u64::MAX,
                blake3: [0xa9; 32],
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
                    max_abs: 0.1,
                    rms: 0.062_5,
                },
                ChannelError::default(),
            ],
            original: false,
            created_ms: 1_800_000_000_123,
            unknown: vec![(0x0777, b"later\0\xff".to_vec()), (0x0100, vec![])],
        },
        latent: Latent::new(shape, bits.map(f16::from_bits).to_vec()).unwrap(),
        alpha: Some((0..23 * 9).map(|at| at as u8).collect()),
        original: None,
    }
}

/// The same record, with the file that it came from.
fn with_original(id: &str, original: &[u8]) -> Record {
    let mut record = record(id);
    record.header.original = true;
    if let Some(source) = &mut record.header.source {
        source.bytes = original.len() as u64;
    }
    record.original = Some(original.to_vec());
    record
}

fn tags() -> Tags {
    let mut tags = Tags::default();
    tags.set("caption", "two lines\nand \"quotes\"").unwrap();
    tags.set("stars", "5").unwrap();
    tags
}

pub(super) fn without_what_version_1_lacked(record: &mut Record) {
    record.header.measured = None;
    record.header.latent_error.clear();
    record.header.tiling = None;
    record.header.exif = Exif::default();
    record.header.tags = Tags::default();
    record.header.alpha = false;
    record.alpha = None;
}

/// A record of which nothing optional is known.
fn bare(id: &str) -> Record {
    let mut record = record(id);
    without_what_version_1_lacked(&mut record);
    record.header.encoder = None;
    record.header.source = None;
    record.header.preparation.clear();
    record.header.created_ms = 0;
    record.header.unknown.clear();
    record
}

pub(super) fn archive(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    let count = write_archive(records.iter().cloned().map(Ok), &mut out).unwrap();
    assert_eq!(count, records.len() as u64);
    out
}

/// A tar of these files, made without a look at them.
pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut entries = EntryWriter::new(&mut out);
    for (name, data) in files {
        entries.append(name, 0, data).unwrap();
    }
    entries.finish().unwrap();
    out
}

/// The two files of a record.
pub(super) fn files(record: &Record) -> (Vec<u8>, Vec<u8>) {
    let tensor = write_latent(&record.clone().into(), LatentFormat::Safetensors);
    (document::write(record).unwrap(), tensor.unwrap())
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Record>> {
    ArchiveReader::new(bytes).collect()
}

/// The chain of messages that says why `bytes` are refused.
#[track_caller]
pub(super) fn refusal(bytes: &[u8]) -> String {
    format!("{:#}", read(bytes).unwrap_err())
}

#[track_caller]
pub(super) fn assert_same(read: &[Record], records: &[Record]) {
    assert_eq!(read.len(), records.len());
    for (read, record) in read.iter().zip(records) {
        assert_eq!(read.to_bytes().unwrap(), record.to_bytes().unwrap());
    }
}

#[test]
fn records_come_back_bit_by_bit_and_give_the_same_archive_again() {
    let long = "é/".repeat(170);
    let mut far = record("later");
    far.header.created_ms = u64::MAX;
    far.header.encoder.as_mut().unwrap().fingerprint = None;
    far.header.encoder.as_mut().unwrap().computed.clear();
    let mut records = vec![
        record("../../a"),
        record("a"),
        bare("a.json"),
        record("a/b"),
        far,
        bare(&"x".repeat(512)),
        record(&long),
    ];
    records.sort_by(|a, b| a.header.id.cmp(&b.header.id));
    let bytes = archive(&records);
    let back = read(&bytes).unwrap();
    assert_same(&back, &records);
    assert!(archive(&back) == bytes);
    assert!(read(&archive(&[])).unwrap().is_empty());
}

#[test]
fn originals_come_back_and_must_be_where_and_as_long_as_they_are_said_to_be() {
    let records = [
        with_original("a", b""),
        with_original("b", b"bytes of a file"),
        record("c"),
    ];
    let bytes = archive(&records);
    assert_same(&read(&bytes).unwrap(), &records);
    let (json, tensor) = files(&records[1]);
    let both = [("b.json", &json[..]), ("b.safetensors", &tensor[..])];
    let with = |third: &[(&str, &[u8])]| refusal(&tar(&[&both[..], third].concat()));
    assert!(with(&[]).contains("has no `b@original` after it"));
    let other = with(&[("b@other", b"bytes of a file")]);
    assert!(other.contains("instead of `b@original`"), "{other}");
    let short = with(&[("b@original", b"bytes")]);
    assert!(short.contains("5 bytes where its JSON says 15"), "{short}");
    let long = with(&[("b@original", b"bytes of a file and more")]);
    assert!(long.contains("b@original"), "{long}");
    let changed = with(&[("b@original", b"bytes of a fil_")]);
    assert!(changed.contains("fails its checksum"), "{changed}");
}

#[test]
fn headers_are_plain_and_say_when_the_record_was_made() {
    let bytes = archive(&[record("a")]);
    let header = Header::from_byte_slice(&bytes[..512]);
    assert!(header.as_ustar().is_some());
    assert_eq!(header.path_bytes(), &b"a.json"[..]);
    assert_eq!(header.mode().unwrap(), 0o644);
    assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
    assert_eq!(header.mtime().unwrap(), 1_800_000_000);
    assert!(bytes.len().is_multiple_of(512));
}

#[test]
fn every_cut_of_an_archive_is_an_error_after_the_records_before_it() {
    let records = [record("a"), bare(&"x".repeat(300))];
    let bytes = archive(&records);
    for length in 0..bytes.len() {
        let read: Vec<_> = ArchiveReader::new(&bytes[..length]).collect();
        let (last, before) = read.split_last().expect("an error at least");
        let error = last.as_ref().expect_err("the archive is cut off");
        assert_eq!(
            error.kind(),
            ErrorKind::Corrupted,
            "cut to {length}: {error:#}"
        );
        assert!(error.to_string().contains("ends early"), "{error:#}");
        for (read, record) in before.iter().zip(&records) {
            assert_eq!(read.as_ref().unwrap(), record);
        }
    }
}

#[test]
fn every_changed_byte_is_an_error_or_changes_nothing() {
    let records = [record("a"), bare(&"x".repeat(300))];
    let bytes = archive(&records);
    let (mut errors, mut harmless) = (0, 0);
    for at in 0..bytes.len() {
        for change in [1 << (at % 8), 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= change;
            let read: Vec<_> = ArchiveReader::new(&damaged[..]).collect();
            let whole: Vec<_> = read.iter().flatten().cloned().collect();
            assert_same(&whole, &records[..whole.len()]);
            if read.iter().any(Result::is_err) {
                errors += 1;
            } else {
                assert_eq!(whole.len(), records.len(), "byte {at}");
                harmless += 1;
            }
        }
    }
    assert!(errors > 0 && harmless > 0, "{errors}, {harmless}");
}

#[test]
fn nothing_comes_after_an_error() {
    let mut reader = ArchiveReader::new(&b"no archive"[..]);
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

#[test]
fn an_archive_that_broke_off_while_it_was_written_has_no_end_mark() {
    let broken = Error::new(ErrorKind::Io, "can't read the store");
    let mut out = Vec::new();
    let error = write_archive([Ok(record("a")), Err(broken)], &mut out).unwrap_err();
    assert_eq!(error.to_string(), "can't read the store");
    assert!(refusal(&out).contains("ends early, after the entry `a.safetensors`"));
}

#[test]
fn a_record_that_contradicts_itself_or_is_too_large_is_not_written() {
    let mut other = record("a");
    other.header.shape.width = 4;
    let error = write_archive([Ok(other)], Vec::new()).unwrap_err();
    assert!(error.to_string().contains("2x2x4"), "{error}");

    let mut large = record("a");
    large.header.unknown = vec![(0x0777, vec![0; 8 << 20])];
    let error = write_archive([Ok(large)], Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

proptest! {
    #[test]
    fn any_record_comes_back(
        id in "\\PC{1,40}",
        texts in prop::array::uniform3(".{0,20}"),
        numbers: [u64; 2],
        hash: Option<[u8; 32]>,
        unknown in prop::collection::vec((0x20u16..0x8000, prop::collection::vec(any::<u8>(), 0..9)), 0..4),
        bits in prop::collection::vec(any::<u16>(), 12),
    ) {
        prop_assume!(RecordId::new(&*id).is_ok());
        let [computed, name, preparation] = texts;
        let mut record = record(&id);
        let header = &mut record.header;
        header.encoder = Some(EncoderStamp { name: "e".into(), fingerprint: hash, computed });
        header.source = hash.map(|blake3| Source { name, format: String::new(), bytes: numbers[0], blake3 });
        header.preparation = preparation;
        header.created_ms = numbers[1];
        header.unknown = unknown;
        let finite = |bits| Some(f16::from_bits(bits)).filter(|v| v.is_finite()).unwrap_or(f16::NEG_ZERO);
        let values = bits.into_iter().map(finite).collect();
        record.latent = Latent::new(header.shape, values).unwrap();
        let bytes = archive(std::slice::from_ref(&record));
        let back = read(&bytes).unwrap();
        prop_assert_eq!(back[0].to_bytes().unwrap(), record.to_bytes().unwrap());
        prop_assert!(archive(&back) == bytes);
    }

    #[test]
    fn damaged_archives_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut: prop::sample::Index,
    ) {
        let mut bytes = archive(&[record("a"), bare("b")]);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(&bytes);
        let _ = read(&bytes[..cut.index(bytes.len())]);
    }
}
