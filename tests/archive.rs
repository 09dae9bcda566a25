//! Records leave a store as an archive and come into another one as they were.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use latentdb::half::f16;
use latentdb::{
    Database, EncoderStamp, ForeignLatent, Latent, LatentShape, Record, Source, read_latent,
};
use support::{Sandbox, finish, skipped};

/// Ids that need care as file names, in bytewise order.
const IDS: [&str; 7] = [
    "../up",
    "a",
    "a.json",
    "a/b/cat",
    "été 01.jpg",
    "日本/",
    "\u{10ffff}",
];

/// A record with a value for each field, and values that are easily lost: -0, subnormals, the largest.
fn record(database: &Database, id: &str, seed: u16) -> Record {
    let shape = LatentShape {
        channels: 4,
        height: 3,
        width: 5,
    };
    let bits = [0x8000, 1, 0x83ff, 0x7bff, 0xfbff].into_iter();
    let values = bits.chain((0..55).map(|n| 0x3000 + 13 * n + seed));
    let latent = Latent::new(shape, values.map(f16::from_bits).collect()).unwrap();
    let latent = ForeignLatent {
        source: Some(Source {
            name: format!("{id}.png"),
            format: "png".into(),
            bytes: u64::from(seed) + (1 << 40),
            blake3: [3; 32],
        }),
        ..ForeignLatent::new(latent, "tiny-2", (40, 24))
    };
    database.put_latent(id, latent, true).unwrap();
    let mut record = database.store().get(&id.parse().unwrap()).unwrap();
    if seed.is_multiple_of(2) {
        record.header.encoder = Some(EncoderStamp {
            name: "tiny".into(),
            fingerprint: Some([seed as u8; 32]),
            computed: "f32 cpu".into(),
        });
        record.header.preparation = "resize=40x24".into();
    }
    record
}

/// A store of records with these ids.
fn filled<S: AsRef<str>>(ids: &[S]) -> Sandbox {
    let sandbox = Sandbox::new();
    let database = Database::open_or_create(sandbox.path("store")).unwrap();
    let records: Vec<_> = (ids.iter().zip(1..))
        .map(|(id, seed)| record(&database, id.as_ref(), seed))
        .collect();
    let store = database.store();
    store
        .put(&records, latentdb::backend::Mode::Replace)
        .unwrap();
    sandbox
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n{n:03}")).collect()
}

/// The records of a store, as bytes.
fn records(store: &Path) -> Vec<Vec<u8>> {
    let database = Database::open_read_only(store).unwrap();
    let records = database.store().records("");
    records.map(|r| r.unwrap().to_bytes().unwrap()).collect()
}

#[test]
fn an_imported_store_has_the_same_records_and_gives_the_same_archive() {
    let sandbox = filled(&IDS);
    let run = sandbox.run(&["export", "-o", "all.tar", "-v"]).succeeds();
    assert_eq!(run.stderr, "exported 7 records\n");
    let run = sandbox
        .run(&["import", "all.tar", "--db", "other"])
        .succeeds();
    assert_eq!((run.text(), &*run.stderr), ("", "imported 7 records\n"));
    let original = records(&sandbox.path("store"));
    assert_eq!(original.len(), IDS.len());
    assert!(records(&sandbox.path("other")) == original);
    let again = sandbox.run(&["export", "--db", "other"]).succeeds();
    assert!(again.stdout == sandbox.read("all.tar"));
}

#[test]
fn a_prefix_chooses_the_records_and_pipes_carry_them() {
    let sandbox = filled(&["a/1", "a/2", "b"]);
    let archive = sandbox.run(&["export", "--prefix", "a/"]).succeeds().stdout;
    let mut command = sandbox.command();
    let command = command.args(["import", "-", "--db", "other"]);
    let run = finish(command.write_stdin(archive)).succeeds();
    assert_eq!(run.stderr, "imported 2 records\n");
    let ls = sandbox.run(&["ls", "--db", "other"]);
    assert_eq!(ls.text(), "a/1\na/2\n");
}

