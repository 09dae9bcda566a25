//! Every byte of a store rots, every file ends too early: right answers or errors, never wrong answers.

use super::sim_disk::IndexFiles;
use super::sim_image::{Dice, Image};
use super::workload::{Content, Doing, Rig, each};
use super::*;

/// A store with a compacted, a sealed and an active segment, closed in order.
struct Whole {
    image: Image,
    index: IndexFiles,
    content: Content,
    /// The key of the last batch.
    last: &'static str,
}

fn whole() -> Whole {
    let mut rig = Rig::of(Image::default(), None);
    rig.segment_bytes = 400;
    let properties = [("encoder".to_owned(), "tiny".to_owned())];
    LocalBackend::create_on(&rig.medium(), &rig.path(), properties.into()).unwrap();
    let store = rig.open().unwrap();
    for batch in [
        vec![put("a", &[1; 60]), put("b", &[2; 90])],
        vec![put("a", &[3; 61]), delete("b")],
        vec![put("c", &[4; 200])],
    ] {
        store.commit(batch).unwrap();
    }
    assert!(store.compact(&mut |_, _| ()).unwrap().files > 0);
    for (key, byte) in [("d", 5), ("e", 6), ("f", 7)] {
        store.commit(vec![put(key, &[byte; 110])]).unwrap();
    }
    store.commit(vec![delete("c"), put("g", b"")]).unwrap();
    store.commit(vec![put("h", &[9; 40])]).unwrap();
    store.commit(vec![put("i", &[10; 30])]).unwrap();
    let content = content(&store);
    drop(store);
    // Nobody reads the ballast.
    let image = rig.disk.image().without(Path::new("ballast"));
    let names: Vec<_> = image.files().into_keys().collect();
    assert!(names.len() >= 6, "{names:?}");
    Whole {
        image,
        index: rig.disk.index(),
        content,
        last: "i",
    }
}

fn names_the_place(error: &Error, key: Option<&str>) {
    let kinds = [ErrorKind::Corrupted, ErrorKind::UnsupportedVersion];
    assert!(kinds.contains(&error.kind()), "{error:?}");
    let text = error.to_string();
    let named = ["store.json", ".seg", "acknowledged", "has store format"];
    let named = named.iter().any(|name| text.contains(name));
    assert!(
        named || key.is_some_and(|key| text.contains(&format!("`{key}`"))),
        "{text}"
    );
}

/// What is read must be right, and what isn't must be an error; only `may_miss` may be gone.
fn check(opened: Result<LocalBackend>, expected: &Content, may_miss: Option<&str>) {
    let store = match opened {
        Err(error) => return names_the_place(&error, None),
        Ok(store) => store,
    };
    assert_eq!(store.property("encoder").as_deref(), Some("tiny"));
    let mut listed = Vec::new();
    let mut failed = false;
    for entry in store.scan(b"", b"") {
        match entry {
            Err(error) => {
                names_the_place(&error, None);
                failed = true;
            }
            Ok(entry) => {
                let key = String::from_utf8(entry.key).unwrap();
                assert_eq!(entry.facts, key.to_uppercase().into_bytes());
                listed.push(key);
            }
        }
    }
    assert!(
        listed.iter().all(|key| expected.contains_key(key)),
        "{listed:?}"
    );
    for (key, bytes) in expected {
        assert!(
            failed || listed.contains(key) || may_miss == Some(key),
            "{key} isn't listed"
        );
        match store.get(key.as_bytes()) {
            Ok(Some(item)) => assert_eq!(&item.bytes, bytes),
            Ok(None) => assert_eq!(may_miss, Some(key.as_str())),
            Err(error) => names_the_place(&error, Some(key)),
        }
    }
    for gone in ["b", "c"] {
        match store.get(gone.as_bytes()) {
            Ok(found) => assert_eq!(found, None),
            Err(error) => names_the_place(&error, Some(gone)),
        }
    }
}

/// Opens what is left in all ways; a second opening must not forget what the first one said.
fn check_all(whole: &Whole, image: &Image, in_the_log: bool, turn: usize) {
    let rig = Rig::of(image.clone(), None);
    let expected = &whole.content;
    check(rig.reader(), expected, None);
    let opened = rig.open();
    let again = opened.is_err();
    check(opened, expected, None);
    if again {
        check(rig.open(), expected, None);
        check(rig.reader(), expected, None);
    }
    let closed = Path::new(checkpoint::CLOSED);
    // sled takes its time.
    match turn % 4 {
        0 => {
            let rig = Rig::of(image.clone(), Some(&whole.index));
            check(rig.open(), expected, None);
        }
        1 => {
            let rig = Rig::of(image.without(closed), Some(&whole.index));
            check(rig.open(), expected, None);
        }
        2 if in_the_log => {
            // Nothing but the log then tells that the last batch was synced.
            let rig = Rig::of(image.without(closed), None);
            check(rig.reader(), expected, Some(whole.last));
            let opened = rig.open();
            let recovered = opened
                .as_ref()
                .is_ok_and(|store| store.recovered().is_some());
            check(opened, expected, Some(whole.last).filter(|_| recovered));
        }
        _ => {}
    }
}

#[test]
fn a_flipped_bit_anywhere_gives_right_answers_or_an_error() {
    let whole = whole();
    for (path, bytes) in whole.image.files() {
        let all: Vec<_> = (0..bytes.len()).collect();
        each(&all, |&at| {
            let mut dice = Dice(at as u64);
            let bit = dice.below(8);
            let _doing = Doing(format!("bit {bit} of byte {at} of {}", path.display()));
            let mut rotten = bytes.clone();
            rotten[at] ^= 1 << bit;
            let image = whole.image.with(&path, rotten);
            check_all(&whole, &image, path.starts_with(SEGMENTS), at);
        });
    }
}

#[test]
fn a_file_that_ends_too_early_gives_right_answers_or_an_error() {
    let whole = whole();
    for (path, bytes) in whole.image.files() {
        let all: Vec<_> = (0..bytes.len()).collect();
        each(&all, |&length| {
            let _doing = Doing(format!("{} cut to {length} bytes", path.display()));
            let image = whole.image.with(&path, bytes[..length].to_vec());
            // Turn 2, without `closed` and index, is left out: a log that was cut between two
            // batches is a shorter log then.
            check_all(&whole, &image, false, length);
        });
    }
}
