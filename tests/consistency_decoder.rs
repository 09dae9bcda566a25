//! A consistency decoder, as a user imports it and reads latents of another model with it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::path::{Path, PathBuf};

use support::{Run, Sandbox, decoded, picture};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

fn run(sandbox: &Sandbox, args: &[&str]) -> Run {
    let models = sandbox.path("models");
    let models = ["--models", models.to_str().unwrap(), "--provider", "cpu"];
    sandbox.run(&[&models[..], args].concat())
}

/// A sandbox with the decoder `con`, the small autoencoder `sd`, and a latent of that under the ids `cat` and `dog`.
fn with_latents() -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, path) in [("con", "consistency/model"), ("sd", "golden/sd/model")] {
        let path = golden(path);
        let import = ["model", "import", path.to_str().unwrap(), "--name", name];
        run(&sandbox, &import).succeeds();
    }
    let image = sandbox.image("cat.png", &picture(45, 38, 1));
    run(&sandbox, &["put", "cat", &image, "--encoder", "sd"]).succeeds();
    run(&sandbox, &["put", "dog", &image, "--encoder", "sd"]).succeeds();
    sandbox
}

fn get(sandbox: &Sandbox, id: &str, args: &[&str]) -> Vec<u8> {
    let args = [&["get", id, "--decoder", "con"], args].concat();
    let pixels = decoded(&run(sandbox, &args).succeeds().stdout);
    assert_eq!((pixels.width(), pixels.height()), (45, 38));
    pixels.into_rgb()
}

#[test]
fn a_record_comes_back_the_same_at_every_read_and_by_its_seed() {
    let sandbox = with_latents();
    let cat = get(&sandbox, "cat", &[]);
    assert!(get(&sandbox, "cat", &[]) == cat);
    assert!(get(&sandbox, "cat", &["--steps", "2"]) == cat);
    // The same latent under another id has noise of its own, unless it is given the same seed.
    assert!(get(&sandbox, "dog", &[]) != cat);
    assert!(get(&sandbox, "dog", &["--seed", "cat"]) == cat);
    assert!(get(&sandbox, "cat", &["--steps", "3"]) != cat);
    run(
        &sandbox,
        &["get", "--prefix", "", "--decoder", "con", "-o", "out"],
    )
    .succeeds();
    assert!(decoded(&sandbox.read("out/cat.png")).as_rgb() == cat);
}

#[test]
fn what_the_decoder_is_can_be_asked() {
    let sandbox = with_latents();
    let info = run(&sandbox, &["model", "info", "con", "--json"])
        .succeeds()
        .json();
    assert_eq!(info["family"], "consistency-decoder");
    assert_eq!(info["latent_space"], "sd-v1");
    assert_eq!(info["decoder"]["sampler"], "consistency");
    assert_eq!(
        info["decoder"]["pixels"]["range"],
        serde_json::json!([-1.0, 1.0])
    );
    run(&sandbox, &["model", "verify", "con"]).succeeds();
}

#[test]
fn steps_and_seeds_are_refused_where_they_mean_nothing() {
    let sandbox = with_latents();
    for steps in ["0", "65", "two"] {
        let args = ["get", "cat", "--decoder", "con", "--steps", steps];
        run(&sandbox, &args).fails(2, &[steps]);
    }
    let args = ["get", "cat", "--decoder", "sd", "--seed", "7"];
    run(&sandbox, &args).fails(2, &["`sd`", "--seed"]);
    run(&sandbox, &["get", "cat", "--steps", "3"]).fails(1, &["decoder `sd`", "steps"]);
    let other = sandbox.image("other.png", &picture(16, 16, 2));
    run(&sandbox, &["put", "tiny", &other]).succeeds();
    run(&sandbox, &["get", "tiny", "--decoder", "con"]).fails(1, &["sd-v1", "tiny-2"]);
}
