//! The process that is killed: it writes to a store in every way there is, and says what it begins and what was
//! acknowledged.
//!
//! Invariant: each thread has keys of its own, and what it does to them is said before it is done; so a reader of
//! the lines knows of each key what it must be, but for one batch a thread.

use std::collections::BTreeMap;

use latentdb::ErrorKind;
use latentdb::backend::{Backend, Durability, LocalBackend, Mode, Operation};

use crate::support::child::say;
use crate::support::values::{Rng, body, delete, open_small, put, version_of};

/// Keys of each thread.
const KEYS: u64 = 30;

/// Writes to the store until it is killed.
pub(crate) fn run(arguments: &[String]) {
    let [path, seed, round, segment_bytes, threads] = arguments else {
        panic!("not the arguments of this child: {arguments:?}");
    };
    let [seed, round, segment_bytes, threads] =
        [seed, round, segment_bytes, threads].map(|n| n.parse::<u64>().unwrap());
    let mut rng = Rng(seed);
    let mut versions = vec![0; threads as usize];
    loop {
        say("opening");
        let store = open_small(path.as_ref(), segment_bytes).unwrap();
        say("opened");
        let steps = rng.log_uniform(2.0, 100.0) as u64;
        std::thread::scope(|scope| {
            for (thread, version) in versions.iter_mut().enumerate() {
                let mut worker = Worker {
                    store: &store,
                    rng: Rng(rng.next()),
                    name: thread.to_string(),
                    there: BTreeMap::new(),
                    first_version: round << 40 | (thread as u64) << 32,
                    version,
                };
                scope.spawn(move || worker.work(steps));
            }
        });
        say("closing");
        drop(store);
        say("closed");
    }
}

struct Worker<'a> {
    store: &'a LocalBackend,
    rng: Rng,
    name: String,
    /// Its keys that exist, with their versions.
    there: BTreeMap<String, u64>,
    first_version: u64,
    version: &'a mut u64,
}

impl Worker<'_> {
    fn work(&mut self, steps: u64) {
        let prefix = format!("{}-", self.name);
        for entry in self.store.scan(prefix.as_bytes(), b"") {
            let entry = entry.unwrap();
            let version = version_of(&entry.facts);
            self.there
                .insert(String::from_utf8(entry.key).unwrap(), version);
        }
        for _ in 0..steps {
            match self.rng.below(100) {
                0..=3 => self.store.flush().unwrap(),
                4..=8 => {
                    self.say("compacting");
                    let done = self.store.compact(&mut |_, _| ()).unwrap();
                    self.say(&format!("compacted {}", done.files));
                }
                9..=13 => self.read(),
                14..=16 => self.write_what_is_refused(),
                _ => self.write(),
            }
        }
    }

    fn say(&self, what: &str) {
        say(&format!("{} {what}", self.name));
    }

    fn key(&mut self) -> String {
        format!("{}-{:02}", self.name, self.rng.below(KEYS))
    }

    /// One operation on `there`, and how it is said.
    fn operation(&mut self, there: &mut BTreeMap<String, u64>) -> (Operation, String) {
        let key = self.key();
        if there.contains_key(&key) && self.rng.percent(35) {
            there.remove(&key);
            return (delete(&key), format!("-{key}"));
        }
        *self.version += 1;
        let version = self.first_version + *self.version;
        let free = there.insert(key.clone(), version).is_none();
        let mode = if free && self.rng.percent(50) {
            Mode::Create
        } else {
            Mode::Replace
        };
        (put(&key, version, mode), format!("+{key}={version}"))
    }

    fn batch(&mut self) -> (Vec<Operation>, BTreeMap<String, u64>) {
        let many = self.rng.percent(30);
        let operations = if many { 2 + self.rng.below(15) } else { 1 };
        let mut there = self.there.clone();
        let batch: Vec<_> = (0..operations)
            .map(|_| self.operation(&mut there))
            .collect();
        let (batch, words): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        self.say(&format!("begin {}", words.join(" ")));
        (batch, there)
    }

    fn durability(&mut self) -> Durability {
        if self.rng.percent(40) {
            Durability::Written
        } else {
            Durability::Synced
        }
    }

    fn write(&mut self) {
        let durability = self.durability();
        let (batch, there) = self.batch();
        self.store.apply(batch, durability).unwrap();
        self.say("done");
        self.there = there;
    }

    /// A batch that ends in an operation which fails it as a whole.
    fn write_what_is_refused(&mut self) {
        let durability = self.durability();
        let (mut batch, there) = self.batch();
        let (wrong, expected) = match there.iter().next() {
            Some((key, _)) => (put(key, 1, Mode::Create), ErrorKind::AlreadyExists),
            None => (delete("nobody's"), ErrorKind::NotFound),
        };
        batch.push(wrong);
        let error = self.store.apply(batch, durability).unwrap_err();
        assert_eq!(error.kind(), expected, "{error}");
        self.say("refused");
    }

    /// What this thread wrote is what it reads, whatever the others do.
    fn read(&mut self) {
        let key = self.key();
        let item = self.store.get(key.as_bytes()).unwrap();
        let expected = self.there.get(&key).map(|&version| body(&key, version));
        assert_eq!(item.map(|item| item.bytes), expected, "{key}");
    }
}
