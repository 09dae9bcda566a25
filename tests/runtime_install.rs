//! `latentdb runtime install`, as far as it goes without a network; `onnx/runtime` tests the rest.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use support::{Sandbox, finish, onnxruntime};

#[test]
fn what_is_installed_and_whole_is_left_as_it_is() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("ort")).unwrap();
    for entry in std::fs::read_dir(onnxruntime()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), sandbox.path("ort").join(entry.file_name())).unwrap();
    }
    let run = sandbox
        .run(&["runtime", "install", "--dir", "ort"])
        .succeeds();
    assert!(run.stdout.is_empty());
    assert!(run.stderr.contains("already installed"), "{}", run.stderr);
}

#[test]
fn a_folder_of_something_else_is_refused_and_left_alone() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("mine")).unwrap();
    sandbox.write("mine/file", b"mine");
    sandbox
        .run(&["runtime", "install", "--dir", "mine"])
        .fails(1, &["mine"]);
    assert_eq!(sandbox.read("mine/file"), b"mine");
}

#[test]
fn without_python_the_error_says_what_is_needed() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command();
    let run = finish(command.env("PATH", "").args(["runtime", "install"]));
    run.fails(1, &["can't run python3"]);
}
