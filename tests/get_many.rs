//! Many records out of a store, into files of a folder.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use support::folders::pictures;
use support::{Sandbox, decoded};

fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    pictures(
        &sandbox,
        &["in/a.png", "in/sub/b.jpg", "in/sub/c.png"],
        (40, 24),
    );
    sandbox.run(&["ingest", "in"]).succeeds();
    sandbox
        .run(&["put", "../other space", "in/a.png"])
        .succeeds();
    sandbox
}

/// The files below a folder of the sandbox.
fn files(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    let root = sandbox.path(folder);
    let mut open = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(
                    path.strip_prefix(&root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    found.sort();
    found
}

#[test]
fn all_records_become_files_called_as_their_ids_and_none_leaves_the_folder() {
    let sandbox = filled();
    sandbox
        .run(&["get", "--prefix", "", "-o", "out"])
        .succeeds();
    let expected = [
        "%2E%2E/other%20space.png",
        "a.png",
        "sub/b.jpg.png",
        "sub/c.png",
    ];
    assert_eq!(files(&sandbox, "out"), expected);
    // The very file that one get gives.
    for (id, name) in [("a.png", "out/a.png"), ("sub/b.jpg", "out/sub/b.jpg.png")] {
        let one = sandbox.run(&["get", id]).succeeds();
        assert!(one.stdout == sandbox.read(name), "{id}");
    }
}

#[test]
fn a_prefix_a_format_and_a_quality_are_kept_to() {
    let sandbox = filled();
    let args = [
        "get",
        "--prefix",
        "sub/",
        "-o",
        "out/deep",
        "--format",
        "jpeg",
        "--quality",
        "30",
        "-v",
    ];
    let run = sandbox.run(&args).succeeds();
    assert!(run.stderr.contains("wrote 2 images"), "{}", run.stderr);
    assert_eq!(
        files(&sandbox, "out"),
        ["deep/sub/b.jpg", "deep/sub/c.png.jpg"]
    );
    let image = sandbox.read("out/deep/sub/b.jpg");
    assert!(image.starts_with(b"\xff\xd8"));
    assert_eq!(decoded(&image).width(), 40);
    let run = sandbox
        .run(&["get", "--prefix", "none", "-o", "empty", "-v"])
        .succeeds();
    assert!(run.stderr.contains("wrote 0 images"), "{}", run.stderr);
}

#[test]
fn two_records_of_one_file_are_a_failure_and_the_rest_is_written() {
    let sandbox = filled();
    sandbox.run(&["put", "a", "in/sub/c.png"]).succeeds();
    let run = sandbox.run(&["get", "--prefix", "a", "-o", "out"]);
    assert_eq!(run.code, 3);
    assert!(
        run.stderr
            .contains("a.png: its file would have the same name as that of `a`"),
        "{}",
        run.stderr
    );
    assert_eq!(files(&sandbox, "out"), ["a.png"]);
}

#[test]
fn slips_are_told_before_anything_is_written() {
    let sandbox = filled();
    sandbox
        .run(&["get", "--prefix", "a"])
        .fails(2, &["--output"]);
    sandbox
        .run(&["get", "--prefix", "a", "-o", "-"])
        .fails(2, &["needs a folder"]);
    sandbox
        .run(&["get", "a.png", "--prefix", "a", "-o", "out"])
        .fails(2, &["--prefix"]);
    sandbox.run(&["get"]).fails(2, &["ID"]);
    sandbox
        .run(&["get", "--prefix", "a", "-o", "out", "--format", "hdr"])
        .fails(2, &["only be read"]);
    sandbox
        .run(&["get", "--prefix", "a", "-o", "out", "--decoder", "nobody"])
        .fails(1, &["nobody"]);
    assert!(!sandbox.path("out").exists());
    sandbox.write("file", b"");
    let run = sandbox.run(&["get", "--prefix", "a", "-o", "file"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("file"), "{}", run.stderr);
}
