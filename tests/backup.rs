//! `latentdb backup`: a copy that is a store, and says what is wrong with it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use latentdb::Database;
use support::Sandbox;
use support::stores::{damage, fill, latent};

#[test]
fn a_backup_beside_a_writer_is_a_store_that_answers_the_same() {
    let sandbox = Sandbox::new();
    fill(&sandbox, 3);
    let writer = Database::open(sandbox.path("store")).unwrap();
    writer.put_latent("late", latent(9), false).unwrap();
    let run = sandbox.run(&["backup", "copy"]).succeeds();
    assert!(
        run.text().starts_with("copied 4 records in 1 segment, "),
        "{}",
        run.text()
    );
    assert!(run.text().ends_with(" to copy\n"), "{}", run.text());
    for command in [&["ls", "--json"][..], &["get", "late", "--latent"]] {
        let original = sandbox.run(command).succeeds().stdout;
        let copy = [&["--db", "copy"], command].concat();
        assert_eq!(sandbox.run(&copy).succeeds().stdout, original);
    }
    sandbox.run(&["--db", "copy", "rm", "late"]).succeeds();
    assert_eq!(sandbox.run(&["ls"]).succeeds().text().lines().count(), 4);
}

#[test]
fn a_backup_is_never_made_over_something_else() {
    let sandbox = Sandbox::new();
    fill(&sandbox, 1);
    sandbox.run(&["backup", "copy"]).succeeds();
    sandbox
        .run(&["backup", "copy"])
        .fails(1, &["copy is a store already"]);
    std::fs::remove_file(sandbox.path("copy/store.json")).unwrap();
    sandbox.run(&["backup", "copy"]).fails(
        1,
        &["copy is what an interrupted backup left", "hint: remove it"],
    );
    sandbox
        .run(&["--db", "copy", "ls"])
        .fails(1, &["is no store"]);
    sandbox.write("file", b"x");
    sandbox.run(&["backup", "file"]).fails(1, &["is a file"]);
    sandbox
        .run(&["backup", "store/copy"])
        .fails(1, &["lies inside the store"]);
    sandbox
        .run(&["--db", "none", "backup", "x"])
        .fails(1, &["none doesn't exist"]);
    assert!(!sandbox.path("x").exists());
}

#[test]
fn a_backup_of_a_damaged_store_says_what_is_damaged_and_stays() {
    let sandbox = Sandbox::new();
    fill(&sandbox, 3);
    damage(&sandbox, "cat 1", 1);
    let run = sandbox.run(&["backup", "copy"]);
    assert_eq!(run.code, 3);
    assert!(
        run.text().contains("`cat 1` (operation 2, live)"),
        "{}",
        run.text()
    );
    assert!(
        run.text().contains("copied 3 records, 1 of them damaged"),
        "{}",
        run.text()
    );
    sandbox
        .run(&["--db", "copy", "get", "cat 0", "--latent"])
        .succeeds();
    let json = sandbox.run(&["backup", "again", "--json"]);
    assert_eq!(json.code, 3);
    assert_eq!(json.json()["verification"]["damaged_records"], 1);
}
