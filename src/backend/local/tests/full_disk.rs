//! A disk that really is full: a small file system in memory, which only root may mount.

use std::io::Write;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::*;

fn say(what: &str) {
    writeln!(std::io::stderr(), "{what}").unwrap();
}

/// A mounted file system of 24 MiB.
struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "latentdb-test"]);
        let mounted = mount.arg(folder.path()).output();
        if mounted.is_ok_and(|out| out.status.success()) {
            return Some(Self { folder });
        }
        say("SKIPPED: a full disk was not tried, because nothing may be mounted here");
        None
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Takes all the room that is left but `leave` bytes.
    fn fill(&self, leave: u64) {
        let path = self.folder.path().join("filler");
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        loop {
            let left = fs4::available_space(self.folder.path()).unwrap();
            if left <= leave {
                return;
            }
            let piece = vec![1; (left - leave).min(1 << 20) as usize];
            if file.write_all(&piece).is_err() {
                return;
            }
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.folder.path().join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .output();
    }
}

/// Fails a test that hangs, as sled is known to on a full disk.
fn within_a_minute(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = channel();
    let worker = std::thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    match wait.recv_timeout(Duration::from_mins(1)) {
        Err(RecvTimeoutError::Timeout) => panic!("no end after a minute"),
        _ => worker.join().unwrap(),
    }
}

fn open(path: &Path) -> LocalBackend {
    let settings = Settings {
        segment_bytes: 2 << 20,
        ..Settings::default()
    };
    LocalBackend::open_set(path, &settings).unwrap()
}

/// A store with its ballast, which so small a disk wouldn't be given.
fn store_with_ballast(small: &Small) -> LocalBackend {
    LocalBackend::create(&small.path()).unwrap();
    std::fs::write(small.path().join("ballast"), vec![1; 4 << 20]).unwrap();
    open(&small.path())
}

fn assert_full(result: Result<()>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Full);
}

#[test]
fn a_store_that_fills_the_disk_reads_deletes_and_goes_on_when_there_is_room_again() {
    let Some(small) = Small::mount() else { return };
    within_a_minute(move || {
        let store = store_with_ballast(&small);
        let mut expected = BTreeMap::new();
        let error = loop {
            let (key, bytes) = (format!("{:04}", expected.len()), vec![7; 200_000]);
            match store.commit(vec![put(&key, &bytes)]) {
                Ok(()) => expected.insert(key, bytes),
                Err(error) => break error,
            };
        };
        assert_eq!(error.kind(), ErrorKind::Full);
        assert!(expected.len() > 30, "only {} fit", expected.len());
        small.fill(0);
        assert_full(store.commit(vec![put("more", b"x")]));
        assert!(content(&store) == expected);
        store.commit(vec![delete("0000")]).unwrap();
        expected.remove("0000");
        small.fill(0);
        assert!(content(&store) == expected);
        drop(store);

        // Whatever is left of the room that the ballast gave.
        let store = open(&small.path());
        assert!(content(&store) == expected);
        assert_full(store.commit(vec![put("more", b"x")]));
        drop(store);
        small.free();
        let store = open(&small.path());
        assert!(content(&store) == expected);
        for n in 1..20 {
            let key = format!("{n:04}");
            store.commit(vec![delete(&key)]).unwrap();
            expected.remove(&key);
        }
        store.compact(&mut |_, _| ()).unwrap();
        store.commit(vec![put("more", b"x")]).unwrap();
        expected.insert("more".into(), b"x".to_vec());
        drop(store);
        assert!(content(&open(&small.path())) == expected);
    });
}

#[test]
fn a_full_disk_is_opened_and_records_are_deleted_with_the_room_of_the_ballast() {
    let Some(small) = Small::mount() else { return };
    within_a_minute(move || {
        let store = store_with_ballast(&small);
        store
            .commit(vec![put("a", &[1; 100_000]), put("b", b"2")])
            .unwrap();
        drop(store);
        small.fill(0);
        let store = open(&small.path());
        assert_full(store.commit(vec![put("more", b"x")]));
        store.commit(vec![delete("a")]).unwrap();
        drop(store);
        assert_eq!(content(&open(&small.path())).len(), 1);
    });
}

#[test]
fn a_disk_that_others_fill_between_two_writes_costs_no_record_and_no_read() {
    let Some(small) = Small::mount() else { return };
    within_a_minute(move || {
        LocalBackend::create(&small.path()).unwrap();
        let mut expected = BTreeMap::new();
        for round in 0..24usize {
            let store = open(&small.path());
            for n in 0..3 {
                let batch: Vec<_> = (0..[1, 30, 1000][round % 3])
                    .map(|m| (format!("{n}-{m:04}"), vec![round as u8; 100]))
                    .collect();
                let puts = batch.iter().map(|(key, bytes)| put(key, bytes));
                store.commit(puts.collect()).unwrap();
                expected.extend(batch);
            }
            // sled writes by itself, twice a second.
            small.fill((round / 3 % 4 * 40_000) as u64);
            if round % 8 == 7 {
                std::thread::sleep(Duration::from_millis(700));
            }
            assert_full(store.commit(vec![put("more", b"x")]));
            if round % 2 == 0 {
                // The index fails here, which is no reason not to read.
                let Role::Writer(writer) = &store.role else {
                    unreachable!("opened for writing")
                };
                let _ = writer.index().flush();
            }
            assert!(content(&store) == expected, "round {round}");
            drop(store);
            let store = open(&small.path());
            assert!(
                content(&store) == expected,
                "round {round}, opened on a full disk"
            );
            assert_full(store.commit(vec![put("more", b"x")]));
            drop(store);
            small.free();
        }
        assert!(content(&open(&small.path())) == expected);
    });
}

#[test]
fn where_the_index_fails_reads_are_answered_from_the_log() {
    let Some(small) = Small::mount() else { return };
    within_a_minute(move || {
        LocalBackend::create(&small.path()).unwrap();
        let store = open(&small.path());
        let mut expected = fill(&store);
        let Role::Writer(writer) = &store.role else {
            unreachable!("opened for writing")
        };
        for n in 0..2000u32 {
            let (key, bytes) = (format!("{n:04}"), n.to_le_bytes().to_vec());
            store.commit(vec![put(&key, &bytes)]).unwrap();
            expected.insert(key, bytes);
        }
        small.fill(0);
        for _ in 0..2 {
            writer.index().flush().unwrap_err();
        }
        let error = store.commit(vec![put("x", b"")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned);
        assert_eq!(
            writer.view().unwrap().entries_from(b"").count(),
            expected.len()
        );
        assert!(content(&store) == expected);
        drop(store);
        assert!(content(&open(&small.path())) == expected, "on a full disk");
        small.free();
        assert!(content(&open(&small.path())) == expected);
    });
}
