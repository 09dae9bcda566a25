//! The store in a folder: what survives a crash, what damage does, who sees what.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::backend::Mode;

/// Small enough that a few records fill a segment.
const SEGMENT: u64 = 2000;

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        LocalBackend::create(&fixture.path()).unwrap();
        fixture
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn open(&self) -> LocalBackend {
        LocalBackend::open_with(&self.path(), SEGMENT).unwrap()
    }

    fn reader(&self) -> LocalBackend {
        LocalBackend::open_read_only(&self.path()).unwrap()
    }

    fn segment(&self, number: u32) -> PathBuf {
        self.path().join(SEGMENTS).join(segment::file_name(number))
    }

    /// The store as a killed process leaves it: a copy taken while the writer is at work.
    fn killed(&self) -> Fixture {
        let copy = Fixture {
            folder: tempfile::tempdir().unwrap(),
        };
        copy_folder(&self.path(), &copy.path());
        copy
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn put(key: &str, bytes: &[u8]) -> Operation {
    Operation::Put {
        key: key.into(),
        bytes: bytes.to_vec(),
        facts: key.to_uppercase().into(),
        mode: Mode::Replace,
    }
}

fn delete(key: &str) -> Operation {
    Operation::Delete { key: key.into() }
}

fn content(backend: &LocalBackend) -> BTreeMap<String, Vec<u8>> {
    let entries = backend.scan(b"", b"").map(Result::unwrap);
    let read = |entry: Entry| {
        let bytes = backend.get(&entry.key).unwrap().unwrap().bytes;
        assert_eq!(backend.entry(&entry.key).unwrap().unwrap(), entry);
        (String::from_utf8(entry.key).unwrap(), bytes)
    };
    entries.map(read).collect()
}

/// Puts, replaces and deletes over several segments; returns what must be there.
fn fill(backend: &LocalBackend) -> BTreeMap<String, Vec<u8>> {
    let mut expected = BTreeMap::new();
    for n in 0..40u8 {
        let (key, bytes) = (format!("key{:02}", n % 15), vec![n; 150 + usize::from(n)]);
        backend.apply(vec![put(&key, &bytes)]).unwrap();
        expected.insert(key, bytes);
        if n % 7 == 6 {
            let key = format!("key{:02}", (n / 2) % 15);
            if expected.remove(&key).is_some() {
                backend.apply(vec![delete(&key)]).unwrap();
            }
        }
    }
    expected
}

#[test]
fn everything_is_there_after_reopening_whether_closed_in_order_or_killed() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    let expected = fill(&backend);
    assert_eq!(content(&backend), expected);
    let killed = fixture.killed();
    drop(backend);
    assert_eq!(content(&fixture.open()), expected);
    assert_eq!(content(&killed.open()), expected);
    assert_eq!(content(&killed.reader()), expected);
    assert!(fixture.segment(4).exists(), "several segments were filled");
}

#[test]
fn an_index_that_is_missing_older_or_garbage_gives_the_same_answers() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend
        .apply(vec![put("old", b"1"), put("key00", b"2")])
        .unwrap();
    drop(backend);
    let older = fixture.killed();
    let mut expected = fill(&fixture.open());
    expected.insert("old".into(), b"1".to_vec());
    let index = fixture.path().join(INDEX);

    std::fs::remove_dir_all(&index).unwrap();
    assert_eq!(content(&fixture.open()), expected, "missing");

    std::fs::remove_dir_all(&index).unwrap();
    copy_folder(&older.path().join(INDEX), &index);
    assert_eq!(content(&fixture.open()), expected, "older");

    for name in fs::names(&index).unwrap() {
        let path = index.join(name);
        if path.is_file() {
            std::fs::write(path, b"garbage, garbage, garbage").unwrap();
        }
    }
    assert_eq!(content(&fixture.open()), expected, "garbage");
}

#[test]
fn an_index_of_another_store_is_not_believed() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let expected = fill(&one.open());
    other.open().apply(vec![put("foreign", b"x")]).unwrap();
    let index = one.path().join(INDEX);
    std::fs::remove_dir_all(&index).unwrap();
    copy_folder(&other.path().join(INDEX), &index);
    assert_eq!(content(&one.open()), expected);
}

#[test]
fn a_write_cut_short_at_any_byte_is_moved_to_lost_and_nothing_else_is() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.apply(vec![put("kept", b"acknowledged")]).unwrap();
    let before = fixture.killed();
    let start = std::fs::metadata(before.segment(1)).unwrap().len();
    backend
        .apply(vec![
            put("a", b"torn"),
            put("b", b"as well"),
            delete("kept"),
        ])
        .unwrap();
    let whole = std::fs::read(fixture.segment(1)).unwrap();
    for end in start as usize + 1..whole.len() {
        let cut = before.killed();
        std::fs::write(cut.segment(1), &whole[..end]).unwrap();
        let opened = cut.open();
        assert_eq!(
            content(&opened),
            [("kept".to_owned(), b"acknowledged".to_vec())].into()
        );
        assert!(
            opened.recovered().unwrap().contains("never acknowledged"),
            "cut at {end}"
        );
        let lost = fs::names(&cut.path().join(LOST)).unwrap();
        let lost = std::fs::read(cut.path().join(LOST).join(&lost[0])).unwrap();
        assert_eq!(lost, &whole[start as usize..end]);
        opened.apply(vec![put("c", b"goes on")]).unwrap();
        drop(opened);
        assert_eq!(cut.open().recovered(), None);
    }
}

