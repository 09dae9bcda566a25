//! The rules of the design that a reader of the code relies on, checked over the sources.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(path: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join(folder), &mut found);
    for (path, _) in &mut found {
        *path = path.strip_prefix(root).unwrap().to_path_buf();
    }
    assert!(!found.is_empty());
    found
}

/// The module of a library source: `src/backend/local/log.rs` and `src/backend/mod.rs` are `backend`.
fn module(path: &Path) -> String {
    let part = path
        .components()
        .nth(1)
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    part.trim_end_matches(".rs").to_owned()
}

fn library() -> Vec<(PathBuf, String)> {
    let mut files = sources("src");
    files.retain(|(path, _)| {
        let tests = path.to_str().unwrap().ends_with("tests.rs")
            || path.components().any(|part| part.as_os_str() == "tests");
        !path.starts_with("src/bin") && !tests
    });
    files
}

#[test]
fn a_module_uses_only_rows_below_its_own() {
    // Later rows are lower; modules of one row don't know each other.
    let rows: [&[&str]; 8] = [
        &["lib", "fuzzing"],
        &["ingest", "exchange", "study"],
        &["database", "stats"],
        &["store", "model", "archive"],
        &["record", "image_io", "latent_io", "metrics"],
        &["pixels", "latent", "exif", "quality", "tile", "spaces"],
        &["backend"],
        &["fields", "fs", "error", "parallel"],
    ];
    // `fields` and `fs` are tools over `error`; a `Stats` is made of a store's listing; models
    // know the names and limits that records have.
    let allowed = [
        ("fields", "error"),
        ("fs", "error"),
        ("stats", "store"),
        ("database", "stats"),
    ];
    let row = |name: &str| rows.iter().position(|row| row.contains(&name));
    for (path, text) in library() {
        let own = module(&path);
        let own_row = row(&own).unwrap_or_else(|| panic!("{own} has no row: add it to the design"));
        let text = code(&text).collect::<Vec<_>>().join("\n");
        for used in text.split("crate::").skip(1) {
            let used: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let Some(below) = row(&used) else { continue };
            let fine =
                used == own || below > own_row || allowed.contains(&(own.as_str(), used.as_str()));
            assert!(fine, "{}: `{own}` may not use `{used}`", path.display());
        }
    }
}

#[test]
fn each_foreign_crate_is_used_in_one_place() {
    for (krate, homes) in [
        (
            "sled",
            &["src/backend/local/tree.rs", "src/backend/local/change.rs"][..],
        ),
        ("zstd", &["src/record/coding/"]),
        ("ort", &["src/model/session", "src/model/runtime.rs"]),
        ("prost", &["src/model/onnx/"]),
        ("image", &["src/image_io/"]),
        (
            "moxcms",
            &[
                "src/image_io/colors.rs",
                "src/image_io/profile.rs",
                "src/image_io/tables.rs",
            ],
        ),
        ("png", &["src/image_io/decode/"]),
        ("tiff", &["src/image_io/decode/", "src/image_io/write.rs"]),
        ("zune_jpeg", &["src/image_io/decode/jpeg.rs"]),
        ("ravif", &["src/image_io/avif/write.rs"]),
        ("re_rav1d", &["src/image_io/avif/av1.rs"]),
        (
            "jpeg_encoder",
            &[
                "src/image_io/write.rs",
                "src/image_io/decode/jpeg", // in tests
            ],
        ),
        ("webp", &["src/image_io/"]),
        ("safetensors", &["src/latent_io/", "src/model/weights.rs"]),
        ("tar", &["src/archive/entry.rs"]),
        (
            "walkdir",
            &["src/ingest/gather.rs", "src/exchange/source.rs"],
        ),
        ("glob", &["src/ingest/gather.rs"]),
        ("fast_ssim2", &["src/metrics/ssimulacra2.rs"]),
        ("zip", &["src/latent_io/npz.rs"]),
        ("ureq", &["src/model/pull/"]),
        ("sha1", &["src/model/pull/"]),
        ("etcetera", &["src/model/environment.rs"]),
    ] {
        let mut users = 0;
        for (path, text) in library() {
            let found = code(&text).any(|line| {
                line.contains(&format!("use {krate}::"))
                    || line.contains(&format!("{krate}::"))
                        && !line.contains(&format!("_{krate}::"))
                        && line
                            .split(&format!("{krate}::"))
                            .next()
                            .is_some_and(|before| {
                                !before.ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c))
                            })
            });
            if found {
                users += 1;
                assert!(
                    homes
                        .iter()
                        .any(|home| path.to_str().unwrap().starts_with(home)),
                    "{} uses {krate}",
                    path.display()
                );
            }
        }
        assert!(
            users > 0,
            "{krate} is used nowhere: this rule checks nothing"
        );
    }
}

/// Lines that are no comments, without the tests at a file's end.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn the_library_prints_nothing_and_never_exits() {
    for (path, text) in library() {
        for word in [
            "println!",
            "eprintln!",
            "print!(",
            "eprint!(",
            "dbg!(",
            "process::exit",
        ] {
            let found = code(&text).any(|line| line.contains(word));
            assert!(!found, "{} has {word}", path.display());
        }
    }
}

#[test]
fn only_functions_that_say_so_read_the_environment() {
    for (path, text) in library() {
        let reads =
            code(&text).any(|line| line.contains("std::env::") || line.contains("etcetera::"));
        assert!(
            !reads
                || path.ends_with("model/runtime.rs")
                || path.ends_with("model/environment.rs")
                || path.ends_with("model/pull/access.rs"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn every_file_says_what_it_is_for_and_is_short_enough_to_read() {
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        for (path, text) in sources(folder) {
            assert!(
                text.starts_with("//! "),
                "{} opens with no purpose",
                path.display()
            );
            let lines = text.lines().count();
            assert!(lines <= 470, "{} has {lines} lines", path.display());
        }
    }
}
