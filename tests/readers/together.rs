//! Threads of one process read, write and compact at once; their batches share syncs.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use latentdb::ErrorKind;
use latentdb::backend::{Backend, Durability, LocalBackend, Mode};

use crate::support::values::{Rng, any_seed, body, delete, open_small, put, version_of};

fn store(folder: &tempfile::TempDir) -> LocalBackend {
    let path = folder.path().join("store");
    LocalBackend::create(&path).unwrap();
    open_small(&path, 16 << 10).unwrap()
}

/// A key whose versions count up; each fifth is a delete.
#[derive(Default)]
struct Slot {
    begun: AtomicU64,
    acknowledged: AtomicU64,
}

fn is_delete(version: u64) -> bool {
    version.is_multiple_of(5)
}

/// Checks that `found` is a version that a read may see which began when `low` was acknowledged.
fn check(slot: &Slot, low: u64, found: Option<u64>) {
    let high = slot.begun.load(SeqCst);
    match found {
        Some(version) => assert!(
            (low..=high).contains(&version),
            "{version}: {low} to {high}"
        ),
        None => assert!((low..=high).any(is_delete), "none: {low} to {high}"),
    }
}

#[test]
fn threads_that_read_beside_writing_and_compacting_ones_see_no_version_but_the_newest() {
    const WRITERS: usize = 2;
    const KEYS: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let slots: Vec<[Slot; KEYS]> = (0..WRITERS).map(|_| Default::default()).collect();
    let (done, compactions) = (AtomicBool::new(false), AtomicU64::new(0));
    let deadline = Instant::now() + Duration::from_secs(3);
    let name = |writer: usize, key: usize| format!("{writer}-{key:02}");
    std::thread::scope(|scope| {
        for (writer, slots) in slots.iter().enumerate() {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                let mut rng = Rng(any_seed());
                while Instant::now() < deadline {
                    let key = rng.below(KEYS as u64) as usize;
                    let (slot, name) = (&slots[key], name(writer, key));
                    let version = slot.begun.fetch_add(1, SeqCst) + 1;
                    let operation = if is_delete(version) {
                        delete(&name)
                    } else {
                        put(&name, version, Mode::Replace)
                    };
                    store.apply(vec![operation], Durability::Written).unwrap();
                    slot.acknowledged.store(version, SeqCst);
                }
                done.store(true, SeqCst);
            });
        }
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let compacted = store.compact(&mut |_, _| ()).unwrap();
                compactions.fetch_add(u64::from(compacted.files > 0), SeqCst);
            }
        });
        for listing in [true, false] {
            let (store, slots, done) = (&store, &slots, &done);
            scope.spawn(move || {
                let mut rng = Rng(any_seed());
                while !done.load(SeqCst) {
                    let writer = rng.below(WRITERS as u64) as usize;
                    if listing {
                        let low = slots[writer]
                            .each_ref()
                            .map(|s| s.acknowledged.load(SeqCst));
                        let mut found = [None; KEYS];
                        for entry in store.scan(format!("{writer}-").as_bytes(), b"") {
                            let entry = entry.unwrap();
                            let key = std::str::from_utf8(&entry.key[2..]).unwrap();
                            found[key.parse::<usize>().unwrap()] = Some(version_of(&entry.facts));
                        }
                        for (key, found) in found.into_iter().enumerate() {
                            check(&slots[writer][key], low[key], found);
                        }
                    } else {
                        let key = rng.below(KEYS as u64) as usize;
                        let (slot, name) = (&slots[writer][key], name(writer, key));
                        let low = slot.acknowledged.load(SeqCst);
                        let item = store.get(name.as_bytes()).unwrap();
                        let high = slot.begun.load(SeqCst);
                        // The body says which version it is.
                        let found = item.map(|item| {
                            let version = (low..=high).find(|v| body(&name, *v) == item.bytes);
                            version.unwrap_or_else(|| panic!("`{name}`: none of {low} to {high}"))
                        });
                        check(slot, low, found);
                    }
                }
            });
        }
    });
    assert!(compactions.into_inner() > 0, "nothing was compacted");
}

#[test]
fn of_threads_that_create_one_key_at_once_exactly_one_succeeds() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 25;
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let (barrier, winners) = (Barrier::new(THREADS as usize), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, barrier, winners) = (&store, &barrier, &winners);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let (shared, own) = (format!("shared{round}"), format!("own{round}-{thread}"));
                    let batch = vec![
                        put(&own, thread, Mode::Create),
                        put(&shared, thread, Mode::Create),
                    ];
                    barrier.wait();
                    let won = match store.apply(batch, Durability::Synced) {
                        Ok(()) => {
                            winners.fetch_add(1, SeqCst);
                            let item = store.get(shared.as_bytes()).unwrap().unwrap();
                            assert_eq!(item.bytes, body(&shared, thread));
                            true
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                            false
                        }
                    };
                    let there = store.entry(own.as_bytes()).unwrap().is_some();
                    assert_eq!(there, won, "a batch counts as a whole or not at all");
                }
            });
        }
    });
    assert_eq!(winners.into_inner(), ROUNDS);
    assert_eq!(store.scan(b"", b"").count() as u64, 2 * ROUNDS);
}

#[test]
fn a_batch_that_is_refused_fails_none_of_those_that_share_its_sync() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 25;
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder);
    let barrier = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, barrier) = (&store, &barrier);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let key = format!("{thread}-{round}");
                    let mut batch = vec![put(&key, round, Mode::Create)];
                    let expected = match thread {
                        0 => {
                            batch.push(delete("nobody's"));
                            Some(ErrorKind::NotFound)
                        }
                        1 => {
                            batch.push(put(&"long".repeat(200), 1, Mode::Create));
                            Some(ErrorKind::InvalidInput)
                        }
                        _ => None,
                    };
                    barrier.wait();
                    let result = store.apply(batch, Durability::Synced);
                    assert_eq!(result.err().map(|e| e.kind()), expected);
                    let item = store.get(key.as_bytes()).unwrap();
                    let there = expected.is_none().then(|| body(&key, round));
                    assert_eq!(item.map(|item| item.bytes), there);
                }
            });
        }
    });
    assert_eq!(store.scan(b"", b"").count() as u64, (THREADS - 2) * ROUNDS);
}
