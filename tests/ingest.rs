//! Many images at once: what is found, what it is called, what is skipped, and what fails.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use serde_json::json;
use support::folders::{lines, pictures, tar, told};
use support::{Run, Sandbox, finish, picture};

/// Two pictures in folders, one beside them, a text, a hidden picture, and one that is none.
fn folder() -> Sandbox {
    let sandbox = Sandbox::new();
    let names = [
        "in/b.png",
        "in/a/2.jpg",
        "in/a/1.png",
        "in/.hidden/h.png",
        "in/.h.png",
    ];
    pictures(&sandbox, &names, (40, 24));
    sandbox.write("in/notes.txt", b"text");
    sandbox.write("in/c.png", b"no picture");
    sandbox
}

fn ingest(sandbox: &Sandbox, args: &[&str]) -> Run {
    sandbox.run(&[&["ingest"], args].concat())
}

fn ids(sandbox: &Sandbox) -> Vec<String> {
    let run = sandbox.run(&["ls"]).succeeds();
    run.text().lines().map(str::to_owned).collect()
}

#[test]
fn a_folder_comes_in_under_its_paths_and_what_fails_is_told_and_does_not_stop_the_rest() {
    let sandbox = folder();
    let run = ingest(&sandbox, &["in"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert_eq!(run.text(), "");
    for part in [
        "error: 1 image failed:\n  in/c.png: c.png is no image",
        "stored 3 images, failed 1: ",
        "ignored 1 file: 1 .txt",
    ] {
        assert!(run.stderr.contains(part), "no `{part}` in {}", run.stderr);
    }
    assert_eq!(ids(&sandbox), ["a/1.png", "a/2.jpg", "b.png"]);
    let info = sandbox.run(&["info", "a/2.jpg", "--json"]).json();
    assert_eq!(info["source"]["name"], "2.jpg");
    assert_eq!(info["source"]["format"], "jpeg");
    // The same latent as one put gives.
    sandbox.run(&["put", "alone", "in/a/1.png"]).succeeds();
    for id in ["alone", "a/1.png"] {
        sandbox
            .run(&["get", id, "--latent", "-o", "out.npy"])
            .succeeds();
        std::fs::rename(
            sandbox.path("out.npy"),
            sandbox.path(&format!("{}.npy", id.len())),
        )
        .unwrap();
    }
    assert!(sandbox.read("5.npy") == sandbox.read("7.npy"));
}

#[test]
fn lines_of_json_come_in_the_order_of_inputs_and_name_what_became_of_them() {
    let sandbox = folder();
    let run = ingest(&sandbox, &["in", "--json"]);
    assert_eq!(run.code, 3);
    let expected = [
        "a/1.png stored",
        "a/2.jpg stored",
        "b.png stored",
        "c.png failed",
    ];
    assert_eq!(told(&run), expected);
    let first = &lines(&run)[0];
    let keys: Vec<_> = first.as_object().unwrap().keys().collect();
    let documented = [
        "id",
        "status",
        "path",
        "member",
        "source_bytes",
        "bytes_stored",
        "reason",
        "notes",
    ];
    assert_eq!(keys, documented);
    assert_eq!(first["path"], "in/a/1.png");
    assert_eq!(first["source_bytes"], sandbox.read("in/a/1.png").len());
    let listed = sandbox.run(&["info", "a/1.png", "--json"]).json();
    assert_eq!(first["bytes_stored"], listed["bytes_stored"]);
    assert!(
        lines(&run)[3]["reason"]
            .as_str()
            .unwrap()
            .contains("c.png is no image")
    );

    let help = ingest(&sandbox, &["--help"]).succeeds();
    for key in documented {
        assert!(
            help.text().contains(key),
            "`ingest --help` doesn't name {key}"
        );
    }
}

#[test]
fn a_second_run_skips_what_is_there_and_tells_what_is_stale() {
    let sandbox = Sandbox::new();
    pictures(&sandbox, &["in/a.png", "in/b.png"], (40, 24));
    ingest(&sandbox, &["in"]).succeeds();
    sandbox.image("in/b.png", &picture(48, 24, 9));
    pictures(&sandbox, &["in/c.png"], (40, 24));
    let run = ingest(&sandbox, &["in", "--json"]).succeeds();
    assert_eq!(told(&run), ["a.png skipped", "b.png stale", "c.png stored"]);
    assert_eq!(lines(&run)[1]["reason"], "of another file");

    let run = ingest(&sandbox, &["in", "--update", "--json"]).succeeds();
    assert_eq!(
        told(&run),
        ["a.png skipped", "b.png updated", "c.png skipped"]
    );
    assert_eq!(
        sandbox.run(&["info", "b.png", "--json"]).json()["width"],
        48
    );

    let other = ["in", "--resize", "32x32"];
    let run = ingest(&sandbox, &other).succeeds();
    let stale = "stale: a.png: prepared as it is and not resize=32x32\n";
    assert!(run.stderr.contains(stale), "{}", run.stderr);
    assert!(
        run.stderr.contains("stale 3\nhint: --update"),
        "{}",
        run.stderr
    );
    let run = ingest(&sandbox, &[&other[..], &["--update", "--json"]].concat()).succeeds();
    assert_eq!(
        told(&run),
        ["a.png updated", "b.png updated", "c.png updated"]
    );
}

#[test]
fn two_files_of_one_id_are_a_failure_of_the_second() {
    let sandbox = Sandbox::new();
    pictures(&sandbox, &["x/a.png", "y/a.png", "y/a.jpg"], (40, 24));
    let run = ingest(&sandbox, &["x", "y", "--json"]);
    assert_eq!(run.code, 3);
    assert_eq!(told(&run), ["a.png stored", "a.jpg stored", "a.png failed"]);
    let reason = lines(&run)[2]["reason"].clone();
    assert_eq!(reason, "another input of this run has the id `a.png`");
    let source = sandbox.run(&["info", "a.png", "--json"]).json()["source"]["blake3"].clone();
    assert_eq!(
        source,
        blake3::hash(&sandbox.read("x/a.png")).to_hex().as_str()
    );
    // Among the files of one folder too.
    let run = ingest(&sandbox, &["y", "--id", "{stem}", "--dry-run", "--json"]);
    assert_eq!(told(&run), ["a stored", "a failed"]);
}

#[test]
fn ids_are_made_as_told() {
    let sandbox = Sandbox::new();
    pictures(&sandbox, &["in/sub/a.png", "in/b.png"], (40, 24));
    std::fs::copy(sandbox.path("in/b.png"), sandbox.path("in/same.png")).unwrap();
    let ids = |args: &[&str]| {
        let run = ingest(&sandbox, &[args, &["--dry-run", "--json"]].concat()).succeeds();
        let told = lines(&run)
            .into_iter()
            .map(|line| line["id"].as_str().unwrap().to_owned());
        told.collect::<Vec<_>>()
    };
    assert_eq!(ids(&["in"]), ["b.png", "same.png", "sub/a.png"]);
    assert_eq!(ids(&["in", "--id", "stem"]), ["b", "same", "a"]);
    assert_eq!(
        ids(&["in", "--id", "x-{dir}/{stem}.{ext}"]),
        ["x-/b.png", "x-/same.png", "x-sub/a.png"]
    );
    assert_eq!(
        ids(&["in/sub/a.png", "./in//b.png"]),
        ["in/sub/a.png", "in/b.png"]
    );
    assert_eq!(ids(&["in/sub/a.png", "--root", "in"]), ["sub/a.png"]);
    assert_eq!(ids(&["in", "--root", "."])[..1], ["in/b.png"]);
    assert_eq!(
        ids(&["in/**/*.png"]),
        ["in/b.png", "in/same.png", "in/sub/a.png"]
    );
    let hash = blake3::hash(&sandbox.read("in/b.png")).to_hex();
    let hashes = ids(&["in/b.png", "in/same.png", "--id", "hash"]);
    assert_eq!(hashes, [hash.as_str(), hash.as_str()]);
    let run = ingest(&sandbox, &["in/sub/a.png", "--root", "elsewhere"]);
    assert!(
        run.stderr.contains("in/sub/a.png is not below elsewhere"),
        "{}",
        run.stderr
    );
    ingest(&sandbox, &["in", "--id", "{name}"]).fails(2, &["no {name}", "{stem}"]);
    ingest(&sandbox, &["in", "--id", "x"]).fails(2, &["the same id"]);
}

#[test]
fn the_same_file_under_a_hash_is_stored_once() {
    let sandbox = Sandbox::new();
    pictures(&sandbox, &["in/b.png"], (40, 24));
    std::fs::copy(sandbox.path("in/b.png"), sandbox.path("in/same.png")).unwrap();
    let run = ingest(&sandbox, &["in", "--id", "hash", "--json"]).succeeds();
    let mut statuses: Vec<_> = lines(&run)
        .iter()
        .map(|line| line["status"].clone())
        .collect();
    statuses.sort_by_key(ToString::to_string);
    assert_eq!(statuses, ["skipped", "stored"]);
    assert_eq!(ids(&sandbox).len(), 1);
}

#[test]
fn lists_may_have_lines_zero_bytes_or_objects() {
    let sandbox = folder();
    let told_of = |list: &[u8], args: &[&str]| {
        let mut command = sandbox.command();
        command
            .args(["ingest", "-", "--dry-run", "--json"])
            .args(args)
            .write_stdin(list);
        told(&finish(&mut command))
    };
    assert_eq!(
        told_of(b"in/b.png\nin/a\n\n", &[]),
        ["in/b.png stored", "1.png stored", "2.jpg stored"]
    );
    assert_eq!(
        told_of(b"in/b.png\0in/a/1.png", &[]),
        ["in/b.png stored", "in/a/1.png stored"]
    );
    assert_eq!(told_of(b"in/b.png\r\n", &[]), ["in/b.png stored"]);
    let object = json!({"path": "in/b.png", "id": "chosen", "more": 1}).to_string();
    assert_eq!(told_of(object.as_bytes(), &[]), ["chosen stored"]);
    assert_eq!(
        told_of(b"{\"id\": \"x\"}\nin/b.png", &[]),
        ["- failed", "in/b.png stored"]
    );
    assert_eq!(told_of(b"gone.png\n", &[]), ["gone.png failed"]);
    assert_eq!(told_of(b"", &[]), [""; 0]);
}

#[test]
fn what_failed_can_be_fed_back_under_the_same_ids() {
    let sandbox = folder();
    let run = ingest(&sandbox, &["in", "--failures", "failed.jsonl"]);
    assert_eq!(run.code, 3);
    let failed = String::from_utf8(sandbox.read("failed.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(&failed).unwrap();
    assert_eq!(
        (&line["path"], &line["id"]),
        (&json!("in/c.png"), &json!("c.png"))
    );
    assert!(
        line["error"]
            .as_str()
            .unwrap()
            .contains("c.png is no image")
    );
    sandbox.image("in/c.png", &picture(40, 24, 7));
    let mut command = sandbox.command();
    command
        .args(["ingest", "-", "--failures", "failed.jsonl"])
        .write_stdin(failed);
    finish(&mut command).succeeds();
    assert_eq!(ids(&sandbox), ["a/1.png", "a/2.jpg", "b.png", "c.png"]);
    assert!(sandbox.read("failed.jsonl").is_empty());
}

#[test]
fn shards_are_disjoint_and_together_the_whole_whatever_comes_in() {
    let sandbox = Sandbox::new();
    let names: Vec<_> = (0..30).map(|n| format!("in/{n}.png")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    pictures(&sandbox, &names, (8, 8));
    let files: Vec<_> = names
        .iter()
        .map(|name| (*name, name.strip_prefix("in/").unwrap()))
        .collect();
    sandbox.write("all.tar", &tar(&sandbox, &files));
    let part = |input: &str, shard: &str| {
        let run = ingest(&sandbox, &[input, "--shard", shard, "--dry-run", "--json"]).succeeds();
        told(&run)
    };
    let mut all = Vec::new();
    for shard in ["0/3", "1/3", "2/3"] {
        let ids = part("in", shard);
        assert!((4..=18).contains(&ids.len()), "{shard}: {}", ids.len());
        let mut members = part("all.tar", shard);
        members.sort();
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(members, sorted);
        all.extend(ids);
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 30);
    for bad in ["3/3", "1", "-1/3", "0/0", "a/b"] {
        let flag = format!("--shard={bad}");
        ingest(&sandbox, &["in", &flag]).fails(2, &["I/N"]);
    }
}

#[test]
fn a_dry_run_makes_nothing() {
    let sandbox = folder();
    let run = ingest(&sandbox, &["in", "--dry-run"]).succeeds();
    assert_eq!(
        run.text().lines().next(),
        Some("stored\ta/1.png\tin/a/1.png")
    );
    assert!(
        run.stderr.contains("would store 4 images"),
        "{}",
        run.stderr
    );
    assert!(!sandbox.path("store").exists());
}

#[test]
fn the_first_failure_ends_a_run_that_asked_for_it() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.png", b"bad");
    let names: Vec<_> = (0..200).map(|n| format!("in/{n}.png")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    pictures(&sandbox, &names, (64, 64));
    let run = ingest(&sandbox, &["bad.png", "in", "--fail-fast"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(ids(&sandbox).len() < 200);
}

#[test]
fn slips_fail_before_a_store_is_made() {
    let sandbox = folder();
    ingest(&sandbox, &["nowhere"]).fails(1, &["there is no nowhere"]);
    ingest(&sandbox, &["in", "--encoder", "nobody"]).fails(1, &["nobody"]);
    ingest(&sandbox, &[]).fails(2, &["PATH"]);
    ingest(&sandbox, &["in", "--tag", "x"]).fails(2, &["KEY=VALUE"]);
    assert!(!sandbox.path("store").exists());
    let run = ingest(&sandbox, &["none*.png"]);
    assert_eq!(run.code, 3);
    assert!(
        run.stderr.contains("nothing fits `none*.png`"),
        "{}",
        run.stderr
    );
}

#[test]
fn batches_give_the_latents_that_single_images_give() {
    let sandbox = Sandbox::new();
    let names = ["in/a.png", "in/b.png", "in/c.png", "in/d.png", "in/e.png"];
    pictures(&sandbox, &names[..3], (40, 24));
    pictures(&sandbox, &names[3..], (24, 40));
    ingest(&sandbox, &["in", "--batch", "2"]).succeeds();
    let batched: Vec<_> = ids(&sandbox)
        .iter()
        .map(|id| latent(&sandbox, id))
        .collect();
    std::fs::remove_dir_all(sandbox.path("store")).unwrap();
    ingest(&sandbox, &["in"]).succeeds();
    for (id, batched) in ids(&sandbox).iter().zip(batched) {
        assert!(latent(&sandbox, id) == batched, "{id}");
    }
}

fn latent(sandbox: &Sandbox, id: &str) -> Vec<u8> {
    sandbox
        .run(&["get", id, "--latent", "--format", "npy"])
        .succeeds()
        .stdout
}
