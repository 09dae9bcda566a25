//! `metrics`: what is measured between two image files, and told.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use latentdb::{Pixels, measure};
use serde_json::{Value, json};
use support::{Sandbox, finish, picture, shared};

/// A picture and the same with one channel of each pixel 8 levels off.
fn two() -> (Sandbox, Pixels, Pixels) {
    let sandbox = Sandbox::new();
    let original = picture(200, 180, 1);
    let mut bytes = original.as_rgb().to_vec();
    for red in bytes.iter_mut().step_by(3) {
        *red ^= 8;
    }
    let other = Pixels::from_rgb(200, 180, bytes).unwrap();
    sandbox.image("a.png", &original);
    sandbox.image("b.png", &other);
    (sandbox, original, other)
}

/// The example images of openai/consistencydecoder: PSNR and SSIM were computed in Python; SSIMULACRA2 by the tool of
/// libjxl 0.11.2, MS-SSIM by pytorch-msssim 1.0.0.
#[test]
fn the_example_images_of_the_consistency_decoder_have_their_known_quality() {
    let Some(folder) = shared("images/consistency-decoder") else {
        return;
    };
    let sandbox = Sandbox::new();
    for (image, decoder, expected) in [
        (1, "gan", [24.245, 0.8636, 0.961_966, 27.725_264]),
        (1, "con", [28.076, 0.9018, 0.976_891, 39.477_145]),
        (2, "gan", [22.937, 0.8166, 0.950_443, 15.535_917]),
        (2, "con", [22.581, 0.8160, 0.949_798, 14.651_027]),
        (3, "gan", [25.496, 0.8318, 0.949_105, 17.767_112]),
        (3, "con", [25.637, 0.8425, 0.960_253, 25.031_448]),
    ] {
        let files = [format!("gt{image}.png"), format!("{decoder}{image}.png")];
        let files = files.map(|name| folder.join(name).to_str().unwrap().to_owned());
        let run = sandbox.run(&["metrics", &files[0], &files[1], "--json"]);
        let found = run.succeeds().json();
        for ((metric, expected), tolerance) in ["psnr", "ssim", "ms_ssim", "ssimulacra2"]
            .iter()
            .zip(expected)
            .zip([0.0006, 0.00006, 0.00001, 0.000_001])
        {
            let found = found[metric].as_f64().unwrap();
            assert!(
                (found - expected).abs() < tolerance,
                "{metric} of {decoder}{image}: {found} instead of {expected}"
            );
        }
    }
}

#[test]
fn json_has_the_librarys_numbers_under_the_keys_that_help_names() {
    let (sandbox, original, other) = two();
    let quality = measure(&original, &other).unwrap();
    let found = sandbox
        .run(&["metrics", "a.png", "b.png", "--json"])
        .succeeds();
    let expected = json!({
        "psnr": quality.psnr,
        "ssim": quality.ssim,
        "ms_ssim": quality.ms_ssim,
        "ssimulacra2": quality.ssimulacra2,
        "identical": false,
    });
    assert_eq!(found.json(), expected);
    assert_eq!(found.stderr, "");
    let help = sandbox.run(&["metrics", "--help"]).succeeds();
    for key in expected.as_object().unwrap().keys() {
        assert!(help.text().contains(key), "help doesn't name {key}");
    }
}

#[test]
fn text_is_a_line_a_metric_with_its_range() {
    let (sandbox, original, other) = two();
    let quality = measure(&original, &other).unwrap();
    let run = sandbox.run(&["metrics", "a.png", "b.png"]).succeeds();
    let lines: Vec<_> = run.text().lines().collect();
    for (line, start) in lines.iter().zip([
        format!("PSNR         {:.2} dB ", quality.psnr),
        format!("SSIM         {:.4} ", quality.ssim.unwrap()),
        format!("MS-SSIM      {:.4} ", quality.ms_ssim.unwrap()),
        format!("SSIMULACRA2  {:.2} ", quality.ssimulacra2.unwrap()),
    ]) {
        assert!(line.starts_with(&start), "{line} instead of {start}");
    }
    assert_eq!(lines.len(), 4);
}

#[test]
fn equal_images_are_said_to_be_and_small_ones_have_fewer_metrics() {
    let sandbox = Sandbox::new();
    let file = sandbox.image("small.png", &picture(9, 5, 1));
    let found = sandbox.run(&["metrics", &file, &file, "--json"]).succeeds();
    let expected = json!({
        "psnr": null, "ssim": null, "ms_ssim": null, "ssimulacra2": null, "identical": true
    });
    assert_eq!(found.json(), expected);
    let run = sandbox.run(&["metrics", &file, &file]).succeeds();
    assert!(
        run.text().starts_with("PSNR         equal"),
        "{}",
        run.text()
    );
    assert!(run.text().contains("SSIMULACRA2  none"), "{}", run.text());
}

#[test]
fn other_sizes_missing_files_and_what_is_no_image_are_refused() {
    let (sandbox, original, _) = two();
    sandbox.image("turned.png", &picture(180, 200, 1));
    sandbox.write("text.png", b"no image");
    let run = |other| sandbox.run(&["metrics", "a.png", other, "--json"]);
    run("turned.png").fails(1, &["200x180 and 180x200", "hint: get gives images back"]);
    run("text.png").fails(1, &["text.png is no image"]);
    run("nowhere.png").fails(1, &["nowhere.png"]);
    sandbox.run(&["metrics", "a.png"]).fails(2, &["<OTHER>"]);
    let pixels = (original.width() * original.height() - 1).to_string();
    sandbox
        .run(&["metrics", "a.png", "b.png", "--max-pixels", &pixels])
        .fails(1, &["36000 pixels", "hint: --max-pixels"]);
}

#[test]
fn alpha_is_laid_over_white_and_that_is_noted() {
    let (sandbox, original, _) = two();
    let alpha = (0..200 * 180).map(|at| (at / 200 + 60) as u8).collect();
    let seen = original.clone().with_alpha(alpha).unwrap();
    sandbox.image("seen.png", &seen);
    let run = sandbox
        .run(&["metrics", "a.png", "seen.png", "--json"])
        .succeeds();
    assert_eq!(
        run.stderr,
        "note: seen.png has alpha: it was laid over white\n"
    );
    let expected = measure(&original, &seen.over([255; 3])).unwrap();
    assert_eq!(run.json()["psnr"], Value::from(expected.psnr));
}

#[test]
fn needs_no_store_and_no_onnx_runtime_and_makes_neither() {
    let (sandbox, ..) = two();
    let mut command = sandbox.command();
    command
        .env("ORT_DYLIB_PATH", "nowhere.so")
        .args(["metrics", "a.png", "b.png"]);
    finish(&mut command).succeeds();
    assert!(!sandbox.path("store").exists());
}
