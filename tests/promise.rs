//! Images that are measured on their way in, and what happens to those that come back worse than was promised.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::sync::Arc;

use latentdb::{
    Below, Database, ErrorKind, Hub, HubOptions, Pixels, Promise, Provider, PutOptions,
};
use support::{Run, Sandbox, decoded, picture};

/// Noise, which no autoencoder keeps.
fn noise(width: u32, height: u32) -> Pixels {
    let mut state = 1u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let bytes = (0..width * height * 3).map(|_| byte()).collect();
    Pixels::from_rgb(width, height, bytes).unwrap()
}

/// A folder with a picture that comes back well and one that doesn't.
fn easy_and_hard() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("in")).unwrap();
    sandbox.image(
        "in/easy.png",
        &Pixels::from_rgb(48, 40, vec![90; 48 * 40 * 3]).unwrap(),
    );
    sandbox.image("in/hard.png", &noise(48, 40));
    sandbox
}

fn json(sandbox: &Sandbox, args: &[&str]) -> serde_json::Value {
    sandbox.run(args).succeeds().json()
}

fn near(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-9
}

#[test]
fn what_is_recorded_is_what_the_metrics_of_original_and_image_say() {
    let sandbox = Sandbox::new();
    sandbox.image("a.png", &picture(200, 180, 1));
    let told = sandbox
        .run(&["-v", "put", "a", "a.png", "--measure"])
        .succeeds();
    assert!(told.stderr.contains("measured PSNR"), "{}", told.stderr);
    sandbox.run(&["get", "a", "-o", "back.png"]).succeeds();
    let metrics = json(&sandbox, &["metrics", "a.png", "back.png", "--json"]);
    let info = json(&sandbox, &["info", "a", "--json"]);
    assert_eq!(info["quality"]["decoder"], "tiny");
    for name in ["psnr", "ssim", "ms_ssim", "ssimulacra2"] {
        assert!(
            near(&info["quality"][name], &metrics[name]),
            "{name}: {info}"
        );
        let listed = json(&sandbox, &["ls", "--json"]);
        assert!(
            near(&listed["quality"][name], &metrics[name]),
            "{name}: {listed}"
        );
    }
    let text = sandbox.run(&["info", "a"]).succeeds();
    assert!(text.text().contains("dB") && text.text().contains("by `tiny`"));
    sandbox.run(&["put", "b", "a.png"]).succeeds();
    assert!(json(&sandbox, &["info", "b", "--json"])["quality"].is_null());
}

#[test]
fn an_image_below_the_promise_is_rejected_with_both_numbers_and_nothing_changes() {
    let sandbox = easy_and_hard();
    sandbox
        .run(&["put", "x", "in/easy.png", "--min-psnr", "30"])
        .succeeds();
    let before = sandbox.run(&["info", "x", "--json"]).stdout;
    let put = ["put", "x", "in/hard.png", "--replace", "--min-psnr", "30.5"];
    sandbox
        .run(&put)
        .fails(1, &["`x` was not stored", "PSNR", "below 30.5"]);
    assert_eq!(sandbox.run(&["info", "x", "--json"]).stdout, before);
    let put = [
        "put",
        "y",
        "in/hard.png",
        "--min-ssim",
        "0.99",
        "--min-psnr",
        "1",
    ];
    sandbox.run(&put).fails(1, &["SSIM", "below 0.99"]);
    assert_eq!(sandbox.run(&["ls"]).succeeds().text(), "x\n");
}

