//! Damage that no crash explains is reported, and never costs another record.

use super::*;

#[test]
fn damage_before_a_torn_batch_is_kept_and_reported() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.commit(vec![put("kept", b"acknowledged")]).unwrap();
    let end = std::fs::metadata(fixture.segment(1)).unwrap().len() as usize;
    backend
        .commit(vec![put("a", &[7; 600]), put("b", &[8; 600])])
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
    backend.commit(vec![put("one", &[1; 50])]).unwrap();
    backend.commit(vec![put("two", &[2; 50])]).unwrap();
    let whole = std::fs::read(fixture.segment(1)).unwrap();
    let start = start_of(&fixture.segment(1));
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
    fixture.open().commit(vec![put("one", &[1; 50])]).unwrap();
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
    backend.commit(vec![put("one", b"1")]).unwrap();
    let end = std::fs::metadata(fixture.segment(1)).unwrap().len();
    backend.commit(vec![put("two", b"2")]).unwrap();
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
    // Nor is it one when asked again, and not without an index.
    std::fs::remove_dir_all(fixture.path().join(INDEX)).unwrap();
    for _ in 0..2 {
        assert!(LocalBackend::open(&fixture.path()).is_err());
        assert!(LocalBackend::open_read_only(&fixture.path()).is_err());
    }
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
            error
                .to_string()
                .contains("00000003.seg begins at operation")
                && error.to_string().ends_with("is missing"),
            "{error}"
        );
    }
}

#[test]
fn a_log_that_was_cut_after_a_close_in_order_is_not_written_to() {
    let fixture = Fixture::new();
    let store = fixture.open();
    // So large that its head can be read without its end.
    store.commit(vec![put("one", &[1; 20_000])]).unwrap();
    drop(store);
    let whole = std::fs::read(fixture.segment(1)).unwrap();
    for end in (whole.len() - 20_000..whole.len()).rev().step_by(199) {
        std::fs::write(fixture.segment(1), &whole[..end]).unwrap();
        let error = LocalBackend::open(&fixture.path()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "cut to {end}");
        assert_eq!(std::fs::read(fixture.segment(1)).unwrap(), whole[..end]);
        assert!(!fixture.path().join(LOST).exists());
    }
    std::fs::write(fixture.segment(1), whole).unwrap();
    assert_eq!(content(&fixture.open()).len(), 1);
}

#[test]
fn a_damaged_footer_costs_time_and_no_record() {
    let fixture = Fixture::new();
    let expected = fill(&fixture.open());
    let path = fixture.segment(1);
    let whole = std::fs::read(&path).unwrap();
    let file = Medium::system().open(&path, Access::Read).unwrap();
    let segment = Arc::new(Segment::open(file, 1).unwrap());
    let footer = footer::Footer::open(&segment).unwrap().unwrap();
    let damage = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    for at in footer.start as usize..whole.len() {
        damage(at);
        assert_eq!(content(&fixture.reader()), expected, "byte {at}");
    }
    // A block, the block table and the trailer.
    for at in [footer.start, footer.table, whole.len() as u64 - 1] {
        damage(at as usize);
        std::fs::remove_dir_all(fixture.path().join(INDEX)).unwrap();
        assert_eq!(content(&fixture.open()), expected);
    }
}

#[test]
fn an_acknowledged_frame_with_a_damaged_head_is_never_cut_away() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.commit(vec![put("one", &[1; 50])]).unwrap();
    let start = std::fs::metadata(fixture.segment(1)).unwrap().len() as usize;
    backend.commit(vec![put("two", &[2; 50])]).unwrap();
    drop(backend);
    let whole = std::fs::read(fixture.segment(1)).unwrap();
    // Magic, lengths, key: after each of these no frame is to be seen any more.
    for at in [start, start + 6, start + 16, start + 33] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(fixture.segment(1), &bytes).unwrap();
        let error = LocalBackend::open(&fixture.path()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert_eq!(std::fs::read(fixture.segment(1)).unwrap(), bytes);
        assert!(!fixture.path().join(LOST).exists());
    }
    std::fs::write(fixture.segment(1), whole).unwrap();
    assert_eq!(content(&fixture.open()).len(), 2);
}

#[test]
fn a_location_beyond_the_end_of_all_files_is_damage_and_no_overflow() {
    let fixture = Fixture::new();
    fixture.open().commit(vec![put("one", b"1")]).unwrap();
    let file = Medium::system().open(&fixture.segment(1), Access::Read);
    let segment = Segment::open(file.unwrap(), 1).unwrap();
    for offset in [i64::MAX as u64 - 5, u64::MAX - 5] {
        let location = segment::Location {
            segment: 1,
            offset,
            frame_len: 100,
            sequence: 1,
        };
        let error = segment.read_body(b"one", &location).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
    }
}