#[test]
fn a_torn_body_in_the_middle_of_an_unsynced_batch_is_a_torn_write() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.apply(vec![put("kept", b"acknowledged")]).unwrap();
    let before = fixture.killed();
    backend
        .apply(vec![put("a", &[7; 600]), put("b", &[8; 600])])
        .unwrap();
    let whole = std::fs::read(fixture.segment(1)).unwrap();
    let body = whole.windows(600).position(|w| w == [7; 600]).unwrap();
    // As a disk leaves it that wrote the second half of a batch and not the first.
    for range in [body..body + 512, body - 42..body - 20] {
        let torn = before.killed();
        let mut bytes = whole.clone();
        bytes[range].fill(0);
        std::fs::write(torn.segment(1), bytes).unwrap();
        let opened = torn.open();
        assert!(opened.recovered().is_some());
        assert_eq!(content(&opened).keys().collect::<Vec<_>>(), ["kept"]);
    }
}

#[test]
fn damage_before_a_torn_batch_is_kept_and_reported() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.apply(vec![put("kept", b"acknowledged")]).unwrap();
    let end = std::fs::metadata(fixture.segment(1)).unwrap().len() as usize;
    backend
        .apply(vec![put("a", &[7; 600]), put("b", &[8; 600])])
        .unwrap();
    let mut bytes = std::fs::read(fixture.segment(1)).unwrap();
    // Without an index, only the frame of `b`, whole behind the torn `a`, tells that `kept` had
    // been synced before.
    bytes[end - 20..end + 20].fill(0);
    let torn = fixture.killed();
    std::fs::remove_dir_all(torn.path().join(INDEX)).unwrap();
    std::fs::write(torn.segment(1), bytes).unwrap();
    let opened = torn.open();
    assert!(opened.recovered().is_some());
    assert_eq!(opened.get(b"a").unwrap(), None);
    assert_eq!(
        opened.get(b"kept").unwrap_err().kind(),
        ErrorKind::Corrupted
    );
}

#[test]
fn damage_before_the_last_batch_is_never_taken_for_a_torn_write() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.apply(vec![put("one", &[1; 50])]).unwrap();
    backend.apply(vec![put("two", &[2; 50])]).unwrap();
    let whole = std::fs::read(fixture.segment(1)).unwrap();
    let start = backend.reader_start();
    for at in start..whole.len() {
        let damaged = fixture.killed();
        std::fs::remove_dir_all(damaged.path().join(INDEX)).unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(damaged.segment(1), bytes).unwrap();
        let Ok(opened) = LocalBackend::open(&damaged.path()) else {
            continue;
        };
        // Without an index only the last batch may be gone, and then into lost/; whatever else is
        // answered is right or an error.
        for (key, right) in [("one", [1; 50]), ("two", [2; 50])] {
            match opened.get(key.as_bytes()) {
                Ok(Some(item)) => assert_eq!(item.bytes, right),
                Ok(None) => assert!(key == "two" && opened.recovered().is_some(), "byte {at}"),
                Err(error) => assert!(error.to_string().contains(key), "{error}"),
            }
        }
    }
}

#[test]
fn an_index_that_knows_a_record_keeps_damage_to_it_from_being_cut_away() {
    let fixture = Fixture::new();
    fixture.open().apply(vec![put("one", &[1; 50])]).unwrap();
    let whole = std::fs::read(fixture.segment(1)).unwrap();
    let body = whole.windows(50).position(|w| w == [1; 50]).unwrap();
    let mut bytes = whole.clone();
    bytes[body] ^= 1;
    std::fs::write(fixture.segment(1), &bytes).unwrap();
    let opened = fixture.open();
    assert_eq!(opened.recovered(), None);
    let error = opened.get(b"one").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(error.to_string().contains("record `one`"), "{error}");
    drop(opened);
    assert_eq!(std::fs::read(fixture.segment(1)).unwrap(), bytes);
}

#[test]
fn a_log_that_lost_its_end_is_damage_and_not_a_shorter_log() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.apply(vec![put("one", b"1")]).unwrap();
    let end = std::fs::metadata(fixture.segment(1)).unwrap().len();
    backend.apply(vec![put("two", b"2")]).unwrap();
    drop(backend);
    let file = File::options()
        .write(true)
        .open(fixture.segment(1))
        .unwrap();
    file.set_len(end).unwrap();
    let error = LocalBackend::open(&fixture.path()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(
        error.to_string().contains("1, but 2 were acknowledged"),
        "{error}"
    );
}

