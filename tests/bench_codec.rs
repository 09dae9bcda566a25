//! What `bench-codec` says of a store, and of files.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use serde_json::Value;
use support::folders::pictures;
use support::{Sandbox, shared};

/// The figures of one coding.
fn of<'a>(told: &'a Value, coding: &str) -> &'a Value {
    let codings = told["codings"].as_array().unwrap();
    codings.iter().find(|one| one["coding"] == coding).unwrap()
}

#[test]
fn of_a_store_it_tells_ratio_speed_and_how_far_images_move() {
    let sandbox = Sandbox::new();
    pictures(&sandbox, &["in/a.png", "in/b.png", "in/c.png"], (160, 120));
    sandbox.run(&["ingest", "in"]).succeeds();
    let before = sandbox.run(&["ls", "--json"]).succeeds().stdout;
    let told = sandbox.run(&["bench-codec", "--json"]).succeeds().json();
    assert_eq!(told["latents"], 3);
    let names: Vec<_> = told["codings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["coding"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["planes", "fast", "dense", "q8", "q6", "q5", "q4"]);
    let ratios: Vec<_> = ["fast", "dense", "q8", "q6", "q5", "q4"]
        .map(|name| of(&told, name)["ratio"].as_f64().unwrap())
        .into();
    assert!(ratios.is_sorted_by(|a, b| a < b), "{ratios:?}");
    for name in names {
        let figures = of(&told, name);
        for speed in ["encode_mb_s", "decode_mb_s"] {
            assert!(figures[speed].as_f64().unwrap() > 0.0, "{figures}");
        }
        let lossy = name.starts_with('q');
        assert_eq!(figures["psnr_beside_f16"].is_number(), lossy, "{figures}");
        // No original is at hand.
        assert!(figures["psnr_loss"].is_null());
    }
    let moved = |name: &str| of(&told, name)["psnr_beside_f16"].as_f64().unwrap();
    assert!(moved("q8") > moved("q6") && moved("q6") > moved("q4"));
    assert!(
        sandbox.run(&["ls", "--json"]).succeeds().stdout == before,
        "nothing is stored"
    );

    // What a coding takes beside the rest of a record is what the record grows or shrinks by.
    let stored = |id: &str| sandbox.run(&["info", id, "--json"]).succeeds().json();
    let sum = |sandbox: &Sandbox| -> u64 {
        let all = sandbox.run(&["ls", "--json"]).succeeds();
        all.text()
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["bytes_stored"]
                    .as_u64()
                    .unwrap()
            })
            .sum()
    };
    let fast = sum(&sandbox);
    sandbox.run(&["recode", "--coding", "dense"]).succeeds();
    let saved = fast - sum(&sandbox);
    let bytes = |name: &str| {
        3.0 * stored("a.png")["latent_bytes"].as_f64().unwrap()
            / of(&told, name)["ratio"].as_f64().unwrap()
    };
    assert!(
        (bytes("fast") - bytes("dense") - saved as f64).abs() < 4.0,
        "{saved}"
    );

    sandbox.run(&["recode", "--coding", "q6"]).succeeds();
    sandbox
        .run(&["recode", "--coding", "fast", "--prefix", "a"])
        .succeeds();
    sandbox
        .run(&["bench-codec"])
        .fails(1, &["kept without loss", "hint: name image files"]);
}

#[test]
fn of_files_it_tells_the_loss_and_that_is_what_put_and_get_lose() {
    let sandbox = Sandbox::new();
    let photo = shared("images/kodak/kodim04.png");
    let photo = photo.as_ref().map_or_else(
        || {
            pictures(&sandbox, &["photo.png"], (320, 200));
            "photo.png".to_owned()
        },
        |path| path.to_str().unwrap().to_owned(),
    );
    let told = sandbox
        .run(&["bench-codec", &photo, "--json"])
        .succeeds()
        .json();
    assert!(!sandbox.path("store").exists(), "no store is made");
    let psnr = |coding: &str| {
        sandbox
            .run(&["put", "x", &photo, "--replace", "--coding", coding])
            .succeeds();
        sandbox.run(&["get", "x", "-o", "back.png"]).succeeds();
        let metrics = sandbox
            .run(&["metrics", &photo, "back.png", "--json"])
            .succeeds();
        metrics.json()["psnr"].as_f64().unwrap()
    };
    let exact = psnr("fast");
    for coding in ["q6", "q4"] {
        let loss = of(&told, coding)["psnr_loss"].as_f64().unwrap();
        assert!(
            (loss - (exact - psnr(coding))).abs() < 1e-3,
            "{coding}: {loss}"
        );
    }
    let text = sandbox.run(&["bench-codec", &photo]).succeeds();
    assert!(text.text().starts_with("coding "), "{}", text.text());
    assert_eq!(text.text().lines().count(), 8);
}

#[test]
fn without_decoding_it_needs_no_model() {
    let sandbox = Sandbox::new();
    support::stores::fill(&sandbox, 5);
    let args = [
        "--onnxruntime",
        "nowhere",
        "bench-codec",
        "--no-decode",
        "--sample",
        "2",
        "--json",
    ];
    let told = sandbox.run(&args).succeeds().json();
    assert_eq!(told["latents"], 2);
    assert!(of(&told, "q6")["psnr_beside_f16"].is_null());
    sandbox
        .run(&["bench-codec", "nowhere.png"])
        .fails(1, &["there is no nowhere.png"]);
    sandbox
        .run(&["bench-codec", "--sample", "0"])
        .fails(2, &["sample"]);
    let empty = Sandbox::new();
    empty
        .run(&["bench-codec"])
        .fails(1, &["latentdb init makes a store"]);
}
