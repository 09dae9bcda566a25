//! Compaction: the space comes back, and nothing else changes for anybody.

use super::*;

fn compact(backend: &LocalBackend) -> crate::backend::Compaction {
    backend.compact(&mut |_, _| ()).unwrap()
}

fn without_index(fixture: &Fixture) -> Fixture {
    let copy = fixture.killed();
    std::fs::remove_dir_all(copy.path().join(INDEX)).unwrap();
    copy
}

#[test]
fn compaction_gives_the_space_back_and_changes_no_answer() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    let reader = fixture.reader();
    let expected = fill(&backend);
    reader.refresh().unwrap();
    let before = backend.disk_bytes().unwrap();
    let done = compact(&backend);
    let after = backend.disk_bytes().unwrap();
    assert_eq!(done.bytes_before - done.bytes_after, before - after);
    let live: usize = expected.values().map(|bytes| bytes.len() + 150).sum();
    assert!(
        after < live as u64 * 3 / 2 && after < before,
        "{before} {after} {live}"
    );

    assert_eq!(content(&backend), expected);
    assert_eq!(content(&reader), expected, "opened before");
    assert_eq!(content(&fixture.reader()), expected, "opened after");
    assert_eq!(content(&fixture.killed().open()), expected, "killed");
    assert_eq!(content(&without_index(&fixture).open()), expected);
    drop(backend);
    assert_eq!(content(&fixture.open()), expected);
    assert_eq!(compact(&fixture.open()).files, 0, "nothing is left to do");
}

#[test]
fn writing_goes_on_after_compaction_and_all_of_it_survives_a_rebuild() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    fill(&backend);
    compact(&backend);
    let mut expected = content(&backend);
    for round in 0..3u8 {
        for n in 0..20u8 {
            let (key, bytes) = (format!("key{:02}", n % 12), vec![n ^ round; 170]);
            backend.commit(vec![put(&key, &bytes)]).unwrap();
            expected.insert(key, bytes);
        }
        backend.commit(vec![delete("key03")]).unwrap();
        expected.remove("key03");
        compact(&backend);
        assert_eq!(content(&without_index(&fixture).open()), expected);
    }
}

#[test]
fn a_delete_is_kept_as_long_as_an_older_segment_holds_what_it_deletes() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    // The oldest segment: nearly all of it stays in use, so that it isn't rewritten.
    backend.commit(vec![put("gone", b"x")]).unwrap();
    backend.commit(vec![put("stays", &[1; 1700])]).unwrap();
    // The second: the delete among garbage.
    backend
        .commit(vec![put("churn", &[2; 500]), delete("gone")])
        .unwrap();
    for n in 0..4 {
        backend.commit(vec![put("churn", &[n; 500])]).unwrap();
    }
    assert!(compact(&backend).files > 0);
    assert!(fixture.segment(1).exists(), "the oldest was not touched");
    for opened in [without_index(&fixture).open(), fixture.reader()] {
        assert_eq!(opened.get(b"gone").unwrap(), None);
        assert_eq!(opened.get(b"stays").unwrap().unwrap().bytes, [1; 1700]);
        assert_eq!(opened.get(b"churn").unwrap().unwrap().bytes, [3; 500]);
    }
}

#[test]
fn a_store_whose_records_are_all_deleted_takes_next_to_nothing() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    for n in 0..60 {
        let key = format!("{n}");
        backend.commit(vec![put(&key, &[7; 300])]).unwrap();
    }
    for n in 0..60 {
        backend.commit(vec![delete(&format!("{n}"))]).unwrap();
    }
    compact(&backend);
    // Deletes that had to stay for the sake of older segments go with those.
    compact(&backend);
    assert!(
        backend.disk_bytes().unwrap() < 1500,
        "{}",
        backend.disk_bytes().unwrap()
    );
    assert!(content(&without_index(&fixture).open()).is_empty());
}

#[test]
fn small_segments_are_put_together() {
    let fixture = Fixture::new();
    for n in 0..6 {
        let backend = fixture.open();
        backend
            .commit(vec![put(&format!("{n}"), &[n; 100])])
            .unwrap();
        let Role::Writer(writer) = &backend.role else {
            unreachable!("opened for writing")
        };
        let sealed = writer::locked(&writer.log).seal().unwrap();
        writer.add_segments(&writer::locked(&writer.log), sealed);
    }
    let backend = fixture.open();
    assert_eq!(compact(&backend).files, 6);
    assert_eq!(content(&backend).len(), 6);
    let files = fs::names(&fixture.path().join(SEGMENTS)).unwrap();
    assert_eq!(files.len(), 1);
}

