//! A reader meets a log that grows while it looks.

use std::ffi::OsString;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use disk::{Disk, DiskFile};

type Content = BTreeMap<String, Vec<u8>>;

/// Does `step` at the `at`-th time a reader asks anything of it, and before it answers.
struct Growing {
    asked: AtomicUsize,
    at: usize,
    step: Mutex<Box<dyn FnMut() + Send>>,
    /// A listing during which the step happens has the newest name and not the one before it: file systems promise
    /// only the names that are there from its beginning to its end.
    uneven: bool,
}

impl std::fmt::Debug for Growing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Growing").finish_non_exhaustive()
    }
}

impl Growing {
    /// Whether the step happened.
    fn ask(&self) -> bool {
        let now = self.asked.fetch_add(1, Ordering::SeqCst) == self.at;
        if now {
            (self.step.lock().unwrap())();
        }
        now
    }
}

#[derive(Debug)]
struct Asked {
    disk: Arc<Growing>,
    file: File,
}

#[derive(Debug, Clone)]
struct Asking(Arc<Growing>);

impl Disk for Asking {
    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn DiskFile>> {
        self.0.ask();
        Ok(Box::new(Asked {
            disk: Arc::clone(&self.0),
            file: File::open(path)?,
        }))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let now = self.0.ask();
        let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
        let mut names: Vec<_> = names.collect::<io::Result<_>>()?;
        names.sort();
        if now && self.0.uneven && names.len() > 1 {
            names.remove(names.len() - 2);
        }
        Ok(names)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn available(&self, _: &Path) -> io::Result<u64> {
        unreachable!("a reader changes nothing")
    }
}

impl DiskFile for Asked {
    fn len(&self) -> io::Result<u64> {
        self.disk.ask();
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.ask();
        fs::io::read_exact_at(&self.file, buffer, offset)
    }

    fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }

    fn sync(&self) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }
}

/// A store, and who writes to it.
type Made = (Fixture, Option<LocalBackend>);

/// Opens a reader once for each question it asks, of a store that `make` makes, and lets `step` happen right before
/// that one is answered; returns what each reader then holds.
fn beside(make: fn() -> Made, step: fn(&Fixture, &mut Option<LocalBackend>)) -> Vec<Content> {
    beside_listed(make, step, false)
}

fn beside_listed(
    make: fn() -> Made,
    step: fn(&Fixture, &mut Option<LocalBackend>),
    uneven: bool,
) -> Vec<Content> {
    let mut found = Vec::new();
    for at in 0.. {
        let (fixture, mut writer) = make();
        let path = fixture.path();
        let disk = Arc::new(Growing {
            asked: AtomicUsize::new(0),
            at,
            step: Mutex::new(Box::new(move || step(&fixture, &mut writer))),
            uneven,
        });
        let medium = Medium::simulated(Arc::new(Asking(Arc::clone(&disk))));
        let reader = LocalBackend::open_read_only_on(medium, &path);
        let reader = reader.unwrap_or_else(|e| panic!("question {at}: {e}"));
        found.push(content(&reader));
        if disk.asked.load(Ordering::SeqCst) <= at {
            break;
        }
    }
    assert!(found.len() > 5, "the reader asked little");
    found
}

/// A store with one record, and its writer.
fn with_first() -> Made {
    let fixture = Fixture::new();
    let writer = fixture.open();
    writer.commit(vec![put("first", b"1")]).unwrap();
    (fixture, Some(writer))
}

/// A store of several segments, and its writer.
fn filled() -> Made {
    let fixture = Fixture::new();
    let writer = fixture.open();
    fill(&writer);
    (fixture, Some(writer))
}

#[test]
fn what_a_writer_appends_while_a_reader_opens_is_never_taken_for_damage() {
    let found = beside(with_first, |_, writer| {
        for key in ["second", "third", "fourth"] {
            let batch = vec![put(key, &[2; 100])];
            writer.as_ref().unwrap().commit(batch).unwrap();
        }
    });
    assert!(found.iter().all(|content| [1, 4].contains(&content.len())));
}

#[test]
fn segments_that_are_sealed_while_a_reader_opens_are_never_taken_for_damage() {
    let found = beside(with_first, |_, writer| {
        for n in 0..30 {
            let batch = vec![put(&format!("key{n:02}"), &[2; 300])];
            writer.as_ref().unwrap().commit(batch).unwrap();
        }
    });
    assert!(found.iter().all(|content| content.contains_key("first")));
}

#[test]
fn a_reader_that_opens_while_segments_are_compacted_sees_all_before_or_all_after() {
    let found = beside(filled, |_, writer| {
        let writer = writer.as_ref().unwrap();
        let batch = (0..15).map(|n| put(&format!("key{n:02}"), &[3; 300]));
        writer.commit(batch.collect()).unwrap();
        writer.compact(&mut |_, _| ()).unwrap();
        writer.commit(vec![put("key00", b"last")]).unwrap();
    });
    // The last reader opened before anything happened, the first one after all.
    let ends = [&found[0], &found[found.len() - 1]];
    assert_eq!(ends[0]["key00"], b"last");
    assert!(found.iter().all(|content| ends.contains(&content)));
}

#[test]
fn a_listing_that_has_a_compacted_segment_and_misses_the_one_before_it_costs_nothing() {
    let replace_all = |_: &Fixture, writer: &mut Option<LocalBackend>| {
        let writer = writer.as_ref().unwrap();
        let batch = (0..15).map(|n| put(&format!("key{n:02}"), &[3; 300]));
        writer.commit(batch.collect()).unwrap();
        writer.compact(&mut |_, _| ()).unwrap();
    };
    let found = beside_listed(filled, replace_all, true);
    let ends = [&found[0], &found[found.len() - 1]];
    assert_eq!(ends[0]["key00"], [3; 300]);
    assert!(found.iter().all(|content| ends.contains(&content)));
}

#[test]
fn a_torn_end_that_a_writer_cuts_while_a_reader_opens_is_never_taken_for_damage() {
    let make = || {
        let (fixture, writer) = with_first();
        let length = || std::fs::metadata(fixture.segment(1)).unwrap().len();
        let whole = length();
        let batch = vec![put("torn", &[2; 1500])];
        writer.as_ref().unwrap().commit(batch).unwrap();
        let killed = fixture.killed();
        let torn = File::options().write(true).open(killed.segment(1)).unwrap();
        torn.set_len(whole + 1000).unwrap();
        // The index would know that the batch was whole.
        std::fs::remove_dir_all(killed.path().join(INDEX)).unwrap();
        (killed, None)
    };
    let found = beside(make, |fixture, writer| *writer = Some(fixture.open()));
    assert!(found.iter().all(|content| content.len() == 1));
}
