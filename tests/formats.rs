//! Stores of older and newer formats: told apart, upgraded step by step, readable for ever.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use latentdb::half::f16;
use latentdb::{ErrorKind, Record, Store};
use support::Sandbox;

/// A sandbox whose store is the fixture of `format`.
fn fixture(format: u32) -> Sandbox {
    let sandbox = Sandbox::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    copy_folder(
        &root.join(format!("format-{format}")),
        &sandbox.path("store"),
    );
    sandbox
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

/// The bytes of all files below a folder.
fn bytes_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(bytes_of(&path));
        } else {
            found.insert(path.display().to_string(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Checks a record that was written as number `n`.
fn check(record: &Record, n: u32) {
    let header = &record.header;
    let (height, width) = (2 + n % 3, 3 + n % 4);
    assert_eq!(header.shape.height, height);
    assert_eq!(
        (header.width, header.height),
        (width * 8 - n % 8, height * 8 - n % 5)
    );
    let value = |i: u32| f16::from_f32(((i * 7 + n * 13) % 101) as f32 / 16.0 - 3.0);
    let expected: Vec<f16> = (0..4 * height * width).map(value).collect();
    assert_eq!(record.latent.as_slice(), expected);
    assert_eq!(header.created_ms, 1_700_000_000_000 + u64::from(n));
    let encoder = header.encoder.as_ref();
    assert_eq!(encoder.is_some(), !n.is_multiple_of(3));
    if let Some(encoder) = encoder {
        assert_eq!(encoder.name, format!("tiny{}", n % 2));
        assert_eq!(
            encoder.fingerprint,
            n.is_multiple_of(2).then_some([n as u8; 32])
        );
    }
    let source = header.source.as_ref();
    assert_eq!(source.is_some(), !n.is_multiple_of(4));
    if let Some(source) = source {
        assert_eq!(source.name, format!("picture {n}.png"));
        assert_eq!(source.bytes, 1000 + u64::from(n));
    }
    assert_eq!(!header.preparation.is_empty(), n.is_multiple_of(5));
}

/// Checks that exactly the records of a fixture are in `store`.
fn check_all(store: &Store) {
    let records: Vec<Record> = store.records("").map(Result::unwrap).collect();
    let mut expected = BTreeMap::new();
    for n in 0..16 {
        expected.insert(format!("photos/{:02}", n % 11), n);
        if n % 4 != 2 {
            expected.insert(format!("grüße/{n} ☃"), n + 100);
        }
    }
    let ids: Vec<_> = records.iter().map(|r| r.header.id.as_str()).collect();
    assert_eq!(ids, expected.keys().collect::<Vec<_>>());
    for record in &records {
        check(record, expected[record.header.id.as_str()]);
    }
}

#[test]
fn a_store_of_the_first_format_is_refused_with_the_way_to_upgrade_it() {
    let sandbox = fixture(1);
    let before = bytes_of(&sandbox.path("store"));
    for command in [&["ls"][..], &["rm", "photos/01"], &["compact"]] {
        let what = [
            "store format 1, this program reads format 2",
            "latentdb migrate",
        ];
        sandbox.run(command).fails(1, &what);
    }
    let dry = sandbox.run(&["migrate", "--dry-run"]).succeeds();
    assert!(
        dry.text().starts_with("would go from format 1 to 2: "),
        "{}",
        dry.text()
    );
    assert_eq!(
        bytes_of(&sandbox.path("store")),
        before,
        "nothing was changed"
    );
}

#[test]
fn a_store_of_the_first_format_is_upgraded_and_holds_the_same_records() {
    let sandbox = fixture(1);
    let run = sandbox.run(&["migrate"]).succeeds();
    assert!(run.text().starts_with("format 1 to 2: "), "{}", run.text());
    check_all(&Store::open_read_only(&sandbox.path("store")).unwrap());
    let store = Store::open(&sandbox.path("store")).unwrap();
    check_all(&store);
    store.compact(&mut |_, _| ()).unwrap();
    check_all(&store);
    drop(store);
    check_all(&Store::open_read_only(&sandbox.path("store")).unwrap());
    let again = sandbox.run(&["migrate"]).succeeds();
    assert!(
        again.text().ends_with("nothing to be done\n"),
        "{}",
        again.text()
    );
}

#[test]
fn fields_of_a_later_version_survive_the_upgrade() {
    let sandbox = fixture(1);
    sandbox.run(&["migrate"]).succeeds();
    sandbox.run(&["export", "-o", "all.tar"]).succeeds();
    let archive = sandbox.read("all.tar");
    let text = String::from_utf8_lossy(&archive);
    // Every sixth record was written with an optional field that no program knows.
    let unknown = text.matches(r#""tag": 99,"#).count();
    assert_eq!(unknown, 3);
    assert!(
        text.contains(r#""value": "01020c""#),
        "photos/01, number 12"
    );
}

#[test]
fn an_upgrade_that_was_cut_short_can_be_run_again() {
    let sandbox = fixture(1);
    let path = sandbox.path("store");
    let old = std::fs::read(path.join("store.json")).unwrap();
    // Killed after it had put the old file aside, and after a write that never came to its rename.
    std::fs::write(path.join("store.format-1.json"), &old).unwrap();
    std::fs::write(path.join(".store.json.1-0.tmp"), b"{").unwrap();
    sandbox.run(&["ls"]).fails(1, &["store format 1"]);
    sandbox.run(&["migrate"]).succeeds();
    check_all(&Store::open(&path).unwrap());
    // The way back, as long as nothing was compacted.
    let kept = std::fs::read(path.join("store.format-1.json")).unwrap();
    assert_eq!(kept, old);
}

#[test]
fn an_upgrade_refuses_a_store_that_lost_acknowledged_records() {
    let sandbox = fixture(1);
    let segment = sandbox.path("store").join("segments/00000002.seg");
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 300]).unwrap();
    let before = bytes_of(&sandbox.path("store").join("segments"));
    sandbox
        .run(&["migrate"])
        .fails(1, &["stays at format 1", "were acknowledged"]);
    sandbox.run(&["ls"]).fails(1, &["store format 1"]);
    assert_eq!(bytes_of(&sandbox.path("store").join("segments")), before);
}

#[test]
fn a_store_of_the_present_format_stays_readable() {
    let sandbox = fixture(2);
    check_all(&Store::open_read_only(&sandbox.path("store")).unwrap());
    check_all(&Store::open(&sandbox.path("store")).unwrap());
    std::fs::remove_dir_all(sandbox.path("store").join("index")).unwrap();
    check_all(&Store::open(&sandbox.path("store")).unwrap());
}

#[test]
fn a_store_of_a_newer_format_is_refused_by_both_numbers() {
    let sandbox = fixture(2);
    let path = sandbox.path("store").join("store.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"format\": 2", "\"format\": 7")).unwrap();
    for command in [&["ls"][..], &["migrate"], &["migrate", "--dry-run"]] {
        let what = [
            "store format 7, this program reads format 2",
            "newer latentdb",
        ];
        sandbox.run(command).fails(1, &what);
    }
    let error = Store::open(&sandbox.path("store")).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
}
