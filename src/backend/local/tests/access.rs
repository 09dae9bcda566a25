//! Who may open a store, and what each sees.

use super::super::tree::Tree;
use super::*;

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
fn an_index_that_something_else_holds_open_is_not_thrown_away() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let expected = fill(&store);
    drop(store);
    let index = fixture.path().join(INDEX);
    let held = sled::Config::new().path(&index).open().unwrap();
    let error = LocalBackend::open(&fixture.path()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("may be whole"), "{error}");
    drop(held);
    let tree = Tree::open(&index).unwrap();
    assert_eq!(tree.scan(b"", b"").count(), expected.len());
    drop(tree);
    assert_eq!(content(&fixture.open()), expected);
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
    let error = reader.commit(vec![put("a", b"1")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
}

#[test]
fn a_store_of_a_newer_format_is_refused_by_both_numbers() {
    let fixture = Fixture::new();
    let path = fixture.path().join(store_file::NAME);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"format\": 2", "\"format\": 9")).unwrap();
    let error = LocalBackend::open(&fixture.path()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    assert!(
        error
            .to_string()
            .ends_with("has store format 9, this program reads format 2")
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
        ErrorKind::StoreExists
    );
}

#[test]
fn a_failed_write_stops_all_further_writes_and_no_reads() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.commit(vec![put("a", b"1")]).unwrap();
    let Role::Writer(writer) = &backend.role else {
        unreachable!("opened for writing")
    };
    // A file that can't be written to stands in for a disk that fails.
    let file = Medium::system().open(&fixture.segment(1), Access::Read);
    let segment = Segment::open(file.unwrap(), 1).unwrap();
    let mut log = writer::locked(&writer.log);
    log.active.as_mut().unwrap().segment = Arc::new(segment);
    drop(log);
    assert_eq!(
        backend.commit(vec![put("b", b"2")]).unwrap_err().kind(),
        ErrorKind::Io
    );
    let error = backend.commit(vec![put("c", b"3")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    assert_eq!(backend.get(b"a").unwrap().unwrap().bytes, b"1");
    drop(backend);
    fixture.open().commit(vec![put("c", b"3")]).unwrap();
    assert_eq!(content(&fixture.open()).len(), 2);
}

#[test]
fn making_a_store_that_was_interrupted_can_be_done_again() {
    let fixture = Fixture::new();
    std::fs::remove_file(fixture.path().join(store_file::NAME)).unwrap();
    LocalBackend::create(&fixture.path()).unwrap();
    let expected = fill(&fixture.open());
    // Without its file a store that holds records is never made anew over them.
    std::fs::remove_file(fixture.path().join(store_file::NAME)).unwrap();
    let error = LocalBackend::create(&fixture.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!expected.is_empty() && fixture.segment(1).exists());
}

#[test]
fn threads_that_race_to_make_one_store_leave_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/store");
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| LocalBackend::create(&path)))
            .collect();
        let results: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        results.iter().filter(|made| made.is_ok()).count()
    });
    assert_eq!(made, 1);
    LocalBackend::open(&path)
        .unwrap()
        .commit(vec![put("a", b"1")])
        .unwrap();
}

#[test]
#[cfg(unix)]
fn a_store_that_was_closed_is_free_at_once_also_while_other_threads_start_processes() {
    let fixture = Fixture::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                std::process::Command::new("true").status().unwrap();
            }
        });
        let kept_locked = (0..500).any(|_| {
            drop(take_lock(&fixture.path().join(LOCK)));
            take_lock(&fixture.path().join(LOCK)).is_err()
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(!kept_locked);
    });
}
