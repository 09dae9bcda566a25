//! Damage of every kind is found, told by name and place, and hides nothing behind it.

use super::*;
use crate::backend::{Damage, Finding, Standing, Verification};

pub(super) fn verify(fixture: &Fixture) -> Verification {
    LocalBackend::verify(&fixture.path(), &mut |_, _, _| Ok(()), &mut |_, _| ()).unwrap()
}

/// A store with a compacted, a sealed and an active segment, closed in order.
pub(super) fn three_kinds() -> (Fixture, Vec<PathBuf>) {
    let fixture = Fixture::new();
    let backend = fixture.open();
    for n in 0..8u8 {
        let key = format!("old{}", n % 5);
        backend.commit(vec![put(&key, &[n; 200])]).unwrap();
    }
    backend.commit(vec![delete("old1")]).unwrap();
    backend.compact(&mut |_, _| ()).unwrap();
    for n in 0..9u8 {
        let key = format!("new{}", n % 7);
        let batch = vec![put(&key, &[n; 150]), put("both", &[n; 20])];
        backend.commit(batch).unwrap();
    }
    drop(backend);
    let names = fs::names(&fixture.path().join(SEGMENTS)).unwrap();
    let mut paths: Vec<_> = names
        .iter()
        .map(|name| fixture.path().join(SEGMENTS).join(name))
        .collect();
    paths.sort();
    let open = |path: &PathBuf| {
        let number = segment::number_of(path.file_name().unwrap().to_str().unwrap());
        let file = Medium::system().open(path, Access::Read).unwrap();
        Arc::new(Segment::open(file, number.unwrap()).unwrap())
    };
    let kinds = paths.iter().map(|path| {
        let segment = open(path);
        let footer = footer::Footer::open(&segment).unwrap();
        (segment.header.compacted.is_some(), footer.is_some())
    });
    let kinds: Vec<_> = kinds.collect();
    for kind in [(true, true), (false, true), (false, false)] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    (fixture, paths)
}

pub(super) fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_store_of_all_kinds_of_segments_is_sound() {
    let (fixture, paths) = three_kinds();
    let verification = verify(&fixture);
    assert!(
        verification.is_sound(),
        "{:?}",
        shown(&verification.findings)
    );
    assert_eq!(verification.notes, Vec::<String>::new());
    assert_eq!(verification.segments, paths.len() as u64);
    assert_eq!(
        verification.records,
        content(&fixture.reader()).len() as u64
    );
    let sizes = paths
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().len());
    assert_eq!(verification.bytes, sizes.sum::<u64>());
}

#[test]
fn every_flipped_byte_of_every_segment_is_found_in_its_file() {
    let (fixture, paths) = three_kinds();
    for path in &paths {
        let whole = std::fs::read(path).unwrap();
        let file = Path::new(SEGMENTS).join(path.file_name().unwrap());
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(path, bytes).unwrap();
            let found = verify(&fixture);
            let here = found.findings.iter().filter(|f| f.file == file).count();
            assert!(here > 0, "byte {at} of {}", file.display());
            assert_eq!(
                found.findings.len(),
                1,
                "{at}: {:?}",
                shown(&found.findings)
            );
            let finding = &found.findings[0];
            let inside = |r: &std::ops::Range<u64>| r.contains(&(at as u64));
            let place = finding.bytes.as_ref().is_none_or(inside);
            assert!(place, "{at}: {:?}", shown(&found.findings));
            assert!(
                found.damaged_records <= 1,
                "{at}: {:?}",
                shown(&found.findings)
            );
        }
        std::fs::write(path, whole).unwrap();
    }
    assert!(verify(&fixture).is_sound());
}

#[test]
fn every_truncation_of_every_segment_is_found() {
    let (fixture, paths) = three_kinds();
    for path in &paths {
        let whole = std::fs::read(path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(path, &whole[..length]).unwrap();
            assert!(
                !verify(&fixture).is_sound(),
                "{} cut to {length}",
                path.display()
            );
        }
        std::fs::write(path, whole).unwrap();
    }
}

#[test]
fn a_segment_that_is_lost_is_missed_whichever_it_is() {
    let (fixture, paths) = three_kinds();
    for path in &paths {
        let whole = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        let found = verify(&fixture);
        assert_eq!(found.findings.len(), 1, "{:?}", shown(&found.findings));
        assert_eq!(found.findings[0].damage, Damage::Missing);
        std::fs::write(path, whole).unwrap();
    }
}