#[test]
fn an_empty_store_is_an_archive_too() {
    let sandbox = Sandbox::new();
    sandbox.run(&["init"]).succeeds();
    sandbox
        .run(&["export", "--format", "archive", "-o", "none.tar"])
        .succeeds();
    let run = sandbox
        .run(&["import", "none.tar", "--db", "other"])
        .succeeds();
    assert_eq!(run.stderr, "imported 0 records\n");
    assert_eq!(sandbox.run(&["ls", "--db", "other"]).succeeds().text(), "");
}

#[test]
fn a_record_that_exists_is_replaced_only_if_asked_for() {
    let sandbox = filled(&["a", "b"]);
    sandbox.run(&["export", "-o", "ab.tar"]).succeeds();
    let before = records(&sandbox.path("store"));
    sandbox.run(&["rm", "a"]).succeeds();
    sandbox.run(&["import", "ab.tar"]).fails(
        1,
        &[
            "can't import ab.tar: `b` exists already",
            "hint: import --replace replaces records",
        ],
    );
    assert_eq!(sandbox.run(&["ls"]).text(), "b\n");
    sandbox.run(&["import", "ab.tar", "--replace"]).succeeds();
    assert!(records(&sandbox.path("store")) == before);
}

#[test]
fn after_an_error_in_the_middle_the_batches_before_it_are_kept_and_counted() {
    let sandbox = filled(&many(150));
    let archive = sandbox.run(&["export"]).succeeds().stdout;
    // Every record of these takes as many blocks.
    let cut = archive.len() * 140 / 150;
    let name = sandbox.write("cut.tar", &archive[..cut]);
    sandbox.run(&["import", &name, "--db", "other"]).fails(
        1,
        &[
            "the import of cut.tar stopped after 128 records, which are in the store",
            "ends early",
        ],
    );
    let expected = records(&sandbox.path("store"));
    assert!(records(&sandbox.path("other")) == expected[..128]);
}

#[test]
fn what_is_no_archive_is_refused_and_makes_no_store() {
    let sandbox = filled(&["a"]);
    let archive = sandbox.run(&["export"]).succeeds().stdout;
    sandbox.write("text.tar", &[b'x'; 2000]);
    sandbox.write("empty.tar", b"");
    sandbox.write("cut.tar", &archive[..1000]);
    std::fs::create_dir(sandbox.path("folder.tar")).unwrap();
    for (name, reason) in [
        ("text.tar", "the bytes are no tar archive"),
        ("empty.tar", "ends early, before its first entry"),
        ("cut.tar", "`a.json`"),
        ("folder.tar", "can't"),
        ("missing.tar", "can't open missing.tar"),
    ] {
        let run = sandbox.run(&["import", name, "--db", "other"]);
        run.fails(1, &[name, reason]);
        assert!(!sandbox.path("other").exists(), "{name}");
    }
    sandbox.run(&["import"]).fails(2, &["FILE"]);
    sandbox
        .run(&["export", "--format", "zip"])
        .fails(2, &["archive"]);
}

