//! `latentdb repair`: what is whole comes along, what is lost is named.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use latentdb::Database;
use support::Sandbox;
use support::stores::{damage, fill, latent};

#[test]
fn a_damaged_record_is_named_and_all_others_are_in_the_new_store() {
    let sandbox = Sandbox::new();
    fill(&sandbox, 3);
    fill(&sandbox, 2);
    damage(&sandbox, "cat 1", 2);
    let before = sandbox.read("store/segments/00000001.seg");
    let run = sandbox.run(&["repair"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    let lines: Vec<_> = run.text().lines().collect();
    assert!(
        lines[0]
            .starts_with("lost `cat 1`: the body fails its checksum (segments/00000001.seg bytes ")
            && lines[0].contains("; an older version lies at bytes ")
            && lines[0].ends_with(" and was not taken"),
        "{}",
        lines[0]
    );
    assert!(lines[1].starts_with("2 records in ") && lines[1].ends_with(": 1 record lost"));
    let ls = sandbox.run(&["--db", "store.repaired", "ls"]).succeeds();
    assert_eq!(ls.text(), "cat 0\ncat 2\n");
    sandbox
        .run(&["--db", "store.repaired", "verify", "--deep"])
        .succeeds();
    assert_eq!(sandbox.read("store/segments/00000001.seg"), before);
    sandbox
        .run(&["repair"])
        .fails(1, &["store.repaired exists already"]);
}

#[test]
fn a_store_that_can_not_be_opened_is_replaced_when_told_to() {
    let sandbox = Sandbox::new();
    fill(&sandbox, 3);
    let text = String::from_utf8(sandbox.read("store/store.json")).unwrap();
    sandbox.write("store/store.json", &text.as_bytes()[..20]);
    sandbox.run(&["ls"]).fails(1, &["store.json is damaged"]);
    let run = sandbox.run(&["repair", "--replace"]).succeeds();
    assert!(run.text().ends_with(": nothing lost\n"), "{}", run.text());
    assert!(run.stderr.contains("store.damaged"), "{}", run.stderr);
    assert_eq!(sandbox.run(&["ls"]).succeeds().text().lines().count(), 3);
    assert_eq!(sandbox.names(), ["store.damaged"]);
}

#[test]
fn the_default_encoder_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.run(&["init"]).succeeds();
    sandbox.run(&["repair", "new"]).succeeds();
    let file = String::from_utf8(sandbox.read("new/store.json")).unwrap();
    assert!(file.contains("\"encoder\": \"tiny\""), "{file}");
}

#[test]
fn a_store_that_is_written_to_is_not_repaired() {
    let sandbox = Sandbox::new();
    let writer = Database::open_or_create(sandbox.path("store")).unwrap();
    writer.put_latent("a", latent(1), false).unwrap();
    sandbox
        .run(&["repair"])
        .fails(1, &["another process writes", "hint: wait"]);
    drop(writer);
    let json = sandbox.run(&["repair", "--json"]).succeeds().json();
    assert_eq!(
        (&json["records"], &json["lost"]),
        (&1.into(), &serde_json::json!([]))
    );
    assert_eq!(json["verification"]["sound"], true);
}