#[test]
fn a_damaged_record_is_named_from_its_head_or_the_footer_and_known_to_be_live_or_not() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.commit(vec![put("twice", &[1; 300])]).unwrap();
    backend.commit(vec![put("once", &[2; 300])]).unwrap();
    backend.commit(vec![put("twice", &[3; 300])]).unwrap();
    for n in 0..9 {
        backend
            .commit(vec![put(&format!("n{n}"), &[9; 300])])
            .unwrap();
    }
    drop(backend);
    let whole = std::fs::read(fixture.segment(1)).unwrap();
    let body = |byte: u8| whole.windows(300).position(|w| w == [byte; 300]).unwrap();
    // A body, and the head before it.
    for (byte, key, operation, standing) in [
        (1, "twice", 1, Standing::Superseded),
        (2, "once", 2, Standing::Live),
        (3, "twice", 3, Standing::Live),
    ] {
        for at in [body(byte) + 100, body(byte) - 20] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(fixture.segment(1), bytes).unwrap();
            let found = verify(&fixture);
            assert_eq!(found.findings.len(), 1, "{:?}", shown(&found.findings));
            let finding = &found.findings[0];
            let head = at < body(byte);
            if head && standing == Standing::Superseded {
                // The footer names only the newest of each key, and so says that nobody misses it.
                assert_eq!((finding.affected.len(), &finding.unnamed), (0, &None));
                continue;
            }
            assert_eq!(finding.affected.len(), 1);
            let affected = &finding.affected[0];
            assert_eq!(affected.key, key.as_bytes());
            assert_eq!(
                (affected.operation, affected.standing),
                (operation, standing)
            );
            let damaged = u64::from(standing == Standing::Live);
            assert_eq!(found.damaged_records, damaged);
        }
    }
}

#[test]
fn a_bad_sector_hides_only_what_lies_in_it() {
    let (fixture, paths) = three_kinds();
    let all = verify(&fixture);
    for path in &paths {
        let whole = std::fs::read(path).unwrap();
        for start in (0..whole.len()).step_by(128) {
            let mut bytes = whole.clone();
            let end = bytes.len().min(start + 128);
            bytes[start..end].fill(0xee);
            std::fs::write(path, bytes).unwrap();
            let found = verify(&fixture);
            assert!(!found.is_sound());
            // The header of a compacted segment can't be made up; of others it can.
            let compacted = start == 0 && all.frames > found.frames + 3;
            assert!(
                compacted || all.frames - found.frames <= 3,
                "{start}: {:?}",
                shown(&found.findings)
            );
        }
        std::fs::write(path, whole).unwrap();
    }
}

#[test]
fn a_torn_write_is_a_note_unless_something_says_that_it_was_synced() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.commit(vec![put("kept", b"acknowledged")]).unwrap();
    let before = std::fs::metadata(fixture.segment(1)).unwrap().len();
    backend
        .commit(vec![put("a", &[7; 60]), put("b", &[8; 60])])
        .unwrap();
    let whole = std::fs::read(fixture.segment(1)).unwrap();
    let killed = fixture.killed();
    for end in before as usize + 1..whole.len() {
        std::fs::write(killed.segment(1), &whole[..end]).unwrap();
        let found = verify(&killed);
        assert!(found.is_sound(), "{end}: {:?}", shown(&found.findings));
        assert_eq!(
            (found.notes.len(), found.records, found.damaged_records),
            (1, 1, 0)
        );
    }
    // A later batch was written after the sync of the one before.
    backend.commit(vec![put("c", b"later")]).unwrap();
    let mut bytes = std::fs::read(fixture.segment(1)).unwrap();
    bytes[before as usize + 10] ^= 1;
    std::fs::write(killed.segment(1), &bytes).unwrap();
    let found = verify(&killed);
    assert_eq!(found.findings.len(), 1, "{:?}", shown(&found.findings));
    assert_eq!(found.findings[0].unnamed, Some(2..=2));
    assert_eq!(found.frames, 3);
}

#[test]
fn what_is_no_damage_is_noted_and_what_belongs_elsewhere_is_found() {
    let (fixture, paths) = three_kinds();
    let folder = fixture.path().join(SEGMENTS);
    std::fs::write(folder.join(".00000009.seg.1-0.tmp"), b"left").unwrap();
    std::fs::write(folder.join("notes.txt"), b"mine").unwrap();
    let found = verify(&fixture);
    assert!(found.is_sound());
    assert_eq!(found.notes.len(), 2, "{:?}", found.notes);

    let other = Fixture::new();
    fill(&other.open());
    std::fs::copy(other.segment(1), folder.join(segment::file_name(77))).unwrap();
    std::fs::rename(&paths[0], folder.join(segment::file_name(78))).unwrap();
    let found = verify(&fixture);
    let misplaced = found
        .findings
        .iter()
        .filter(|f| f.damage == Damage::Misplaced);
    assert_eq!(misplaced.count(), 2, "{:?}", shown(&found.findings));
    assert_eq!(found.damaged_records, 0);
}