#[test]
fn an_export_that_fails_leaves_the_file_that_was_there_and_no_other() {
    let sandbox = filled(&["a", "b", "c"]);
    let whole = sandbox.run(&["export"]).succeeds().stdout;
    sandbox.write("out.tar", b"before");
    // A byte of the second record.
    let segment = sandbox.path("store/segments/00000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let target = records(&sandbox.path("store")).remove(1);
    let at = bytes.windows(target.len()).rposition(|w| w == target);
    bytes[at.unwrap() + target.len() / 2] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let run = sandbox.run(&["export", "-o", "out.tar"]);
    run.fails(1, &["can't write out.tar", "`b`"]);
    assert_eq!(sandbox.read("out.tar"), b"before");
    assert_eq!(sandbox.names(), ["out.tar"]);

    // What went to stdout until then has no end mark.
    let run = sandbox.run(&["export"]);
    assert_eq!(run.code, 1);
    assert!(!run.stdout.is_empty() && whole.starts_with(&run.stdout));
    sandbox.write("part.tar", &run.stdout);
    let import = sandbox.run(&["import", "part.tar", "--db", "other"]);
    import.fails(1, &["ends early, after the entry `a.safetensors`"]);
}

#[test]
fn export_makes_no_store_and_no_folder() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["export", "-o", "a.tar"])
        .fails(1, &["store", "hint"]);
    assert!(!sandbox.path("store").exists() && sandbox.names().is_empty());
    let sandbox = filled(&["a"]);
    let run = sandbox.run(&["export", "-o", "no/such/a.tar"]);
    run.fails(1, &["no/such/a.tar"]);
}

#[test]
fn a_reader_that_goes_away_ends_an_export_quietly() {
    let sandbox = filled(&many(200));
    let mut child = Command::new(env!("CARGO_BIN_EXE_latentdb"))
        .args(["export", "--db"])
        .arg(sandbox.path("store"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// Runs the system's tar in the sandbox; `None` where there is none.
fn system_tar(sandbox: &Sandbox, args: &[&str]) -> Option<String> {
    let output = Command::new("tar")
        .current_dir(sandbox.path(""))
        .args(args)
        .output();
    let Ok(output) = output else {
        skipped("there is no program `tar`");
        return None;
    };
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_systems_tar_lists_and_unpacks_an_archive() {
    let long = "x".repeat(300);
    let ids = ["../up", "a", "a/b/cat", &long];
    let sandbox = filled(&ids);
    sandbox.run(&["export", "-o", "all.tar"]).succeeds();
    let Some(list) = system_tar(&sandbox, &["-tf", "all.tar"]) else {
        return;
    };
    let x = "x".repeat(200);
    let rest = "x".repeat(100);
    let names = ["%2E%2E/up", "a", "a/b/cat", &format!("{x}%/{rest}")];
    let files = names.map(|name| [format!("{name}.json"), format!("{name}.safetensors")]);
    assert_eq!(list.lines().collect::<Vec<_>>(), files.as_flattened());

    std::fs::create_dir(sandbox.path("unpacked")).unwrap();
    system_tar(&sandbox, &["-xf", "all.tar", "-C", "unpacked"]);
    let database = Database::open_read_only(sandbox.path("store")).unwrap();
    for (id, [json, tensor]) in ids.iter().zip(files) {
        let record = database.store().get(&id.parse().unwrap()).unwrap();
        let json = sandbox.read(&format!("unpacked/{json}"));
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["id"], *id);
        assert_eq!(json["source"]["bytes"], record.header.source.unwrap().bytes);
        let tensor = sandbox.read(&format!("unpacked/{tensor}"));
        let file = read_latent(&tensor, id).unwrap();
        let bits = |latent: &Latent| {
            latent
                .as_slice()
                .iter()
                .map(|v| v.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&file.latent), bits(&record.latent));
    }
}

#[test]
fn an_archive_that_tar_packed_again_is_read() {
    let long = "x".repeat(300);
    let sandbox = filled(&["a", "a/b", &long]);
    sandbox.run(&["export", "-o", "all.tar"]).succeeds();
    let Some(list) = system_tar(&sandbox, &["-tf", "all.tar"]) else {
        return;
    };
    sandbox.write("list", list.as_bytes());
    system_tar(&sandbox, &["-xf", "all.tar"]);
    system_tar(&sandbox, &["-cf", "again.tar", "-T", "list"]);
    sandbox
        .run(&["import", "again.tar", "--db", "other"])
        .succeeds();
    assert!(records(&sandbox.path("other")) == records(&sandbox.path("store")));
}