#[test]
fn an_original_that_is_kept_comes_back_bit_by_bit_unless_a_decoder_is_named() {
    let sandbox = easy_and_hard();
    let keep = ["--min-psnr", "30", "--below", "keep-original"];
    let put = |id: &str, more: &[&str]| {
        let args = [&["put", id, "in/hard.png"], &keep[..], more].concat();
        sandbox.run(&args).succeeds()
    };
    let told = put("x", &[]);
    assert!(
        told.stderr.contains("its original is kept"),
        "{}",
        told.stderr
    );
    let original = decoded(&sandbox.read("in/hard.png"));
    let get = |args: &[&str]| {
        decoded(
            &sandbox
                .run(&[&["get", "x"], args].concat())
                .succeeds()
                .stdout,
        )
    };
    assert!(get(&[]).as_rgb() == original.as_rgb());
    assert!(get(&["--decoder", "tiny"]).as_rgb() != original.as_rgb());
    sandbox
        .run(&["get", "x", "--latent", "-o", "x.safetensors"])
        .succeeds();
    let info = json(&sandbox, &["info", "x", "--json"]);
    assert_eq!(info["original"], true);
    assert!(info["quality"]["psnr"].as_f64().unwrap() < 30.0);
    let stored = info["bytes_stored"].as_u64().unwrap();
    assert!(stored > sandbox.read("in/hard.png").len() as u64, "{info}");
    assert!(
        sandbox
            .run(&["info", "x"])
            .text()
            .contains("unless a decoder is named")
    );

    // Prepared as the encoder got it.
    put("small", &["--resize", "20x20", "--center-crop"]);
    let small = decoded(&sandbox.run(&["get", "small"]).succeeds().stdout);
    assert_eq!((small.width(), small.height()), (20, 20));
    sandbox
        .run(&["get", "--prefix", "", "-o", "out"])
        .succeeds();
    assert!(decoded(&sandbox.read("out/x.png")).as_rgb() == original.as_rgb());

    // And it goes through an archive into another store.
    sandbox.run(&["export", "-o", "all.tar"]).succeeds();
    let other = ["--db", "other"];
    sandbox
        .run(&[&other[..], &["import", "all.tar"]].concat())
        .succeeds();
    let back = sandbox
        .run(&[&other[..], &["get", "x"]].concat())
        .succeeds();
    assert!(decoded(&back.stdout).as_rgb() == original.as_rgb());
    let moved = json(&sandbox, &[&other[..], &["info", "x", "--json"]].concat());
    assert_eq!(moved["quality"], info["quality"]);
    sandbox.run(&["verify", "--deep"]).succeeds();

    // An original has neither steps nor a seed.
    sandbox
        .run(&["get", "x", "--seed", "7"])
        .fails(1, &["original of `x`", "seed"]);
}

#[test]
fn an_image_that_keeps_the_promise_keeps_no_original() {
    let sandbox = easy_and_hard();
    let put = [
        "put",
        "x",
        "in/easy.png",
        "--min-psnr",
        "30",
        "--below",
        "keep-original",
    ];
    sandbox.run(&put).succeeds();
    let info = json(&sandbox, &["info", "x", "--json"]);
    assert_eq!(info["original"], false);
    assert!(
        info["quality"]["psnr"]
            .as_f64()
            .is_none_or(|psnr| psnr >= 30.0)
    );
}

fn ingest(sandbox: &Sandbox, args: &[&str]) -> (Run, Vec<(String, String)>) {
    let run = sandbox.run(&[&["ingest", "in", "--json"], args].concat());
    let told = run.text().lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        (text("id"), text("status"))
    });
    let told = told.collect();
    (run, told)
}

fn told(easy: &str, hard: &str) -> Vec<(String, String)> {
    let line = |id: &str, status: &str| (id.to_owned(), status.to_owned());
    vec![line("easy.png", easy), line("hard.png", hard)]
}