#[test]
fn a_store_that_can_not_be_opened_is_looked_through_and_not_changed() {
    let (fixture, _) = three_kinds();
    for text in [None, Some("{ \"format\": ")] {
        match text {
            None => std::fs::remove_file(fixture.path().join(store_file::NAME)).unwrap(),
            Some(text) => std::fs::write(fixture.path().join(store_file::NAME), text).unwrap(),
        }
        let before = verify(&fixture);
        assert_eq!(before.findings.len(), 1, "{:?}", shown(&before.findings));
        assert_eq!(before.findings[0].damage, Damage::StoreFile);
        assert!(before.records > 5 && before.damaged_records == 0);
    }
    let nothing = tempfile::tempdir().unwrap();
    let none = LocalBackend::verify(nothing.path(), &mut |_, _, _| Ok(()), &mut |_, _| ());
    assert_eq!(none.unwrap_err().kind(), ErrorKind::StoreNotFound);
}

#[test]
fn an_item_that_is_wrong_under_a_valid_frame_is_found_when_asked_for() {
    let (fixture, _) = three_kinds();
    let mut asked = 0;
    let mut check = |key: &[u8], facts: &[u8], body: &[u8]| {
        assert_eq!(facts, key.to_ascii_uppercase());
        asked += 1;
        match body.first() {
            Some(8) => Err(Error::corrupted("eights are wrong")),
            _ => Ok(()),
        }
    };
    let found = LocalBackend::verify(&fixture.path(), &mut check, &mut |_, _| ()).unwrap();
    assert!(asked > 10);
    let wrong: Vec<_> = found
        .findings
        .iter()
        .map(|f| (f.damage, f.what.as_str()))
        .collect();
    assert_eq!(wrong, [(Damage::Item, "eights are wrong"); 2]);
    assert_eq!(found.damaged_records, 2);
}

#[test]
fn verifying_beside_a_writer_that_compacts_finds_nothing() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..12 {
                fill(&backend);
                if round % 3 == 0 {
                    backend.compact(&mut |_, _| ()).unwrap();
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let found = verify(&fixture);
            assert!(found.is_sound(), "{:?}", shown(&found.findings));
        }
    });
    assert!(verify(&fixture).is_sound());
}

#[test]
fn a_store_without_segments_is_damaged() {
    let (fixture, _) = three_kinds();
    std::fs::remove_dir_all(fixture.path().join(SEGMENTS)).unwrap();
    for _ in 0..2 {
        let found = verify(&fixture);
        let damage: Vec<_> = found.findings.iter().map(|f| f.damage).collect();
        assert_eq!(damage, [Damage::Missing; 2], "{:?}", shown(&found.findings));
        assert_eq!(found.findings[1].unnamed, Some(1..=27));
        let _ = std::fs::create_dir(fixture.path().join(SEGMENTS));
    }
}

#[test]
fn what_says_that_the_log_was_closed_is_checked_too() {
    let (fixture, paths) = three_kinds();
    let closed = fixture.path().join(checkpoint::CLOSED);
    let whole = std::fs::read(&closed).unwrap();
    let mut bytes = whole.clone();
    bytes[40] ^= 1;
    std::fs::write(&closed, bytes).unwrap();
    let found = verify(&fixture);
    let damage: Vec<_> = found.findings.iter().map(|f| f.damage).collect();
    assert_eq!(damage, [Damage::Closed]);
    std::fs::write(&closed, whole).unwrap();
    // Behind the end of a log that was closed in order nothing can be under way.
    let active = paths.last().unwrap();
    let mut bytes = std::fs::read(active).unwrap();
    bytes.extend_from_slice(b"more");
    std::fs::write(active, bytes).unwrap();
    let found = verify(&fixture);
    let damage: Vec<_> = found.findings.iter().map(|f| f.damage).collect();
    assert_eq!(damage, [Damage::Tail], "{:?}", shown(&found.findings));
    std::fs::remove_file(closed).unwrap();
    let found = verify(&fixture);
    assert_eq!((found.findings.len(), found.notes.len()), (0, 1));
}
