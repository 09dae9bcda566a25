//! `latentdb model pull`, from a server that plays the Hugging Face hub to an image that comes back.
#![cfg(feature = "pull")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/fake_hub.rs"]
mod fake_hub;
mod support;

use std::path::Path;

use fake_hub::FakeHub;
use support::{Run, Sandbox, finish, picture};

const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

fn run(sandbox: &Sandbox, endpoint: &str, args: &[&str]) -> Run {
    let mut command = sandbox.command();
    command
        .env("HF_ENDPOINT", endpoint)
        .env("HF_HOME", sandbox.path("hf"))
        .env("LATENTDB_MODELS", sandbox.path("models"));
    finish(command.args(["--provider", "cpu"]).args(args))
}

/// A hub that has the small model of `tests/golden/sd` where the real one has `sd`.
fn hub() -> FakeHub {
    let hub = FakeHub::new("stabilityai/sd-vae-ft-mse");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sd/model");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    hub.add("config.json", &read("config.json"), false);
    hub.add(WEIGHTS, &read(WEIGHTS), true);
    hub
}

#[test]
fn a_pulled_model_puts_and_gets() {
    let (sandbox, hub) = (Sandbox::new(), hub());
    let pull = run(&sandbox, &hub.url(), &["model", "pull", "sd"]).succeeds();
    let commit = hub.state().commit.clone();
    for part in ["licence: ", "size: ", &commit, "stabilityai/sd-vae-ft-mse"] {
        assert!(
            pull.stderr.contains(part),
            "no `{part}` in: {}",
            pull.stderr
        );
    }
    assert!(pull.stdout.is_empty());
    sandbox.image("a.png", &picture(40, 24, 1));
    run(
        &sandbox,
        &hub.url(),
        &["put", "a", "a.png", "--encoder", "sd"],
    )
    .succeeds();
    run(&sandbox, &hub.url(), &["get", "a", "--decoder", "sd"]).succeeds();
    let info = run(&sandbox, &hub.url(), &["model", "info", "sd", "--json"])
        .succeeds()
        .json();
    assert!(info["source"].as_str().unwrap().contains(&commit), "{info}");
    assert_eq!(info["latent_space"], "sd-v1");

    run(&sandbox, &hub.url(), &["model", "pull", "sd"]).fails(1, &["`sd` already"]);
    let sent = hub.sent(WEIGHTS);
    run(
        &sandbox,
        &hub.url(),
        &["model", "pull", "sd", "--name", "again"],
    )
    .succeeds();
    assert_eq!(
        hub.sent(WEIGHTS),
        sent,
        "what is in the cache isn't loaded again"
    );
}

#[test]
fn a_family_that_can_not_be_run_is_refused_before_its_weights_are_loaded() {
    let sandbox = Sandbox::new();
    let hub = FakeHub::new("stabilityai/sdxl-vae");
    hub.add(
        "config.json",
        br#"{"_class_name": "AutoencoderSomethingElse"}"#,
        false,
    );
    hub.add(WEIGHTS, &[7; 1000], true);
    run(&sandbox, &hub.url(), &["model", "pull", "sdxl"]).fails(
        1,
        &[
            "AutoencoderSomethingElse",
            "can be imported",
            "--download-only",
        ],
    );
    assert_eq!(hub.sent(WEIGHTS), 0);
    assert!(!sandbox.path("models").exists());

    let args = ["model", "pull", "sdxl", "--download-only"];
    let folder = run(&sandbox, &hub.url(), &args).succeeds();
    let weights = Path::new(folder.text().trim()).join(WEIGHTS);
    assert_eq!(std::fs::read(weights).unwrap(), [7; 1000]);
    assert!(!sandbox.path("models").exists());
}

#[test]
fn without_a_network_it_fails_with_the_server_it_asked() {
    let sandbox = Sandbox::new();
    // A port that was just free.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    run(&sandbox, &endpoint, &["model", "pull", "sd"]).fails(1, &[&endpoint, "hint: "]);
    assert!(!sandbox.path("models").exists());
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let sandbox = Sandbox::new();
    let list = run(&sandbox, "http://127.0.0.1:9", &["model", "pull"]).succeeds();
    for name in ["sd", "sd-ema", "sdxl", "taesd", "taesdxl", "consistency"] {
        assert!(
            list.text()
                .lines()
                .any(|line| line.starts_with(&format!("{name} "))),
            "{name}"
        );
        let model = ["put", "a", "a.png", "--encoder", name];
        sandbox.image("a.png", &picture(8, 8, 1));
        run(&sandbox, "http://127.0.0.1:9", &model).fails(1, &[&format!("model pull {name}")]);
    }
    run(
        &sandbox,
        "http://127.0.0.1:9",
        &["model", "pull", "nothing"],
    )
    .fails(2, &["`nothing`", "sd-ema", "model import"]);
}
