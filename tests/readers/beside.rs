//! Processes that read beside one that writes and compacts.
//!
//! Invariant: what a reader sees is the store as it was after some batch: not before the last one that was acknowledged
//! when it began to look, and not after the last one that had begun when it had looked. The writer counts both in
//! files whose lengths are the counts: one byte is appended before a batch begins, and one to another file once it is
//! acknowledged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use latentdb::backend::{Backend, Durability, LocalBackend, Mode};

use crate::support::child::{arguments, command, lines, say};
use crate::support::values::{Rng, any_seed, body, delete, open_small, put, version_of};

const KEYS: u64 = 60;
const SEGMENT: u64 = 32 << 10;
const DURATION: Duration = Duration::from_secs(5);

/// Keys that exist, with their versions.
type Content = BTreeMap<String, u64>;

#[test]
fn a_reader_that_is_told_to_reads_until_the_store_is_done() {
    let Some(arguments) = arguments() else {
        return;
    };
    let [folder, how] = arguments.as_slice() else {
        panic!("not the arguments of this child: {arguments:?}");
    };
    let folder = Path::new(folder);
    let count = |name| std::fs::metadata(folder.join(name)).unwrap().len();
    let open = || LocalBackend::open_read_only(&folder.join("store")).unwrap();
    let mut store = open();
    while !folder.join("done").exists() {
        let acknowledged = count("acknowledged");
        if how == "refresh" {
            store.refresh().unwrap();
        } else {
            store = open();
        }
        let begun = count("begun");
        let mut line = format!("{acknowledged} {begun}");
        for (key, version) in content(&store) {
            write!(line, " {key}={version}").unwrap();
        }
        say(&line);
    }
}

/// Everything in the store, read in each way there is.
fn content(store: &LocalBackend) -> Content {
    let mut found = Content::new();
    for entry in store.scan(b"", b"") {
        let entry = entry.unwrap();
        let key = String::from_utf8(entry.key.clone()).unwrap();
        let version = version_of(&entry.facts);
        let item = store.get(&entry.key).unwrap();
        let item = item.unwrap_or_else(|| panic!("`{key}` is listed and not there"));
        assert!(item.bytes == body(&key, version), "`{key}` {version}");
        assert!(found.last_key_value().is_none_or(|(last, _)| *last < key));
        found.insert(key, version);
    }
    for n in 0..KEYS {
        let key = key(n);
        let there = store.entry(key.as_bytes()).unwrap();
        let version = there.map(|entry| version_of(&entry.facts));
        assert_eq!(found.get(&key), version.as_ref(), "`{key}`");
    }
    found
}

fn key(n: u64) -> String {
    format!("{n:02}")
}

/// A process that reads, ended with the test.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_beside_a_writer_that_compacts_see_the_store_as_it_was_after_some_batch() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    LocalBackend::create(&path("store")).unwrap();
    let [mut begun, mut acknowledged] =
        ["begun", "acknowledged"].map(|name| File::create(path(name)).unwrap());
    let readers = ["refresh", "refresh", "open"].map(|how| {
        let name = "beside::a_reader_that_is_told_to_reads_until_the_store_is_done";
        let arguments = [folder.path().to_str().unwrap().to_owned(), how.to_owned()];
        let mut reader = Reader(command(name, &arguments).spawn().unwrap());
        let stdout = reader.0.stdout.take().unwrap();
        let listener = std::thread::spawn(move || lines(stdout).collect::<Vec<_>>());
        (how, reader, listener)
    });

    let seed = any_seed();
    let mut writer = Writer {
        path: path("store"),
        rng: Rng(seed),
        history: vec![Content::new()],
        compactions: 0,
    };
    let mut store = writer.open();
    let start = Instant::now();
    while start.elapsed() < DURATION || writer.compactions == 0 {
        begun.write_all(&[0]).unwrap();
        writer.write(&store);
        acknowledged.write_all(&[0]).unwrap();
        match writer.rng.below(60) {
            0..=3 => writer.compact(&store),
            4 => {
                drop(store);
                store = writer.open();
            }
            _ => {}
        }
    }
    std::fs::write(path("done"), "").unwrap();

    let mut views = 0;
    for (how, mut reader, listener) in readers {
        let said = listener.join().unwrap();
        let status = reader.0.wait().unwrap();
        assert!(status.success(), "seed {seed}: a reader that {how}s failed");
        assert!(
            said.len() > 3,
            "a reader that {how}s saw {} views",
            said.len()
        );
        for line in &said {
            if let Err(why) = writer.check(line) {
                panic!("seed {seed}, a reader that {how}s: {why}");
            }
        }
        views += said.len();
    }
    println!(
        "{} batches, {} compactions, {views} views",
        writer.history.len() - 1,
        writer.compactions
    );
}

struct Writer {
    path: PathBuf,
    rng: Rng,
    /// The store after each batch.
    history: Vec<Content>,
    /// Those that rewrote something.
    compactions: u64,
}

impl Writer {
    fn open(&self) -> LocalBackend {
        open_small(&self.path, SEGMENT).unwrap()
    }

    fn write(&mut self, store: &LocalBackend) {
        let mut content = self.history.last().unwrap().clone();
        let operations = if self.rng.percent(30) {
            1 + self.rng.below(12)
        } else {
            1
        };
        let mut batch = Vec::new();
        for n in 0..operations {
            let key = key(self.rng.below(KEYS));
            if content.contains_key(&key) && self.rng.percent(35) {
                batch.push(delete(&key));
                content.remove(&key);
            } else {
                // No version comes twice, so a view says which batch it is of.
                let version = (self.history.len() as u64) << 8 | n;
                batch.push(put(&key, version, Mode::Replace));
                content.insert(key, version);
            }
        }
        let durability = if self.rng.percent(70) {
            Durability::Written
        } else {
            Durability::Synced
        };
        store.apply(batch, durability).unwrap();
        self.history.push(content);
    }

    fn compact(&mut self, store: &LocalBackend) {
        let done = store.compact(&mut |_, _| ()).unwrap();
        self.compactions += u64::from(done.files > 0);
    }

    /// Checks what a reader saw.
    fn check(&self, line: &str) -> Result<(), String> {
        let mut words = line.split(' ');
        let mut count = || words.next().unwrap().parse::<usize>().unwrap();
        let (acknowledged, begun) = (count(), count());
        let pair = |word: &str| {
            let (key, version) = word.split_once('=').unwrap();
            (key.to_owned(), version.parse().unwrap())
        };
        let seen: Content = words.map(pair).collect();
        let possible = &self.history[acknowledged..=begun];
        if possible.contains(&seen) {
            return Ok(());
        }
        let when = self.history.iter().position(|content| *content == seen);
        let [before, after] = [acknowledged, begun].map(|n| &self.history[n]);
        Err(format!(
            "a view that began after batch {acknowledged} and ended before {} is the store as it was after {when:?}: \
             {seen:?}\nafter the first: {before:?}\nafter the last: {after:?}",
            begun + 1
        ))
    }
}
