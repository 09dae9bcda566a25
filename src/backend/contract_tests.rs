//! The contract of `Backend`, sentence by sentence, over every implementation.

use super::{Backend, Durability, Entry, LocalBackend, MemoryBackend, Mode, Operation};
use crate::error::ErrorKind;

fn put(key: &[u8], bytes: &[u8], mode: Mode) -> Operation {
    Operation::Put {
        key: key.to_vec(),
        bytes: bytes.to_vec(),
        facts: [b"f:", key].concat(),
        mode,
    }
}

fn delete(key: &[u8]) -> Operation {
    Operation::Delete { key: key.to_vec() }
}

/// Runs `check` over an empty backend of every kind; `check` names itself in its assertions.
fn every_backend(check: impl Fn(&dyn Backend)) {
    check(&MemoryBackend::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    LocalBackend::create(&path).unwrap();
    check(&LocalBackend::open(&path).unwrap());
}

fn keys(backend: &dyn Backend, prefix: &[u8], from: &[u8]) -> Vec<Vec<u8>> {
    let entries = backend.scan(prefix, from);
    entries.map(|entry| entry.unwrap().key).collect()
}

#[test]
fn what_was_put_comes_back_and_what_was_not_does_not() {
    every_backend(|backend| {
        let big = vec![0xA5; 3 << 20];
        backend
            .apply(vec![put(b"a", &big, Mode::Create)], Durability::Synced)
            .unwrap();
        backend
            .apply(vec![put(b"b", b"", Mode::Create)], Durability::Synced)
            .unwrap();
        assert_eq!(backend.get(b"a").unwrap().unwrap().bytes, big);
        assert_eq!(backend.get(b"b").unwrap().unwrap().bytes, b"");
        assert_eq!(backend.get(b"c").unwrap(), None);
        assert_eq!(backend.entry(b"c").unwrap(), None);
        assert_eq!(backend.entry(b"b").unwrap().unwrap().facts, b"f:b");
    });
}

#[test]
fn what_is_lent_is_what_is_given_also_while_something_else_is_lent() {
    every_backend(|backend| {
        let large = vec![0x5A; 3 << 20];
        let batch = vec![
            put(b"large", &large, Mode::Create),
            put(b"small", b"1", Mode::Create),
        ];
        backend.apply(batch, Durability::Synced).unwrap();
        for (outer, inner) in [(&b"large"[..], &b"small"[..]), (b"small", b"large")] {
            let mut lent = Vec::new();
            let bytes = backend.get_with(outer, &mut |bytes| {
                let mut other = Vec::new();
                let found = backend.get_with(inner, &mut |bytes| other = bytes.to_vec());
                found.unwrap().unwrap();
                assert!(other == backend.get(inner).unwrap().unwrap().bytes);
                lent = bytes.to_vec();
            });
            let item = backend.get(outer).unwrap().unwrap();
            assert!(lent == item.bytes);
            assert_eq!(bytes.unwrap(), Some(item.stored_bytes));
        }
        let absent = backend.get_with(b"absent", &mut |_| unreachable!("nothing to lend"));
        assert_eq!(absent.unwrap(), None);
    });
}

#[test]
fn create_refuses_a_key_that_exists_and_changes_nothing() {
    every_backend(|backend| {
        backend
            .apply(vec![put(b"a", b"1", Mode::Create)], Durability::Synced)
            .unwrap();
        let batch = vec![put(b"b", b"2", Mode::Create), put(b"a", b"3", Mode::Create)];
        let error = backend.apply(batch, Durability::Synced).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(backend.get(b"a").unwrap().unwrap().bytes, b"1");
        assert_eq!(backend.get(b"b").unwrap(), None);
    });
}

#[test]
fn replace_takes_the_newest_and_delete_removes_it() {
    every_backend(|backend| {
        backend
            .apply(vec![put(b"a", b"1", Mode::Replace)], Durability::Synced)
            .unwrap();
        backend
            .apply(vec![put(b"a", b"2", Mode::Replace)], Durability::Synced)
            .unwrap();
        assert_eq!(backend.get(b"a").unwrap().unwrap().bytes, b"2");
        assert_eq!(keys(backend, b"", b""), [b"a"]);
        backend
            .apply(vec![delete(b"a")], Durability::Synced)
            .unwrap();
        assert_eq!(backend.get(b"a").unwrap(), None);
        assert!(keys(backend, b"", b"").is_empty());
        let error = backend
            .apply(vec![delete(b"a")], Durability::Synced)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn operations_of_a_batch_take_effect_in_their_order() {
    every_backend(|backend| {
        let batch = vec![
            put(b"a", b"1", Mode::Create),
            delete(b"a"),
            put(b"a", b"2", Mode::Create),
            put(b"b", b"3", Mode::Create),
            delete(b"b"),
        ];
        backend.apply(batch, Durability::Synced).unwrap();
        assert_eq!(backend.get(b"a").unwrap().unwrap().bytes, b"2");
        assert_eq!(backend.get(b"b").unwrap(), None);
        let twice = vec![delete(b"a"), delete(b"a")];
        assert_eq!(
            backend.apply(twice, Durability::Synced).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        assert!(backend.get(b"a").unwrap().is_some());
    });
}

#[test]
fn a_scan_is_ordered_bytewise_and_keeps_to_prefix_and_start() {
    every_backend(|backend| {
        let all: [&[u8]; 6] = [b"a", b"a/1", b"a/2", b"b", b"\xc3\xa9", b"Z"];
        for key in all {
            backend
                .apply(vec![put(key, b"x", Mode::Create)], Durability::Synced)
                .unwrap();
        }
        let mut sorted = all.to_vec();
        sorted.sort_unstable();
        assert_eq!(keys(backend, b"", b""), sorted);
        assert_eq!(keys(backend, b"a/", b""), [b"a/1", b"a/2"]);
        assert_eq!(keys(backend, b"a", b"a/2"), [b"a/2"]);
        assert_eq!(keys(backend, b"a", b"b"), Vec::<Vec<u8>>::new());
        assert_eq!(keys(backend, b"nothing", b""), Vec::<Vec<u8>>::new());
        let first: Entry = backend.scan(b"a/2", b"").next().unwrap().unwrap();
        assert_eq!(first.facts, b"f:a/2");
        assert_eq!(first, backend.entry(b"a/2").unwrap().unwrap());
    });
}

#[test]
fn sizes_outside_the_contract_are_refused() {
    every_backend(|backend| {
        for key in [&b""[..], &[b'k'; 513]] {
            let error = backend
                .apply(vec![put(key, b"x", Mode::Create)], Durability::Synced)
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
        let operation = Operation::Put {
            key: b"a".to_vec(),
            bytes: vec![],
            facts: vec![0; 257],
            mode: Mode::Create,
        };
        assert!(backend.apply(vec![operation], Durability::Synced).is_err());
        assert!(keys(backend, b"", b"").is_empty());
    });
}

#[test]
fn threads_that_race_to_create_one_key_have_exactly_one_winner() {
    every_backend(|backend| {
        let winners = std::thread::scope(|scope| {
            let race = |n: u8| {
                move || {
                    backend
                        .apply(vec![put(b"one", &[n], Mode::Create)], Durability::Synced)
                        .is_ok()
                }
            };
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(race(n))).collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            results.filter(|&won| won).count()
        });
        assert_eq!(winners, 1);
    });
}