#[test]
fn a_missing_segment_is_noticed_by_writers_and_readers() {
    let fixture = Fixture::new();
    fill(&fixture.open());
    std::fs::remove_file(fixture.segment(2)).unwrap();
    for result in [
        LocalBackend::open(&fixture.path()),
        LocalBackend::open_read_only(&fixture.path()),
    ] {
        let error = result.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert!(
            error.to_string().contains("00000002.seg is missing"),
            "{error}"
        );
    }
}

#[test]
fn a_damaged_footer_costs_time_and_no_record() {
    let fixture = Fixture::new();
    let expected = fill(&fixture.open());
    let path = fixture.segment(1);
    let whole = std::fs::read(&path).unwrap();
    // The trailer, and the block table before it.
    for at in [whole.len() - 1, whole.len() - 30, whole.len() - 60] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(content(&fixture.reader()), expected);
        std::fs::remove_dir_all(fixture.path().join(INDEX)).unwrap();
        assert_eq!(content(&fixture.open()), expected);
    }
}

#[test]
fn a_second_writer_is_told_that_the_store_is_locked() {
    let fixture = Fixture::new();
    let first = fixture.open();
    let error = LocalBackend::open(&fixture.path()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    drop(first);
    LocalBackend::open(&fixture.path()).unwrap();
}

#[test]
fn readers_beside_a_writer_see_what_was_written_when_they_refresh() {
    let fixture = Fixture::new();
    let writer = fixture.open();
    let reader = fixture.reader();
    let expected = fill(&writer);
    assert!(content(&reader).is_empty());
    reader.refresh().unwrap();
    assert_eq!(content(&reader), expected);
    assert_eq!(content(&fixture.reader()), expected);
    let error = reader.apply(vec![put("a", b"1")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

#[test]
fn a_store_of_a_newer_format_is_refused_by_both_numbers() {
    let fixture = Fixture::new();
    let path = fixture.path().join(store_file::NAME);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 9")).unwrap();
    let error = LocalBackend::open(&fixture.path()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    assert!(
        error
            .to_string()
            .ends_with("has store format 9, this program reads format 1")
    );
}

#[test]
fn what_is_no_store_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    for (path, reason) in [
        (folder.path().join("absent"), "doesn't exist"),
        (file.clone(), "is a file, and a store is a folder"),
        (
            folder.path().to_path_buf(),
            "is no store: it has no store.json",
        ),
    ] {
        let error = LocalBackend::open(&path).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::StoreNotFound);
        assert!(error.to_string().ends_with(reason), "{error}");
    }
    assert_eq!(
        LocalBackend::create(&file).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        LocalBackend::create(folder.path()).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let fixture = Fixture::new();
    assert_eq!(
        LocalBackend::create(&fixture.path()).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
}

#[test]
fn a_failed_write_stops_all_further_writes_and_no_reads() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.apply(vec![put("a", b"1")]).unwrap();
    let Role::Writer(writer) = &backend.role else {
        unreachable!("opened for writing")
    };
    // A file that can't be written to stands in for a disk that fails.
    let segment = Segment::open(fixture.segment(1), 1, fs::open).unwrap();
    writer.log().active = Arc::new(segment);
    assert_eq!(
        backend.apply(vec![put("b", b"2")]).unwrap_err().kind(),
        ErrorKind::Io
    );
    let error = backend.apply(vec![put("c", b"3")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert_eq!(backend.get(b"a").unwrap().unwrap().bytes, b"1");
    drop(backend);
    fixture.open().apply(vec![put("c", b"3")]).unwrap();
    assert_eq!(content(&fixture.open()).len(), 2);
}

impl LocalBackend {
    /// Where the first frame of the first segment lies.
    fn reader_start(&self) -> usize {
        let Role::Writer(writer) = &self.role else {
            unreachable!("opened for writing")
        };
        writer.log().active.start as usize
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_what_a_map_gives(
        steps in proptest::collection::vec((0u8..10, 0u8..12, 0usize..400), 1..60)
    ) {
        let fixture = Fixture::new();
        let mut backend = Some(fixture.open());
        let mut expected = BTreeMap::new();
        for (n, (action, key, length)) in steps.into_iter().enumerate() {
            let store = backend.as_ref().unwrap();
            let (key, bytes) = (format!("k{key}"), vec![n as u8; length]);
            match action {
                0..=5 => {
                    store.apply(vec![put(&key, &bytes)]).unwrap();
                    expected.insert(key, bytes);
                }
                6..=7 => {
                    let there = expected.remove(&key).is_some();
                    prop_assert_eq!(store.apply(vec![delete(&key)]).is_ok(), there);
                }
                8 => {
                    drop(backend.take());
                    backend = Some(fixture.open());
                }
                _ => prop_assert_eq!(content(&fixture.killed().open()), expected.clone()),
            }
        }
        prop_assert_eq!(content(backend.as_ref().unwrap()), expected.clone());
        prop_assert_eq!(content(&fixture.reader()), expected);
    }
}