#[test]
fn an_ingest_rejects_one_by_one_and_goes_on() {
    let sandbox = easy_and_hard();
    let (run, found) = ingest(&sandbox, &["--min-psnr", "30"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert_eq!(found, told("stored", "failed"));
    assert!(run.text().contains("below 30"), "{}", run.text());
    assert_eq!(sandbox.run(&["ls"]).text(), "easy.png\n");
}

#[test]
fn what_was_stored_without_a_promise_is_stale_to_an_ingest_with_one() {
    let sandbox = easy_and_hard();
    ingest(&sandbox, &[]).0.succeeds();
    let (run, found) = ingest(&sandbox, &["--measure"]);
    assert_eq!(found, told("stale", "stale"));
    assert!(run.text().contains("not measured"), "{}", run.text());
    let (run, found) = ingest(&sandbox, &["--measure", "--update"]);
    run.succeeds();
    assert_eq!(found, told("updated", "updated"));
    let keep = ["--min-psnr", "30", "--below", "keep-original"];
    let (run, found) = ingest(&sandbox, &keep);
    assert_eq!(found, told("skipped", "stale"));
    assert!(run.text().contains("below 30"), "{}", run.text());
    let (run, found) = ingest(&sandbox, &[&keep[..], &["--update"]].concat());
    run.succeeds();
    assert_eq!(found, told("skipped", "updated"));
    let (run, found) = ingest(&sandbox, &keep);
    run.succeeds();
    assert_eq!(found, told("skipped", "skipped"));
    let back = decoded(&sandbox.run(&["get", "hard.png"]).succeeds().stdout);
    assert!(back.as_rgb() == noise(48, 40).as_rgb());
}

#[test]
fn stats_show_how_many_images_come_back_how_near() {
    let sandbox = easy_and_hard();
    sandbox.run(&["init"]).succeeds();
    let plain = json(&sandbox, &["stats", "--json"]);
    assert!(plain["quality"]["psnr"].is_null());
    let keep = ["--min-psnr", "20", "--below", "keep-original"];
    ingest(&sandbox, &keep).0.succeeds();
    let stats = json(&sandbox, &["stats", "--json"]);
    assert_eq!(stats["originals"], 1);
    let psnr = &stats["quality"]["psnr"];
    let bins = psnr["bins"].as_array().unwrap();
    let records: u64 = bins
        .iter()
        .map(|bin| bin["records"].as_u64().unwrap())
        .sum();
    assert_eq!(records + psnr["infinite"].as_u64().unwrap(), 2);
    let text = sandbox.run(&["stats"]).succeeds();
    assert!(
        text.text().contains('█') && text.text().contains(" dB "),
        "{}",
        text.text()
    );
}

#[test]
fn pixels_that_came_from_no_file_can_be_held_to_a_promise_but_not_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::new(HubOptions {
        runtime: Some(support::onnxruntime()),
        provider: Provider::Cpu,
        ..HubOptions::default()
    });
    let path = folder.path().join("store");
    let db = Database::create_with_hub(path, "tiny", Arc::new(hub)).unwrap();
    let put = |below| {
        let promise = Promise {
            min_psnr: Some(60.0),
            below,
            ..Promise::default()
        };
        let options = PutOptions {
            promise,
            ..PutOptions::default()
        };
        db.put("x", &noise(24, 24), &options).unwrap_err()
    };
    assert_eq!(put(Below::Reject).kind(), ErrorKind::BelowPromise);
    let kept = put(Below::KeepOriginal);
    assert_eq!(kept.kind(), ErrorKind::InvalidInput);
    assert!(kept.to_string().contains("no file"), "{kept}");
    assert_eq!(db.store().entries("").count(), 0);
}

#[test]
fn promises_that_mean_nothing_are_refused_before_anything_is_read() {
    let sandbox = Sandbox::new();
    for (args, part) in [
        (&["--below", "keep-original"][..], "--min-psnr"),
        (&["--min-psnr", "loud"], "a number of dB"),
        (&["--min-psnr", "NaN"], "a number of dB"),
        (&["--min-ssim", "1.5"], "up to 1"),
        (&["--min-psnr", "3", "--below", "sell"], "keep-original"),
    ] {
        let args = [&["put", "x", "missing.png"], args].concat();
        sandbox.run(&args).fails(2, &[part]);
    }
    assert!(!sandbox.path("store").exists());
}
