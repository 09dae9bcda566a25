//! `latentdb model`: weights that people have become models, and records know which model wrote them.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::path::{Path, PathBuf};

use support::{Run, Sandbox, decoded, picture, shared};

/// A model as a user would have it; see `onnx/golden`.
fn weights(case: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    root.join(case).join("model")
}

fn run(sandbox: &Sandbox, args: &[&str]) -> Run {
    let models = sandbox.path("models");
    let models = ["--models", models.to_str().unwrap(), "--provider", "cpu"];
    sandbox.run(&[&models[..], args].concat())
}

fn import(sandbox: &Sandbox, case: &str, name: &str) -> Run {
    let path = weights(case);
    run(
        sandbox,
        &["model", "import", path.to_str().unwrap(), "--name", name],
    )
    .succeeds()
}

/// A sandbox with `sd` and `sdxl` imported, an image, and what `sd` made of it under `a`.
fn with_models() -> Sandbox {
    let sandbox = Sandbox::new();
    import(&sandbox, "sd", "sd");
    import(&sandbox, "sdxl", "sdxl");
    sandbox.image("a.png", &picture(61, 43, 1));
    run(&sandbox, &["put", "a", "a.png", "--encoder", "sd"]).succeeds();
    sandbox
}

#[test]
fn an_imported_model_puts_and_gets() {
    let sandbox = with_models();
    let image = run(&sandbox, &["get", "a", "--decoder", "sd"]).succeeds();
    let pixels = decoded(&image.stdout);
    assert_eq!((pixels.width(), pixels.height()), (61, 43));
    let own = run(&sandbox, &["get", "a"]).succeeds();
    assert_eq!(
        own.stdout, image.stdout,
        "a record's own model is the default"
    );
    let info = run(&sandbox, &["info", "a", "--json"]).succeeds().json();
    assert_eq!(info["encoder"], "sd");
    assert_eq!(info["latent_space"], "sd-v1");
    assert_eq!(info["computed"], "f32 cpu");
    let model = run(&sandbox, &["model", "info", "sd", "--json"])
        .succeeds()
        .json();
    assert_eq!(info["fingerprint"], model["fingerprint"]);
}

#[test]
fn the_models_that_are_there_are_listed() {
    let sandbox = with_models();
    let list = run(&sandbox, &["model", "list"]).succeeds();
    let names: Vec<_> = list
        .text()
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["tiny", "tiny-1", "sd", "sdxl"]);
    let json = run(&sandbox, &["model", "list", "--json"])
        .succeeds()
        .json();
    assert_eq!(json["models"][3]["latent_space"], "sdxl");
    let doctor = run(&sandbox, &["doctor"]);
    assert!(
        doctor.text().contains("sdxl: encoder and decoder"),
        "{}",
        doctor.text()
    );
}

#[test]
fn info_shows_what_is_known_of_a_model_and_its_files() {
    let sandbox = Sandbox::new();
    import(&sandbox, "sd3", "three");
    let info = run(&sandbox, &["model", "info", "three"]).succeeds();
    for part in [
        "autoencoder-kl",
        "sd3",
        "16 channels, f8, scaling 1.5305, shift 0.0609",
        "M parameters",
        "not stated",
        "tests/golden/sd3/model",
        "weights.safetensors",
        "intact",
    ] {
        assert!(
            info.text().contains(part),
            "no `{part}` in: {}",
            info.text()
        );
    }
    let tiny = run(&sandbox, &["model", "info", "tiny"]).succeeds();
    assert!(tiny.text().contains("MIT OR Apache-2.0") && tiny.text().contains("intact"));
}