#[test]
fn what_a_kill_left_of_compacted_segments_is_ignored_and_removed() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    let expected = fill(&backend);
    let before = fixture.killed();
    compact(&backend);
    // As if it had been killed between the commit and the removal of what was replaced.
    let killed = fixture.killed();
    for name in fs::names(&before.path().join(SEGMENTS)).unwrap() {
        let target = killed.path().join(SEGMENTS).join(&name);
        if !target.exists() {
            std::fs::copy(before.path().join(SEGMENTS).join(&name), target).unwrap();
        }
    }
    std::fs::write(killed.path().join(SEGMENTS).join(".9.seg.1-0.tmp"), b"half").unwrap();
    assert_eq!(content(&killed.reader()), expected);
    // The index of before the commit is no longer of use, and is made anew.
    std::fs::remove_dir_all(killed.path().join(INDEX)).unwrap();
    copy_folder(&before.path().join(INDEX), &killed.path().join(INDEX));
    assert_eq!(content(&killed.open()), expected);
    let left = fs::names(&killed.path().join(SEGMENTS)).unwrap();
    assert_eq!(
        left.len(),
        fs::names(&fixture.path().join(SEGMENTS)).unwrap().len()
    );
}

#[test]
fn a_compacted_segment_that_lost_its_end_is_damage() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    fill(&backend);
    compact(&backend);
    drop(backend);
    let name = fs::names(&fixture.path().join(SEGMENTS))
        .unwrap()
        .into_iter()
        .max()
        .unwrap();
    let path = fixture.path().join(SEGMENTS).join(name);
    let whole = std::fs::read(&path).unwrap();
    for length in [whole.len() / 2, whole.len() - 600] {
        std::fs::write(&path, &whole[..length]).unwrap();
        for opened in [
            LocalBackend::open(&fixture.path()),
            LocalBackend::open_read_only(&fixture.path()),
        ] {
            assert_eq!(
                opened.err().unwrap().kind(),
                ErrorKind::Corrupted,
                "cut to {length}"
            );
        }
    }
}

#[test]
fn a_damaged_record_stops_compaction_and_loses_nothing() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    let expected = fill(&backend);
    let (key, bytes) = expected.iter().next().unwrap();
    let names = fs::names(&fixture.path().join(SEGMENTS)).unwrap();
    let paths = names.iter().map(|n| fixture.path().join(SEGMENTS).join(n));
    let holds = |path: &PathBuf| {
        let file = std::fs::read(path).unwrap();
        file.windows(bytes.len()).any(|w| w == bytes)
    };
    let path = paths.into_iter().find(holds).unwrap();
    let mut file = std::fs::read(&path).unwrap();
    let at = file.windows(bytes.len()).position(|w| w == bytes).unwrap();
    file[at] ^= 1;
    std::fs::write(&path, file).unwrap();
    let error = backend.compact(&mut |_, _| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(
        error.to_string().contains(&format!("record `{key}`")),
        "{error}"
    );
    for (other, bytes) in expected.iter().filter(|(other, _)| *other != key) {
        assert_eq!(
            &backend.get(other.as_bytes()).unwrap().unwrap().bytes,
            bytes
        );
    }
    backend.commit(vec![put("after", b"1")]).unwrap();
    let names = fs::names(&fixture.path().join(SEGMENTS)).unwrap();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().ends_with(".tmp"))
    );
}

#[test]
fn churn_is_compacted_by_itself_unless_that_is_turned_off() {
    let churned = |automatic_compaction: bool| {
        let fixture = Fixture::new();
        let set = Settings {
            options: OpenOptions {
                automatic_compaction,
            },
            ..settings()
        };
        let backend = LocalBackend::open_set(&fixture.path(), &set).unwrap();
        for n in 0..200u8 {
            let key = format!("key{:02}", n % 8);
            backend.commit(vec![put(&key, &[n; 200])]).unwrap();
        }
        let expected = content(&backend);
        assert_eq!(content(&without_index(&fixture).open()), expected);
        backend.disk_bytes().unwrap()
    };
    let (with, without) = (churned(true), churned(false));
    assert!(with * 5 < without, "{with} {without}");
    assert!(
        with < 10_000,
        "{with}: 8 records of 250 bytes live, segments of 2,000"
    );
}
