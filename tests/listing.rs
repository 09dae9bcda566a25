//! What `ls`, `info`, `stats`, `doctor` and `--help` say.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use support::{Sandbox, finish, picture};

const COMMANDS: [&str; 18] = [
    "init",
    "put",
    "get",
    "ls",
    "info",
    "rm",
    "export",
    "import",
    "stats",
    "metrics",
    "compact",
    "verify",
    "repair",
    "backup",
    "migrate",
    "doctor",
    "runtime",
    "completions",
];

fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    let file = sandbox.image("photo.png", &picture(40, 24, 1));
    for id in ["b/2", "a", "b/1", "ä"] {
        sandbox.run(&["put", id, &file]).succeeds();
    }
    sandbox
}

#[test]
fn ls_prints_one_id_a_line_in_bytewise_order() {
    let sandbox = filled();
    assert_eq!(sandbox.run(&["ls"]).text(), "a\nb/1\nb/2\nä\n");
    assert_eq!(sandbox.run(&["ls", "b/"]).text(), "b/1\nb/2\n");
    assert_eq!(sandbox.run(&["ls", "nothing"]).succeeds().text(), "");
}

#[test]
fn ls_json_is_one_object_a_line_with_documented_keys() {
    let sandbox = filled();
    let run = sandbox.run(&["ls", "--json"]).succeeds();
    let lines: Vec<serde_json::Value> = run
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    let keys: Vec<_> = lines[0]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "id",
        "width",
        "height",
        "alpha",
        "latent_shape",
        "latent_space",
        "encoder",
        "fingerprint",
        "coding",
        "bytes_stored",
        "bits_per_pixel",
        "source_bytes",
        "original",
        "quality",
    ];
    assert_eq!(keys, expected);
    let help = sandbox.run(&["ls", "--help"]).succeeds();
    // Help is wrapped to the terminal: compare without line ends.
    let help = help.text().split_whitespace().collect::<Vec<_>>().join(" ");
    for key in expected {
        assert!(help.contains(key), "`ls --help` doesn't name {key}");
    }
}

#[test]
fn info_tells_sizes_coding_and_source_and_its_numbers_fit_together() {
    let sandbox = filled();
    let info = sandbox.run(&["info", "a", "--json"]).succeeds().json();
    let number = |key: &str| info[key].as_f64().unwrap();
    let count = |key: &str| info[key].as_u64().unwrap();
    let source = sandbox.read("photo.png");
    assert_eq!(info["latent_shape"], serde_json::json!([4, 3, 5]));
    assert_eq!(count("latent_bytes"), 120);
    assert_eq!(count("rgb_bytes"), 2880);
    assert_eq!(info["source"]["name"], "photo.png");
    assert_eq!(count("source_bytes"), source.len() as u64);
    assert_eq!(info["source"]["bytes"], source.len());
    assert_eq!(
        info["source"]["blake3"],
        blake3::hash(&source).to_hex().as_str()
    );
    let stored = number("bytes_stored");
    assert!((number("bits_per_pixel") - 8.0 * stored / 960.0).abs() < 1e-3);
    assert!((number("ratio_to_rgb") - 2880.0 / stored).abs() < 1e-2);
    assert!((number("ratio_to_source") - source.len() as f64 / stored).abs() < 1e-2);
    assert_eq!(info["encoder"], "tiny");
    assert_eq!(info["fingerprint"].as_str().unwrap().len(), 64);
    assert!(info["computed"].as_str().unwrap().starts_with("f32 c"));
    let text = sandbox.run(&["info", "a"]).succeeds();
    for part in [
        "40x24 pixels",
        "4x3x5 f16 in `tiny-2`",
        "bits per pixel",
        "photo.png",
    ] {
        assert!(text.text().contains(part), "{}", text.text());
    }
}

#[test]
fn stats_sums_what_the_listing_says() {
    let sandbox = filled();
    let stats = sandbox.run(&["stats", "--json"]).succeeds().json();
    let lines = sandbox.run(&["ls", "--json"]).succeeds();
    let stored: u64 = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["bytes_stored"].as_u64().unwrap())
        .sum();
    assert_eq!(stats["records"], 4);
    assert_eq!(stats["stored_bytes"], stored);
    assert_eq!(stats["rgb_bytes"], 4 * 2880);
    assert_eq!(stats["latent_spaces"]["tiny-2"], 4);
    assert_eq!(stats["codings"]["fast"], 4);
    assert!(stats["disk_bytes"].as_u64().unwrap() >= stored);
    assert!(
        sandbox
            .run(&["stats"])
            .succeeds()
            .text()
            .contains("records  4")
    );
}

#[test]
fn doctor_tells_what_is_found_and_what_starts() {
    let sandbox = filled();
    let run = sandbox.run(&["doctor"]).succeeds();
    for part in [
        "ONNX Runtime 1.",
        "cpu: works",
        "tiny: encoder and decoder",
        "4 records",
    ] {
        assert!(run.text().contains(part), "no `{part}` in {}", run.text());
    }
    let mut command = sandbox.command();
    let run = finish(command.env("ORT_DYLIB_PATH", "nowhere.so").arg("doctor"));
    assert_eq!(run.code, 1);
    for part in [
        "not usable",
        "nowhere.so  (ORT_DYLIB_PATH)",
        "latentdb runtime install",
    ] {
        assert!(run.text().contains(part), "no `{part}` in {}", run.text());
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let sandbox = Sandbox::new();
    for command in COMMANDS {
        let run = sandbox.run(&[command, "--help"]).succeeds();
        assert!(run.text().contains("Example"), "{command}");
        assert!(run.text().contains(&format!("  latentdb {command}")) || command == "init");
    }
    let help = sandbox.run(&["--help"]).succeeds();
    for command in COMMANDS {
        assert!(
            help.text().contains(&format!("  {command} ")),
            "{command} is missing"
        );
    }
}

#[test]
fn completions_are_printed_for_every_shell() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = sandbox.run(&["completions", shell]).succeeds();
        assert!(
            run.text().contains("latentdb") && run.text().contains("doctor"),
            "{shell}"
        );
    }
    sandbox.run(&["completions", "tcsh"]).fails(2, &["bash"]);
}

#[test]
fn init_makes_an_empty_store_once() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["init"]).succeeds();
    assert!(run.stderr.starts_with("made the store"));
    assert_eq!(sandbox.run(&["ls"]).succeeds().text(), "");
    let again = sandbox.run(&["init"]);
    again.fails(1, &["is a store already"]);
    assert!(!again.stderr.contains("--replace"), "{}", again.stderr);
}
