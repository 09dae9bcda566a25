//! `latentdb verify`: what it finds, how it says so, and that it changes nothing.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use latentdb::backend::{Backend, Durability, LocalBackend, Mode, Operation};
use support::Sandbox;
use support::stores::{damage, fill};

#[test]
fn a_sound_store_is_said_to_be_sound() {
    let sandbox = Sandbox::new();
    fill(&sandbox, 3);
    for args in [&["verify"][..], &["verify", "--deep"]] {
        let run = sandbox.run(args).succeeds();
        assert!(
            run.text().starts_with("3 records in 1 segment, "),
            "{}",
            run.text()
        );
        assert!(run.text().ends_with(" read: sound\n"), "{}", run.text());
        assert!(run.stderr.is_empty(), "{}", run.stderr);
    }
    let json = sandbox.run(&["verify", "--json"]).succeeds().json();
    assert_eq!(
        (&json["sound"], &json["records"]),
        (&true.into(), &3.into())
    );
    assert_eq!(json["findings"], serde_json::json!([]));
}

#[test]
fn a_damaged_record_is_named_with_its_place() {
    let sandbox = Sandbox::new();
    fill(&sandbox, 3);
    damage(&sandbox, "cat 1", 1);
    let before = sandbox.read("store/segments/00000001.seg");
    let run = sandbox.run(&["verify"]);
    assert_eq!(run.code, 3);
    let lines: Vec<_> = run.text().lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.text());
    assert!(
        lines[0].starts_with("segments/00000001.seg bytes "),
        "{}",
        lines[0]
    );
    assert!(
        lines[0].ends_with(": the body fails its checksum: `cat 1` (operation 2, live)"),
        "{}",
        lines[0]
    );
    assert!(lines[1].ends_with(": 1 damaged record"), "{}", lines[1]);
    assert!(
        run.stderr.contains("hint: latentdb repair"),
        "{}",
        run.stderr
    );
    let json = sandbox.run(&["verify", "--json"]);
    assert_eq!(json.code, 3);
    let json = json.json();
    assert_eq!(json["damaged_records"], 1);
    let finding = &json["findings"][0];
    assert_eq!(finding["damage"], "body");
    assert_eq!(
        finding["records"],
        serde_json::json!([{ "id": "cat 1", "operation": 2, "standing": "live" }])
    );
    assert_eq!(sandbox.read("store/segments/00000001.seg"), before);
}

#[test]
fn a_store_whose_file_is_damaged_is_looked_through_all_the_same() {
    let sandbox = Sandbox::new();
    fill(&sandbox, 2);
    sandbox.write("store/store.json", b"{");
    sandbox
        .run(&["ls"])
        .fails(1, &["store.json is damaged", "hint: latentdb verify"]);
    let run = sandbox.run(&["verify"]);
    assert_eq!(run.code, 3);
    assert!(
        run.text().contains("store.json: can't be read: "),
        "{}",
        run.text()
    );
    assert!(run.text().contains("2 records"), "{}", run.text());
}

#[test]
fn what_is_wrong_within_a_record_is_found_only_deep_down() {
    let sandbox = Sandbox::new();
    fill(&sandbox, 2);
    let backend = LocalBackend::open(&sandbox.path("store")).unwrap();
    let cat = backend.get(b"cat 0").unwrap().unwrap();
    let facts = backend.entry(b"cat 0").unwrap().unwrap().facts;
    let put = |key: &str, bytes: &[u8], facts: &[u8]| Operation::Put {
        key: key.into(),
        bytes: bytes.to_vec(),
        facts: facts.to_vec(),
        mode: Mode::Create,
    };
    let batch = vec![
        put("garbage", b"no record at all", &facts),
        put("another", &cat.bytes, &facts),
    ];
    backend.apply(batch, Durability::Synced).unwrap();
    backend
        .apply(
            vec![Operation::Delete {
                key: b"cat 0".into(),
            }],
            Durability::Synced,
        )
        .unwrap();
    backend
        .apply(vec![put("cat 0", &cat.bytes, b"")], Durability::Synced)
        .unwrap();
    drop(backend);
    sandbox.run(&["verify"]).succeeds();
    let run = sandbox.run(&["verify", "--deep"]);
    assert_eq!(run.code, 3);
    for part in [
        "too few for a record: `garbage` (operation 3, live)",
        "under the id `another` lies the record `cat 0`: `another`",
        "the facts that listings show aren't the record's: `cat 0`",
        "3 damaged records",
    ] {
        assert!(run.text().contains(part), "no `{part}` in {}", run.text());
    }
}

#[test]
fn where_there_is_no_store_nothing_can_be_verified() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["verify"])
        .fails(1, &["doesn't exist", "hint: "]);
    std::fs::create_dir(sandbox.path("store")).unwrap();
    sandbox.run(&["verify"]).fails(1, &["is no store"]);
}