#[test]
fn a_damaged_file_is_found_and_named() {
    let sandbox = Sandbox::new();
    import(&sandbox, "sd", "sd");
    run(&sandbox, &["model", "verify"]).succeeds();
    let path = run(&sandbox, &["model", "path", "sd"]).succeeds();
    let file = Path::new(path.text().trim()).join("weights.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let verify = run(&sandbox, &["model", "verify"]);
    assert_eq!(verify.code, 3);
    assert!(
        verify.text().contains("sd: weights.safetensors: changed"),
        "{}",
        verify.text()
    );
    assert!(verify.text().contains("tiny: intact"));

    std::fs::write(&file, &bytes[..last]).unwrap();
    sandbox.image("a.png", &picture(16, 16, 1));
    let put = run(&sandbox, &["put", "a", "a.png", "--encoder", "sd"]);
    put.fails(1, &["weights.safetensors has", "model verify sd"]);
    std::fs::remove_file(&file).unwrap();
    let info = run(&sandbox, &["model", "info", "sd"]).succeeds();
    assert!(
        info.text()
            .contains("weights.safetensors, 120.4 KB: missing"),
        "{}",
        info.text()
    );
}

#[test]
fn a_removed_model_is_gone_and_its_records_stay() {
    let sandbox = with_models();
    let names = || std::fs::read_dir(sandbox.path("models")).unwrap().count();
    assert_eq!(names(), 2);
    run(&sandbox, &["model", "remove", "sd"]).succeeds();
    assert_eq!(names(), 1);
    run(&sandbox, &["ls"]).succeeds();
    run(&sandbox, &["get", "a"]).fails(1, &["no decoder for the latent space `sd-v1`", "hint: "]);
    run(&sandbox, &["get", "a", "--latent"]).succeeds();
    run(&sandbox, &["model", "remove", "sd"]).fails(1, &["no model `sd`"]);
    run(&sandbox, &["model", "remove", "tiny"]).fails(1, &["built in"]);
    for name in ["..", "../models", "", "."] {
        run(&sandbox, &["model", "remove", name]).fails(1, &["no model"]);
    }
    // The same weights under another name read what the first wrote.
    import(&sandbox, "sd", "again");
    run(&sandbox, &["get", "a"]).succeeds();
}

#[test]
fn a_decoder_of_another_latent_space_is_refused_by_name_of_both() {
    let sandbox = with_models();
    let get = run(&sandbox, &["get", "a", "--decoder", "sdxl"]);
    get.fails(1, &["`sdxl`", "`sd-v1`"]);
    let get = run(&sandbox, &["get", "a", "--decoder", "tiny"]);
    get.fails(1, &["`tiny-2`", "`sd-v1`"]);
}

#[test]
fn a_model_that_is_not_there_is_refused_with_the_way_to_get_it() {
    let sandbox = Sandbox::new();
    sandbox.image("a.png", &picture(16, 16, 1));
    run(&sandbox, &["put", "a", "a.png", "--encoder", "sd"]).fails(
        1,
        &[
            "no model `sd` (there are: tiny, tiny-1)",
            "hint: ",
            "model import",
        ],
    );
    assert!(
        !sandbox.path("store").exists(),
        "no store is made for nothing"
    );
    run(&sandbox, &["put", "a", "a.png"]).succeeds();
    run(&sandbox, &["get", "a", "--decoder", "sd"]).fails(1, &["no model `sd`", "hint: "]);
}

#[test]
fn a_store_keeps_its_default_encoder() {
    let sandbox = Sandbox::new();
    import(&sandbox, "sd", "sd");
    run(&sandbox, &["init", "--encoder", "sd"]).succeeds();
    sandbox.image("a.png", &picture(16, 16, 1));
    run(&sandbox, &["put", "a", "a.png"]).succeeds();
    let info = run(&sandbox, &["info", "a", "--json"]).succeeds().json();
    assert_eq!(info["encoder"], "sd");
}

#[test]
fn records_are_listed_by_the_encoder_that_wrote_them() {
    let sandbox = with_models();
    run(&sandbox, &["put", "b", "a.png"]).succeeds();
    run(&sandbox, &["put", "c", "a.png", "--encoder", "sd"]).succeeds();
    let list = |wanted: &str| {
        let run = run(&sandbox, &["ls", "--encoder", wanted]).succeeds();
        run.text().to_owned()
    };
    assert_eq!(list("sd"), "a\nc\n");
    assert_eq!(list("tiny"), "b\n");
    assert_eq!(list("sdxl"), "");
    let model = run(&sandbox, &["model", "info", "sd", "--json"])
        .succeeds()
        .json();
    let fingerprint = model["fingerprint"].as_str().unwrap();
    assert_eq!(list(&fingerprint[..12]), "a\nc\n");
    assert_eq!(list(&fingerprint.to_uppercase()), "a\nc\n");
    assert_eq!(
        list(&fingerprint[..3]),
        "",
        "three digits are too few to mean one"
    );
    let stats = run(&sandbox, &["stats"]).succeeds();
    let line = format!("encoder  sd {}: 2", &fingerprint[..12]);
    assert!(stats.text().contains(&line), "{}", stats.text());
}

#[test]
fn weights_of_an_unknown_space_are_asked_about() {
    let sandbox = Sandbox::new();
    let path = weights("taesd");
    let path = path.to_str().unwrap();
    run(&sandbox, &["model", "import", path]).fails(1, &["sd-v1", "sdxl", "--latent-space"]);
    assert!(
        !sandbox.path("models").exists(),
        "a refused import leaves nothing"
    );
    run(
        &sandbox,
        &["model", "import", path, "--latent-space", "flux1"],
    )
    .fails(1, &["16 channels", "4 at f8"]);
    run(
        &sandbox,
        &["model", "import", path, "--latent-space", "sd-v1"],
    )
    .succeeds();
    run(
        &sandbox,
        &["model", "import", path, "--latent-space", "sd-v1"],
    )
    .fails(1, &["`model` already", "--replace"]);
    let again = [
        "model",
        "import",
        path,
        "--latent-space",
        "sdxl",
        "--replace",
    ];
    run(&sandbox, &again).succeeds();
    let info = run(&sandbox, &["model", "info", "model", "--json"])
        .succeeds()
        .json();
    assert_eq!(info["latent_space"], "sdxl");
}

#[test]
fn half_a_model_is_a_model() {
    let sandbox = Sandbox::new();
    for half in ["encoder", "decoder"] {
        let file = weights("taef2").join(format!("taef2_{half}.safetensors"));
        let folder = sandbox.path(half);
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(file, folder.join(format!("x_{half}.safetensors"))).unwrap();
        let args = ["model", "import", half, "--latent-space", "flux2"];
        run(&sandbox, &args).succeeds();
    }
    sandbox.image("a.png", &picture(20, 30, 1));
    run(&sandbox, &["put", "a", "a.png", "--encoder", "decoder"]).fails(
        1,
        &["`decoder` has no encoder", "hint: latentdb model list"],
    );
    run(&sandbox, &["put", "a", "a.png", "--encoder", "encoder"]).succeeds();
    run(&sandbox, &["get", "a", "--decoder", "encoder"]).fails(1, &["`encoder` has no decoder"]);
    run(&sandbox, &["get", "a"]).succeeds();
}

#[test]
fn a_broken_model_is_said_and_hides_no_other() {
    let sandbox = Sandbox::new();
    import(&sandbox, "sd", "sd");
    std::fs::create_dir(sandbox.path("models/bad")).unwrap();
    std::fs::write(sandbox.path("models/bad/manifest.json"), "{").unwrap();
    let list = run(&sandbox, &["model", "list"]).succeeds();
    assert!(list.text().contains("sd "));
    assert!(
        list.stderr.contains("the model `bad` can't be used"),
        "{}",
        list.stderr
    );
    run(&sandbox, &["get", "a", "--decoder", "bad"]);
    run(&sandbox, &["model", "info", "bad"]).fails(1, &["`bad`", "model remove bad"]);
    run(&sandbox, &["model", "remove", "bad"]).succeeds();
    assert_eq!(run(&sandbox, &["model", "verify"]).code, 0);
}

#[test]
fn hostile_weights_get_a_clear_error_and_leave_nothing() {
    let sandbox = Sandbox::new();
    let whole = std::fs::read(weights("sd").join("diffusion_pytorch_model.safetensors")).unwrap();
    let config = std::fs::read(weights("sd").join("config.json")).unwrap();
    let text = String::from_utf8(config.clone()).unwrap();
    std::fs::create_dir(sandbox.path("m")).unwrap();
    let check = |bytes: &[u8], config: &[u8], parts: &[&str]| {
        sandbox.write("m/diffusion_pytorch_model.safetensors", bytes);
        sandbox.write("m/config.json", config);
        run(&sandbox, &["model", "import", "m"]).fails(1, parts);
        let left = std::fs::read_dir(sandbox.path("models")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{parts:?}");
    };
    check(
        &whole[..whole.len() / 2],
        &config,
        &["cut off", "m/diffusion_pytorch_model"],
    );
    check(b"", &config, &["no safetensors file"]);
    check(&[0xff; 64], &config, &["no safetensors file"]);
    check(&whole, b"[]", &["config.json"]);
    let with = |from: &str, to: &str| {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        changed.into_bytes()
    };
    check(
        &whole,
        &with("AutoencoderKL", "AutoencoderKLWan"),
        &["AutoencoderKLWan"],
    );
    check(
        &whole,
        &with("\"layers_per_block\": 2", "\"layers_per_block\": 3"),
        &["no tensor"],
    );
    check(
        &whole,
        &with("\"layers_per_block\": 2", "\"layers_per_block\": 1"),
        &["no place"],
    );
    check(
        &whole,
        &with("\"latent_channels\": 4", "\"latent_channels\": 8"),
        &["can't be known", "8 channels"],
    );
    check(
        &whole,
        &with("\"latent_channels\": 4", "\"latent_channels\": -1"),
        &["latent_channels"],
    );
    check(&whole, &with("\"silu\"", "\"gelu\""), &["act_fn"]);
    let groups = "\"norm_num_groups\": ";
    let at = text.find(groups).unwrap() + groups.len();
    let zero = format!(
        "{}0,{}",
        &text[..at],
        &text[at + text[at..].find(',').unwrap() + 1..]
    );
    check(&whole, zero.as_bytes(), &["no AutoencoderKL has"]);
}

#[test]
fn pickles_and_onnx_files_are_refused_with_a_way_out() {
    let sandbox = Sandbox::new();
    sandbox.write("a.ckpt", b"PK\x03\x04 whatever it holds");
    run(&sandbox, &["model", "import", "a.ckpt"])
        .fails(1, &["pickle", "runs whatever code", "hint: ", "save_file"]);
    sandbox.write("a.onnx", b"anything");
    run(&sandbox, &["model", "import", "a.onnx"]).fails(1, &["model add"]);
    run(&sandbox, &["model", "import", "nothing-here"]).fails(1, &["nothing-here"]);
}

#[test]
fn real_weights_rebuild_photographs_as_well_as_they_are_known_to() {
    let (Some(taef2), Some(kodak)) = (shared("models/taef2"), shared("images/kodak")) else {
        return;
    };
    let sandbox = Sandbox::new();
    let path = taef2.to_str().unwrap();
    let args = [
        "model",
        "import",
        path,
        "--name",
        "taef2",
        "--latent-space",
        "flux2",
    ];
    run(&sandbox, &args).succeeds();
    for (name, known) in [
        ("kodim01", 27.18),
        ("kodim07", 33.18),
        ("kodim13", 23.60),
        ("kodim19", 29.98),
    ] {
        let photo = kodak.join(format!("{name}.png"));
        let args = ["put", name, photo.to_str().unwrap(), "--encoder", "taef2"];
        run(&sandbox, &args).succeeds();
        let back = run(&sandbox, &["get", name]).succeeds();
        let original = decoded(&std::fs::read(&photo).unwrap());
        let decibel = latentdb::psnr(&original, &decoded(&back.stdout)).unwrap();
        println!("{name}: {decibel:.2} dB");
        assert!((decibel - known).abs() <= 0.05, "{name}: {decibel}");
    }
}

/// An ONNX file that was exported elsewhere; see `onnx/golden/foreign.py`.
fn export(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    path.join(name).to_str().unwrap().to_owned()
}

#[test]
fn graphs_that_were_exported_elsewhere_put_and_get() {
    let sandbox = Sandbox::new();
    let (encoder, decoder) = (export("kl-sample.onnx"), export("kl-decoder.onnx"));
    let base = ["model", "add", "--name", "mine", "--latent-space", "sd-v1"];
    let files = ["--encoder", &encoder, "--decoder", &decoder];
    let add = run(&sandbox, &[&base[..], &files].concat());
    add.fails(1, &["black and white", "--input-range"]);
    assert!(!sandbox.path("models/mine").exists());

    let range = ["--input-range", "-1,1"];
    let add = run(&sandbox, &[&base[..], &files, &range].concat()).succeeds();
    for part in [
        "draws a sample",
        "RandomNormalLike",
        "the mean inside the graph",
        "--scaled",
    ] {
        assert!(add.stderr.contains(part), "no `{part}` in: {}", add.stderr);
    }
    sandbox.image("a.png", &picture(61, 43, 1));
    for id in ["a", "b"] {
        run(&sandbox, &["put", id, "a.png", "--encoder", "mine"]).succeeds();
    }
    let latent = |id: &str| run(&sandbox, &["get", id, "--latent"]).succeeds().stdout;
    assert_eq!(latent("a"), latent("b"), "the mean is the same each time");
    let back = run(&sandbox, &["get", "a"]).succeeds();
    assert_eq!(decoded(&back.stdout).width(), 61);
    run(&sandbox, &["model", "verify"]).succeeds();

    let pool = export("sample-uniform.onnx");
    let args = ["--encoder", &pool, "--input-range", "0,1", "--replace"];
    run(&sandbox, &[&base[..], &args].concat()).fails(1, &["sample-uniform.onnx", "hint: "]);
    run(
        &sandbox,
        &["model", "add", "--name", "x", "--latent-space", "sd-v1"],
    )
    .fails(2, &[]);
}
