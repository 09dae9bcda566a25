//! Repairing keeps what is whole, resurrects nothing, and says what is lost.

use super::verify::{shown, three_kinds};
use super::*;
use crate::backend::{Repair, RepairOptions};

fn repair(fixture: &Fixture, replace: bool) -> Result<Repair> {
    let options = RepairOptions { to: None, replace };
    let check = &mut |_: &[u8], _: &[u8], _: &[u8]| Ok(());
    LocalBackend::repair(&fixture.path(), &options, check, &mut |_, _, _| ())
}

fn repaired(repair: &Repair) -> BTreeMap<String, Vec<u8>> {
    content(&LocalBackend::open_read_only(&repair.path).unwrap())
}

fn lost(repair: &Repair) -> Vec<&str> {
    let keys = repair.lost.iter().map(|lost| lost.key.as_slice());
    keys.map(|key| std::str::from_utf8(key).unwrap()).collect()
}

/// Names and bytes of all files.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Where the body of a record lies that is `length` times `byte`.
fn body(path: &Path, byte: u8, length: usize) -> usize {
    let bytes = std::fs::read(path).unwrap();
    let found = bytes.windows(length).position(|w| w == vec![byte; length]);
    found.unwrap()
}

#[test]
fn a_sound_store_is_repaired_to_the_same_and_left_as_it_is() {
    let fixture = Fixture {
        folder: tempfile::tempdir().unwrap(),
    };
    let properties = [("encoder".to_owned(), "mine".to_owned())];
    LocalBackend::create_with(&fixture.path(), properties.into()).unwrap();
    let expected = fill(&fixture.open());
    let before = files(&fixture.path());
    let repair = repair(&fixture, false).unwrap();
    assert_eq!(files(&fixture.path()), before);
    assert!(!repair.lost_something());
    assert_eq!(repaired(&repair), expected);
    let new = LocalBackend::open(&repair.path).unwrap();
    assert_eq!(new.property("encoder").as_deref(), Some("mine"));
    let names = fs::names(fixture.folder.path()).unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_damaged_record_is_lost_and_no_older_version_stands_in_for_it() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend
        .commit(vec![put("a", &[1; 80]), put("gone", &[2; 80])])
        .unwrap();
    backend.commit(vec![delete("gone")]).unwrap();
    backend.commit(vec![put("a", &[3; 80])]).unwrap();
    backend.commit(vec![put("b", &[4; 80])]).unwrap();
    drop(backend);
    let at = body(&fixture.segment(1), 3, 80);
    flip(&fixture.segment(1), at);
    let repair = repair(&fixture, false).unwrap();
    assert_eq!(lost(&repair), ["a"]);
    let old = body(&fixture.segment(1), 1, 80) as u64;
    let (file, range) = repair.lost[0].older.clone().unwrap();
    assert_eq!(file, Path::new("segments/00000001.seg"));
    assert!(range.contains(&old));
    assert_eq!(repaired(&repair).keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_record_with_a_damaged_head_is_kept_where_footer_or_index_vouch_for_it() {
    let (fixture, paths) = three_kinds();
    let expected = content(&fixture.reader());
    for path in &paths {
        let whole = std::fs::read(path).unwrap();
        // The last frame's head.
        let at = whole.windows(4).rposition(|w| w == frame::MAGIC).unwrap();
        flip(path, at + 20);
        let repair = repair(&fixture, false).unwrap();
        assert!(!repair.lost_something(), "{:?}", repair.lost);
        assert!(!repair.verification.is_sound());
        assert_eq!(repaired(&repair), expected);
        std::fs::remove_dir_all(&repair.path).unwrap();
        std::fs::write(path, whole).unwrap();
    }
}

#[test]
fn without_an_index_what_an_unreadable_operation_did_is_said_to_be_unknown() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.commit(vec![put("a", &[1; 80])]).unwrap();
    backend.commit(vec![put("b", &[2; 80])]).unwrap();
    let at = std::fs::metadata(fixture.segment(1)).unwrap().len() as usize;
    backend.commit(vec![delete("a")]).unwrap();
    backend.commit(vec![put("c", &[3; 80])]).unwrap();
    drop(backend);
    flip(&fixture.segment(1), at + 10);

    let known = repair(&fixture, false).unwrap();
    assert!(!known.lost_something(), "{:?}", known.unknown);
    assert_eq!(repaired(&known).keys().collect::<Vec<_>>(), ["b", "c"]);
    std::fs::remove_dir_all(&known.path).unwrap();

    std::fs::remove_dir_all(fixture.path().join(INDEX)).unwrap();
    let unknown = repair(&fixture, false).unwrap();
    assert_eq!(unknown.unknown.len(), 1);
    let operation = &unknown.unknown[0];
    assert_eq!(operation.operations, 3..=3);
    assert_eq!(operation.bytes.as_ref().unwrap().start, at as u64);
    assert_eq!(operation.candidate_keys, [b"a", b"b"]);
    assert_eq!(repaired(&unknown).len(), 3);
}

#[test]
fn whatever_byte_is_damaged_nothing_wrong_is_kept_and_all_that_is_missing_is_named() {
    let (fixture, paths) = three_kinds();
    let expected = content(&fixture.reader());
    for path in &paths {
        let whole = std::fs::read(path).unwrap();
        for start in (0..whole.len()).step_by(97) {
            let mut bytes = whole.clone();
            let end = bytes.len().min(start + 40);
            bytes[start..end].fill(0xee);
            std::fs::write(path, bytes).unwrap();
            let repair = repair(&fixture, false).unwrap();
            let kept = repaired(&repair);
            for (key, bytes) in &kept {
                assert_eq!(expected.get(key), Some(bytes), "{start}");
            }
            let named = lost(&repair);
            for key in expected.keys().filter(|key| !kept.contains_key(*key)) {
                assert!(
                    named.contains(&key.as_str()),
                    "{key} at {start}: {:?}",
                    shown(&repair.verification.findings)
                );
            }
            std::fs::remove_dir_all(&repair.path).unwrap();
        }
        std::fs::write(path, whole).unwrap();
    }
}

#[test]
fn a_store_that_is_written_to_is_not_repaired_and_nothing_in_the_way_is_overwritten() {
    let (fixture, _) = three_kinds();
    let backend = fixture.open();
    for replace in [false, true] {
        let error = repair(&fixture, replace).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
    }
    drop(backend);
    for ending in ["repaired", "repaired.partial", "damaged"] {
        let path = fixture.folder.path().join(format!("store.{ending}"));
        std::fs::create_dir(&path).unwrap();
        let error = repair(&fixture, true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(ending), "{error}");
        std::fs::remove_dir(&path).unwrap();
    }
    let names = fs::names(fixture.folder.path()).unwrap();
    assert_eq!(names, ["store"]);
}

#[test]
fn a_repaired_store_takes_the_place_of_the_damaged_one_when_told_to() {
    let (fixture, paths) = three_kinds();
    let expected = content(&fixture.reader());
    let text = "{";
    std::fs::write(fixture.path().join(store_file::NAME), text).unwrap();
    let repair = repair(&fixture, true).unwrap();
    assert_eq!(repair.path, fixture.path());
    assert_eq!(content(&fixture.open()), expected);
    let damaged = repair.damaged.unwrap();
    assert_eq!(damaged, fixture.folder.path().join("store.damaged"));
    let file = damaged.join(SEGMENTS).join(paths[0].file_name().unwrap());
    assert!(file.exists());
    assert_eq!(
        std::fs::read_to_string(damaged.join(store_file::NAME)).unwrap(),
        text
    );
}

#[test]
fn an_item_that_is_wrong_under_a_valid_frame_is_lost_and_named() {
    let (fixture, _) = three_kinds();
    let check = &mut |key: &[u8], _: &[u8], _: &[u8]| match key {
        b"new4" => Err(Error::corrupted("it is wrong")),
        _ => Ok(()),
    };
    let options = RepairOptions::default();
    let repair = LocalBackend::repair(&fixture.path(), &options, check, &mut |_, _, _| ());
    let repair = repair.unwrap();
    assert_eq!(lost(&repair), ["new4"]);
    assert!(
        repair.lost[0].why.starts_with("it is wrong"),
        "{:?}",
        repair.lost
    );
}

#[test]
fn items_that_a_newer_version_wrote_are_whole_and_kept() {
    let (fixture, _) = three_kinds();
    let expected = content(&fixture.reader());
    let check = &mut |_: &[u8], _: &[u8], _: &[u8]| {
        let what = "the record has version 7, this program reads version 1";
        Err(Error::new(ErrorKind::UnsupportedVersion, what))
    };
    let found = LocalBackend::verify(&fixture.path(), check, &mut |_, _| ()).unwrap();
    assert!(found.is_sound());
    assert!(found.notes[0].contains("version 7"), "{:?}", found.notes);
    let options = RepairOptions::default();
    let repair = LocalBackend::repair(&fixture.path(), &options, check, &mut |_, _, _| ());
    let repair = repair.unwrap();
    assert!(!repair.lost_something());
    assert_eq!(repaired(&repair), expected);
}
