//! A backup is a store that holds what was acknowledged, or no store at all.

use super::verify::{shown, three_kinds, verify};
use super::*;
use crate::backend::Backup;

fn backup(fixture: &Fixture, to: &Path) -> Result<Backup> {
    LocalBackend::backup(&fixture.path(), to, &mut |_, _, _| ())
}

#[test]
fn a_backup_answers_the_same_for_readers_and_writers() {
    let (fixture, paths) = three_kinds();
    let expected = content(&fixture.reader());
    let copy = Fixture {
        folder: tempfile::tempdir().unwrap(),
    };
    let made = backup(&fixture, &copy.path()).unwrap();
    assert!(made.verification.is_sound());
    assert_eq!(made.segments, paths.len() as u64);
    assert_eq!(content(&copy.reader()), expected);
    let opened = copy.open();
    assert_eq!(opened.recovered(), None);
    assert_eq!(content(&opened), expected);
    opened.commit(vec![put("more", b"1")]).unwrap();
}

#[test]
fn a_backup_beside_a_writer_that_compacts_holds_what_was_acknowledged_before() {
    let fixture = Fixture::new();
    let backend = fixture.open();
    let written = std::sync::atomic::AtomicU32::new(0);
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..300u32 {
                let numbered = put(&format!("n{n:03}"), &n.to_le_bytes());
                backend
                    .commit(vec![numbered, put("busy", &[1; 200])])
                    .unwrap();
                written.store(n + 1, std::sync::atomic::Ordering::Relaxed);
                if n % 40 == 39 {
                    backend.compact(&mut |_, _| ()).unwrap();
                }
            }
        });
        for n in 0.. {
            let before = written.load(std::sync::atomic::Ordering::Relaxed);
            let to = folder.path().join(n.to_string());
            let made = backup(&fixture, &to).unwrap();
            let found = shown(&made.verification.findings);
            assert!(made.verification.is_sound(), "{found:?}");
            let copy = LocalBackend::open_read_only(&to).unwrap();
            for n in 0..before {
                let item = copy.get(format!("n{n:03}").as_bytes()).unwrap().unwrap();
                assert_eq!(item.bytes, n.to_le_bytes());
            }
            if before == 300 {
                break;
            }
        }
    });
}

#[test]
fn a_folder_that_is_not_empty_is_left_as_it_is() {
    let (fixture, _) = three_kinds();
    let other = Fixture::new();
    let error = backup(&fixture, &other.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreExists);
    // What a backup that was killed leaves.
    std::fs::remove_file(other.path().join(store_file::NAME)).unwrap();
    let error = backup(&fixture, &other.path()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is what an interrupted backup left"),
        "{error}"
    );
    assert!(LocalBackend::open(&other.path()).is_err());
    std::fs::write(other.path().join("mine"), b"x").unwrap();
    let error = backup(&fixture, &other.path()).unwrap_err();
    assert!(error.to_string().ends_with("isn't empty"), "{error}");
    let error = backup(&fixture, &fixture.path().join("a/b")).unwrap_err();
    assert!(
        error.to_string().contains("lies inside the store"),
        "{error}"
    );
    assert!(!fixture.path().join("a").exists());

    let empty = tempfile::tempdir().unwrap();
    backup(&fixture, empty.path()).unwrap();
}

#[test]
fn a_damaged_store_gives_a_copy_that_says_so_and_one_that_can_not_be_read_gives_none() {
    let (fixture, paths) = three_kinds();
    let whole = std::fs::read(&paths[1]).unwrap();
    let mut bytes = whole.clone();
    let body = whole.windows(100).position(|w| w == [w[0]; 100]).unwrap();
    bytes[body] ^= 1;
    std::fs::write(&paths[1], bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let made = backup(&fixture, &folder.path().join("copy")).unwrap();
    assert_eq!(
        made.verification.findings.len(),
        verify(&fixture).findings.len()
    );
    assert!(!made.verification.is_sound());
    std::fs::remove_file(&paths[1]).unwrap();
    let none = folder.path().join("none");
    assert_eq!(
        backup(&fixture, &none).unwrap_err().kind(),
        ErrorKind::Corrupted
    );
    assert!(!none.exists());
}
