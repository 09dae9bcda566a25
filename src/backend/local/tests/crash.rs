//! What a process that was killed, or a power cut, leaves is put in order.

use super::*;

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
        .commit(vec![put("old", b"1"), put("key00", b"2")])
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
    other.open().commit(vec![put("foreign", b"x")]).unwrap();
    let index = one.path().join(INDEX);
    std::fs::remove_dir_all(&index).unwrap();
    copy_folder(&other.path().join(INDEX), &index);
    assert_eq!(content(&one.open()), expected);
}

#[test]
fn a_write_cut_short_at_any_byte_is_moved_to_lost_and_nothing_else_is() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.commit(vec![put("kept", b"acknowledged")]).unwrap();
    let before = fixture.killed();
    let start = std::fs::metadata(before.segment(1)).unwrap().len();
    backend
        .commit(vec![
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
        opened.commit(vec![put("c", b"goes on")]).unwrap();
        drop(opened);
        assert_eq!(cut.open().recovered(), None);
    }
}

#[test]
fn a_torn_body_in_the_middle_of_an_unsynced_batch_is_a_torn_write() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    backend.commit(vec![put("kept", b"acknowledged")]).unwrap();
    let before = fixture.killed();
    backend
        .commit(vec![put("a", &[7; 600]), put("b", &[8; 600])])
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
