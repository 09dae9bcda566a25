//! The store in a folder: what survives a crash, what damage does, who sees what.
//!
//! Here is what the tests share.

mod access;
mod backup;
mod bad_sector;
mod compaction;
mod crash;
mod damage;
mod faults;
#[cfg(target_os = "linux")]
mod full_disk;
mod growing;
mod hostile;
mod model;
mod power_cut;
mod repair;
mod rot;
mod second_cut;
mod sim_disk;
mod sim_image;
mod verify;
mod workload;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::segment::{Header, Segment};
use super::*;
use crate::backend::Mode;
use crate::fs;

/// Small enough that a few records fill a segment.
const SEGMENT: u64 = 2000;

fn settings() -> Settings {
    Settings {
        segment_bytes: SEGMENT,
        hand_over: 3,
        ballast_bytes: 0,
        options: OpenOptions {
            automatic_compaction: false,
        },
        medium: Medium::system(),
    }
}

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
        LocalBackend::open_set(&self.path(), &settings()).unwrap()
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
        backend.commit(vec![put(&key, &bytes)]).unwrap();
        expected.insert(key, bytes);
        if n % 7 == 6 {
            let key = format!("key{:02}", (n / 2) % 15);
            if expected.remove(&key).is_some() {
                backend.commit(vec![delete(&key)]).unwrap();
            }
        }
    }
    expected
}

impl LocalBackend {
    /// Applies a batch, synced.
    fn commit(&self, batch: Vec<Operation>) -> Result<()> {
        self.apply(batch, Durability::Synced)
    }
}

/// Where the first frame of a segment lies.
fn start_of(path: &Path) -> usize {
    let file = Medium::system().open(path, Access::Read).unwrap();
    Segment::open(file, 1).unwrap().start as usize
}
