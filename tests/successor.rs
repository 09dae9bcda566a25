//! The built-in model has a successor: what the first one encoded is read as ever, and can be taken over.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use support::folders::told;
use support::{Sandbox, decoded};

fn fixture(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-1");
    root.join(name)
}

/// A sandbox whose store holds a record that the first `tiny` made.
fn with_old_record() -> Sandbox {
    let sandbox = Sandbox::new();
    let archive = fixture("record.tar");
    sandbox
        .run(&["import", archive.to_str().unwrap()])
        .succeeds();
    sandbox
}

#[test]
fn what_the_first_model_encoded_comes_back_as_it_did_then() {
    let sandbox = with_old_record();
    let info = sandbox
        .run(&["info", "picture", "--json"])
        .succeeds()
        .json();
    assert_eq!(
        (&info["encoder"], &info["latent_space"]),
        (&"tiny".into(), &"tiny-1".into())
    );
    let now = decoded(&sandbox.run(&["get", "picture"]).succeeds().stdout);
    let then = decoded(&std::fs::read(fixture("decoded.png")).unwrap());
    assert_eq!((now.width(), now.height()), (then.width(), then.height()));
    // Machines add up in different orders.
    let pairs = now.as_rgb().iter().zip(then.as_rgb());
    let apart = pairs.map(|(a, b)| a.abs_diff(*b)).max();
    assert!(apart <= Some(1), "{apart:?} levels");
}

/// A record says only the name of its latent space: weights that are trained anew need another one.
#[test]
fn what_a_latent_space_was_written_and_read_by_never_changes() {
    let onnx = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx");
    for (model, space, file, sha256) in [
        (
            "tiny-1",
            "tiny-1",
            "decoder.onnx",
            "20e9883a1af78dd735f7e3079535fd337f2c6cbdce8401ead73ec10be0d92555",
        ),
        (
            "tiny",
            "tiny-2",
            "decoder.onnx",
            "ae12cfeda6743106bb0ac5e61aa01535edd07ab86350fdba05bbd2c3fab2e00c",
        ),
        (
            "tiny",
            "tiny-2",
            "encoder.onnx",
            "6b952b95459042a44ba74f9761cfe47b48317b6491628e43b226e7389c4448b8",
        ),
    ] {
        let folder = onnx.join(model);
        let manifest = std::fs::read(folder.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["latent_space"], space);
        let bytes = std::fs::read(folder.join(file)).unwrap();
        assert_eq!(
            format!("{:x}", Sha256::digest(bytes)),
            sha256,
            "{file} of {space}"
        );
    }
}

#[test]
fn the_new_decoder_does_not_read_the_old_space_and_the_old_model_encodes_no_more() {
    let sandbox = with_old_record();
    let get = sandbox.run(&["get", "picture", "--decoder", "tiny"]);
    get.fails(1, &["`tiny-1`", "`tiny-2`"]);
    let original = fixture("original.png");
    let original = original.to_str().unwrap();
    for command in [
        &["put", "new", original][..],
        &["ingest", original],
        &["reencode", "--from", original],
        &["init"],
    ] {
        let command = [&["--db", "another"], command, &["--encoder", "tiny-1"]].concat();
        let refused = ["`tiny-1` has no encoder", "hint: ", "`tiny` encodes"];
        sandbox.run(&command).fails(1, &refused);
        assert!(!sandbox.path("another").exists(), "{command:?}");
    }
    sandbox
        .run(&["model", "remove", "tiny-1"])
        .fails(1, &["built in"]);
}

#[test]
fn records_of_the_first_model_are_stale_and_made_again_from_their_files() {
    let sandbox = with_old_record();
    std::fs::create_dir(sandbox.path("originals")).unwrap();
    std::fs::copy(
        fixture("original.png"),
        sandbox.path("originals/picture.png"),
    )
    .unwrap();
    let ingest = ["ingest", "originals", "--id", "stem", "--json"];
    assert_eq!(told(&sandbox.run(&ingest)), ["picture stale"]);
    let dry = [
        "reencode",
        "--encoder",
        "tiny",
        "--from",
        "originals",
        "--json",
        "--dry-run",
    ];
    assert_eq!(told(&sandbox.run(&dry)), ["picture updated"]);
    let update = [&ingest[..], &["--update"]].concat();
    assert_eq!(told(&sandbox.run(&update).succeeds()), ["picture updated"]);
    let info = sandbox
        .run(&["info", "picture", "--json"])
        .succeeds()
        .json();
    assert_eq!(info["latent_space"], "tiny-2");
    sandbox.run(&["get", "picture"]).succeeds();
    assert_eq!(told(&sandbox.run(&dry)), [] as [&str; 0]);
}

#[test]
fn a_model_that_had_the_name_before_is_said_and_hides_nothing() {
    let sandbox = with_old_record();
    let models = sandbox.path("models");
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sd/model");
    let run = |args: &[&str]| {
        let models = ["--models", models.to_str().unwrap(), "--provider", "cpu"];
        sandbox.run(&[&models[..], args].concat())
    };
    run(&[
        "model",
        "import",
        weights.to_str().unwrap(),
        "--name",
        "mine",
    ])
    .succeeds();
    std::fs::rename(models.join("mine"), models.join("tiny-1")).unwrap();
    let manifest = models.join("tiny-1/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"mine\"", "\"tiny-1\"")).unwrap();
    let list = run(&["model", "list"]).succeeds();
    assert!(
        list.stderr.contains("a model of that name is built in now"),
        "{}",
        list.stderr
    );
    run(&["get", "picture"]).succeeds();
    run(&[
        "model",
        "import",
        weights.to_str().unwrap(),
        "--name",
        "tiny-1",
    ])
    .fails(1, &["`tiny-1`", "is built in"]);
}
