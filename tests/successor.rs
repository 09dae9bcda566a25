//! What the first built-in model encoded is read as ever, whatever follows it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
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

#[test]
fn the_first_decoder_is_kept_bit_for_bit() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx/tiny/decoder.onnx");
    let hash = format!("{:x}", Sha256::digest(std::fs::read(path).unwrap()));
    assert_eq!(
        hash,
        "20e9883a1af78dd735f7e3079535fd337f2c6cbdce8401ead73ec10be0d92555"
    );
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
    std::fs::rename(models.join("mine"), models.join("tiny")).unwrap();
    let manifest = models.join("tiny/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"mine\"", "\"tiny\"")).unwrap();
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
        "tiny",
    ])
    .fails(1, &["`tiny`", "is built in"]);
}
