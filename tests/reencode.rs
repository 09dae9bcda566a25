//! Records made again by another encoder, from the files they came from.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::path::Path;

use support::folders::{lines, pictures, tar, told};
use support::{Run, Sandbox, decoded};

/// A sandbox with the small model `sd`, and records that `tiny` made: of files, of a resized file and of two with the
/// same bytes.
fn with_records() -> Sandbox {
    let sandbox = Sandbox::new();
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sd/model");
    let weights = weights.to_str().unwrap();
    run(&sandbox, &["model", "import", weights, "--name", "sd"]).succeeds();
    pictures(&sandbox, &["in/a.png", "in/b.png", "in/c.png"], (40, 24));
    run(&sandbox, &["ingest", "in", "--tag", "kept=yes"]).succeeds();
    let resized = [
        "put",
        "small",
        "in/b.png",
        "--resize",
        "16x16",
        "--center-crop",
    ];
    run(&sandbox, &resized).succeeds();
    sandbox
}

fn run(sandbox: &Sandbox, args: &[&str]) -> Run {
    let models = sandbox.path("models");
    let models = ["--models", models.to_str().unwrap(), "--provider", "cpu"];
    sandbox.run(&[&models[..], args].concat())
}

fn reencode(sandbox: &Sandbox, args: &[&str]) -> Run {
    run(
        sandbox,
        &[&["reencode", "--encoder", "sd", "--json"], args].concat(),
    )
}

#[test]
fn records_are_made_again_whatever_their_files_are_called_now_and_the_rest_is_listed() {
    let sandbox = with_records();
    std::fs::create_dir(sandbox.path("elsewhere")).unwrap();
    std::fs::rename(sandbox.path("in/a.png"), sandbox.path("elsewhere/x.png")).unwrap();
    std::fs::rename(sandbox.path("in/b.png"), sandbox.path("elsewhere/y.png")).unwrap();
    std::fs::remove_file(sandbox.path("in/c.png")).unwrap();

    let planned = reencode(&sandbox, &["--dry-run"]);
    let expected = [
        "c.png missing",
        "a.png updated",
        "b.png updated",
        "small updated",
    ];
    assert_eq!(
        (planned.code, told(&planned)),
        (3, expected.map(str::to_owned).to_vec())
    );
    let info = |id: &str| run(&sandbox, &["info", id, "--json"]).succeeds().json();
    assert_eq!(info("a.png")["encoder"], "tiny");

    let done = reencode(&sandbox, &["--from", "elsewhere"]);
    assert_eq!(
        (done.code, told(&done)),
        (3, expected.map(str::to_owned).to_vec())
    );
    assert_eq!(lines(&done)[0]["path"], "c.png");
    for id in ["a.png", "b.png", "small"] {
        assert_eq!(info(id)["encoder"], "sd", "{id}");
        assert_eq!(info(id)["latent_space"], "sd-v1");
    }
    assert_eq!(info("c.png")["encoder"], "tiny");
    assert_eq!(info("a.png")["tags"]["kept"], "yes");
    assert_eq!(info("small")["preparation"], "resize=16x16 center-crop");
    assert_eq!(info("small")["latent_shape"], serde_json::json!([4, 2, 2]));

    // The same latent as a put by that encoder gives.
    run(
        &sandbox,
        &["put", "again", "elsewhere/y.png", "--encoder", "sd"],
    )
    .succeeds();
    let latent = |id: &str| {
        run(&sandbox, &["get", id, "--latent", "--format", "npy"])
            .succeeds()
            .stdout
    };
    assert!(latent("again") == latent("b.png"));

    // What is done is not done again.
    assert_eq!(
        told(&reencode(&sandbox, &["--from", "elsewhere"])),
        ["c.png missing"]
    );
}

#[test]
fn a_record_stays_in_its_coding_with_the_error_of_its_new_latent() {
    let sandbox = with_records();
    run(&sandbox, &["recode", "--coding", "q6", "--prefix", "a"]).succeeds();
    run(&sandbox, &["recode", "--coding", "dense", "--prefix", "b"]).succeeds();
    reencode(&sandbox, &["--from", "in"]).succeeds();
    let info = |id: &str| run(&sandbox, &["info", id, "--json"]).succeeds().json();
    let codings = ["a.png", "b.png", "c.png"].map(|id| info(id)["coding"].clone());
    assert_eq!(codings, ["q6", "dense", "fast"]);
    run(
        &sandbox,
        &[
            "put",
            "again",
            "in/a.png",
            "--encoder",
            "sd",
            "--coding",
            "q6",
        ],
    )
    .succeeds();
    assert_eq!(info("again")["latent_error"], info("a.png")["latent_error"]);
    assert_eq!(info("b.png")["latent_error"], serde_json::Value::Null);
}

#[test]
fn originals_are_found_in_tars_and_by_prefix() {
    let sandbox = with_records();
    let files = [
        ("in/a.png", "0.png"),
        ("in/b.png", "1.png"),
        ("in/c.png", "2.png"),
    ];
    sandbox.write("shard.tar", &tar(&sandbox, &files));
    std::fs::remove_dir_all(sandbox.path("in")).unwrap();
    let done = reencode(&sandbox, &["--from", "shard.tar", "--prefix", "b"]).succeeds();
    assert_eq!(told(&done), ["b.png updated"]);
    let mut done = told(&reencode(&sandbox, &["--from", "shard.tar"]).succeeds());
    done.sort();
    assert_eq!(done, ["a.png updated", "c.png updated", "small updated"]);
}

#[test]
fn a_record_that_keeps_its_original_needs_no_file_and_what_was_measured_is_measured_again() {
    let sandbox = with_records();
    let put = ["put", "a.png", "in/a.png", "--replace", "--measure"];
    run(&sandbox, &put).succeeds();
    let keep = ["--min-psnr", "90", "--below", "keep-original"];
    run(
        &sandbox,
        &[&["put", "kept", "in/b.png"], &keep[..]].concat(),
    )
    .succeeds();
    let file = sandbox.read("in/b.png");
    std::fs::remove_file(sandbox.path("in/b.png")).unwrap();
    let mut done = told(&reencode(&sandbox, &[]));
    done.sort();
    let expected = [
        "a.png updated",
        "b.png missing",
        "c.png updated",
        "kept updated",
        "small missing",
    ];
    assert_eq!(done, expected);
    let info = |id: &str| run(&sandbox, &["info", id, "--json"]).succeeds().json();
    assert_eq!(
        (&info("kept")["encoder"], &info("kept")["original"]),
        (&"sd".into(), &true.into())
    );
    assert_eq!(info("a.png")["quality"]["decoder"], "sd");
    assert_eq!(info("kept")["quality"]["decoder"], "sd");
    assert!(info("c.png")["quality"].is_null());
    let back = run(&sandbox, &["get", "kept"]).succeeds();
    assert!(decoded(&back.stdout).as_rgb() == decoded(&file).as_rgb());
}

#[test]
fn what_cannot_work_fails_before_anything_is_done() {
    let sandbox = with_records();
    run(&sandbox, &["reencode", "--encoder", "nobody"]).fails(1, &["nobody"]);
    reencode(&sandbox, &["--from", "nowhere"]).fails(1, &["there is no nowhere"]);
    reencode(&sandbox, &["--db", "none"]).fails(1, &["none"]);
    run(&sandbox, &["reencode"]).fails(2, &["--encoder"]);
}
