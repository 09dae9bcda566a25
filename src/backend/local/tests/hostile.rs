//! Files whose checksums are right and whose lengths lie: nothing is allocated or read on their word.

use twox_hash::XxHash3_64;

use super::sim_image::Image;
use super::workload::{Content, Rig, assert_same};
use super::*;
use frame::{Head, Kind};
use segment::{Compacted, Location};

/// More than any machine has.
const HUGE: u64 = 1 << 60;

fn segment_at(rig: &Rig, number: u32) -> (PathBuf, Segment) {
    let path = Path::new(SEGMENTS).join(segment::file_name(number));
    let file = rig.medium().open(&rig.path().join(&path), Access::Read);
    (path, Segment::open(file.unwrap(), number).unwrap())
}

/// A store of a sealed and an active segment.
fn store() -> (Rig, Content) {
    let rig = Rig::new();
    let store = rig.open().unwrap();
    store.commit(vec![put("a", &[1; 1900])]).unwrap();
    store.commit(vec![put("b", &[2; 100])]).unwrap();
    let held = content(&store);
    drop(store);
    (rig, held)
}

fn with(rig: &Rig, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Image {
    let image = rig.disk.image();
    let mut bytes = image.files().remove(path).unwrap();
    change(&mut bytes);
    image.with(path, bytes)
}

#[test]
fn a_frame_with_a_huge_body_at_the_end_of_the_log_is_a_torn_write() {
    let (rig, held) = store();
    for length in [HUGE, u64::MAX, u64::MAX - 60, 1 << 45, 5000] {
        let (path, segment) = segment_at(&rig, 2);
        let image = with(&rig, &path, |bytes| {
            let seed = segment.seed_at(bytes.len() as u64);
            let lie = Head {
                kind: Kind::Put,
                unsynced: 0,
                last: true,
                sequence: 3,
                key: b"c".to_vec(),
                facts: Vec::new(),
                body_len: 0,
            };
            let mut frame = Vec::new();
            lie.write(seed, b"", &mut frame);
            frame[16..24].copy_from_slice(&length.to_le_bytes());
            let checksum = XxHash3_64::oneshot_with_seed(seed, &frame[..33]);
            frame[33..41].copy_from_slice(&checksum.to_le_bytes());
            bytes.extend(frame);
        });
        let rig = Rig::of(image, None);
        assert_same(&content(&rig.reader().unwrap()), &held, "a reader");
        let store = rig.open().unwrap();
        assert_same(&content(&store), &held, "a writer");
        assert!(store.recovered().is_some());
    }
}

#[test]
fn a_footer_that_names_huge_frames_makes_their_records_damaged() {
    let (rig, _) = store();
    for (offset, frame_len) in [
        (68, HUGE),
        (HUGE, 100),
        (u64::MAX - 10, 100),
        (68, u64::MAX),
        (68, 0),
        (68, 10),
    ] {
        let (path, segment) = segment_at(&rig, 1);
        let footer = footer::Footer::open(&Arc::new(segment)).unwrap().unwrap();
        let image = with(&rig, &path, |bytes| {
            bytes.truncate(footer.start as usize);
            let location = Location {
                segment: 1,
                offset,
                frame_len,
                sequence: 1,
            };
            let latest = Latest {
                kind: Kind::Put,
                location,
                facts: Vec::new(),
            };
            let key = b"a".to_vec();
            bytes.extend(footer::write(
                footer.start,
                1,
                [(&key, &latest)].into_iter(),
            ));
        });
        let rig = Rig::of(image, None);
        for opened in [rig.reader(), rig.open()] {
            let store = opened.unwrap();
            let error = store.get(b"a").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted, "{error:?}");
            assert_eq!(store.get(b"b").unwrap().unwrap().bytes, [2; 100]);
        }
    }
}

#[test]
fn a_compacted_segment_that_claims_huge_numbers_does_no_harm() {
    let (rig, _) = store();
    let (_, first) = segment_at(&rig, 1);
    for number in [HUGE, u64::MAX] {
        let header = Header {
            number: 3,
            compacted: Some(Compacted {
                last_sequence: 1,
                frames: number,
                retained: number,
            }),
            ..first.header
        };
        let rig = Rig::of(rig.disk.image(), None);
        Segment::create(&rig.medium(), &rig.path().join(SEGMENTS), header).unwrap();
        // Without a footer its frames are counted.
        let error = rig.open().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error:?}");
        let path = rig.path().join(SEGMENTS).join(segment::file_name(3));
        let file = rig.medium().open(&path, Access::Write).unwrap();
        let end = file.len().unwrap();
        file.write_at(&footer::write(end, 1, std::iter::empty()), end)
            .unwrap();
        let store = rig.open().unwrap();
        assert_eq!(store.get(b"b").unwrap().unwrap().bytes, [2; 100]);
        store.commit(vec![delete("b")]).unwrap();
        store.compact(&mut |_, _| ()).unwrap();
    }
}
