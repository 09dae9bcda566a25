//! Several processes read while one writes, and threads of one process do everything at once.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "readers/beside.rs"]
mod beside;
mod support;
#[path = "readers/together.rs"]
mod together;

use std::process::{Command, Stdio};

use latentdb::Database;
use support::Sandbox;
use support::stores::latent;

const RECORDS: u32 = 200;

#[test]
fn processes_that_read_beside_a_writer_see_whole_records_and_never_fewer_than_before() {
    let sandbox = Sandbox::new();
    let writer = Database::open_or_create(sandbox.path("store")).unwrap();
    let ls = || {
        Command::new(env!("CARGO_BIN_EXE_latentdb"))
            .args(["ls", "--json"])
            .env("LATENTDB_PATH", sandbox.path("store"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut seen = 0;
    for n in 0..RECORDS {
        let readers = (n % 20 == 0).then(|| [ls(), ls()]);
        writer
            .put_latent(&format!("{n:04}"), latent(n), false)
            .unwrap();
        for reader in readers.into_iter().flatten() {
            let output = reader.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let lines = String::from_utf8(output.stdout).unwrap().lines().count() as u32;
            assert!((seen..=n + 1).contains(&lines), "{lines} of {n}");
            seen = seen.max(n);
        }
    }
}

#[test]
fn a_reader_that_refreshes_follows_the_writer() {
    let sandbox = Sandbox::new();
    let writer = Database::open_or_create(sandbox.path("store")).unwrap();
    let reader = Database::open_read_only(sandbox.path("store")).unwrap();
    for n in 0..20 {
        let id = format!("{n}");
        writer.put_latent(&id, latent(n), false).unwrap();
        let id = id.parse().unwrap();
        assert!(
            reader.store().get(&id).is_err(),
            "a view doesn't change by itself"
        );
        reader.store().refresh().unwrap();
        assert_eq!(reader.store().get(&id).unwrap().latent, latent(n).latent);
    }
    assert_eq!(reader.store().entries("").count(), 20);
}

#[test]
fn threads_read_while_one_writes() {
    let sandbox = Sandbox::new();
    let db = Database::open_or_create(sandbox.path("store")).unwrap();
    db.put_latent("0000", latent(0), false).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let ids: Vec<_> = db
                        .store()
                        .entries("")
                        .map(|entry| entry.unwrap().header.id)
                        .collect();
                    for id in &ids {
                        let n: u32 = id.as_str().parse().unwrap();
                        assert_eq!(db.store().get(id).unwrap().latent, latent(n).latent);
                    }
                    if ids.len() as u32 == 50 {
                        break;
                    }
                }
            });
        }
        for n in 1..50 {
            db.put_latent(&format!("{n:04}"), latent(n), false).unwrap();
        }
    });
}
