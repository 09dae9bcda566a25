//! Bad input of every kind: a clear error, exit code 1 or 2, nothing lost and nothing half-written.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::io::Read;
use std::process::{Command, Stdio};

use support::{Sandbox, finish, onnxruntime, picture, skipped};

/// A sandbox whose store holds the record `kept`.
fn filled() -> (Sandbox, Vec<u8>) {
    let sandbox = Sandbox::new();
    let file = sandbox.image("good.png", &picture(24, 16, 1));
    sandbox.run(&["put", "kept", &file]).succeeds();
    let kept = sandbox.run(&["get", "kept"]).succeeds().stdout;
    (sandbox, kept)
}

/// Every record that was there is there, and no other.
fn unharmed(sandbox: &Sandbox, kept: &[u8]) {
    assert_eq!(sandbox.run(&["ls"]).text(), "kept\n");
    assert_eq!(sandbox.run(&["get", "kept"]).succeeds().stdout, kept);
}

#[test]
fn files_that_are_no_images_are_refused_by_name() {
    let (sandbox, kept) = filled();
    let good = sandbox.read("good.png");
    sandbox.write("text.png", b"this is no image, whatever its name says\n");
    sandbox.write("empty.png", b"");
    sandbox.write("cut.png", &good[..good.len() / 2]);
    for name in ["missing.png", "text.png", "empty.png", "cut.png"] {
        sandbox.run(&["put", "new", name]).fails(1, &[name]);
    }
    sandbox
        .run(&["put", "new", "."])
        .fails(1, &["can't read ."]);
    unharmed(&sandbox, &kept);
}

#[test]
fn a_jpeg_named_png_is_known_by_its_content() {
    let (sandbox, _) = filled();
    sandbox.image("really.jpg", &picture(32, 32, 2));
    std::fs::rename(sandbox.path("really.jpg"), sandbox.path("named.png")).unwrap();
    sandbox.run(&["put", "new", "named.png"]).succeeds();
    assert_eq!(sandbox.run(&["info", "new", "--json"]).json()["width"], 32);
}

#[test]
fn a_header_of_60000_by_60000_pixels_is_refused_without_the_memory_for_it() {
    let (sandbox, kept) = filled();
    let mut png = sandbox.read("good.png");
    // Width and height in the IHDR chunk, and its CRC-32 computed anew.
    png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    sandbox.write("huge.png", &png);
    // 2 GB of address space: the 10.8 GB of its pixels would not fit.
    let mut shell = assert_cmd::Command::new("sh");
    let script = "ulimit -v 2000000; exec \"$0\" put new huge.png";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_latentdb")]);
    shell
        .current_dir(sandbox.path(""))
        .env("LATENTDB_PATH", sandbox.path("store"));
    finish(&mut shell).fails(1, &["huge.png", "60000x60000"]);
    unharmed(&sandbox, &kept);
}

/// CRC-32 as PNG defines it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                0xEDB8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            }
        })
    })
}

#[test]
fn ids_that_can_be_no_ids_are_usage_errors() {
    let (sandbox, kept) = filled();
    for (id, reason) in [
        (String::new(), "the id is empty"),
        ("a\tb".into(), "control character"),
        (
            "x".repeat(5000),
            "the id has 5000 bytes, more than the 512 allowed",
        ),
    ] {
        sandbox.run(&["put", &id, "good.png"]).fails(2, &[reason]);
        sandbox.run(&["get", &id]).fails(2, &[reason]);
        sandbox.run(&["info", &id]).fails(2, &[reason]);
        sandbox.run(&["rm", &id]).fails(2, &[reason]);
    }
    unharmed(&sandbox, &kept);
}

#[test]
fn an_unknown_model_is_refused_with_those_that_are_known() {
    let (sandbox, kept) = filled();
    sandbox
        .run(&["get", "kept", "--decoder", "sd", "-o", "x.png"])
        .fails(
            1,
            &[
                "there is no model `sd`",
                "tiny",
                "hint: latentdb model pull sd",
            ],
        );
    sandbox
        .run(&["put", "new", "good.png", "--encoder", "sd"])
        .fails(1, &["no model `sd`"]);
    sandbox
        .run(&["--db", "other", "init", "--encoder", "sd"])
        .fails(1, &["no model `sd`"]);
    assert_eq!(sandbox.names(), ["good.png"]);
    unharmed(&sandbox, &kept);
}

#[test]
fn outputs_that_cannot_be_written_leave_nothing_behind() {
    let (sandbox, kept) = filled();
    sandbox
        .run(&["get", "kept", "-o", "x.xyz"])
        .fails(2, &["xyz", "png"]);
    sandbox
        .run(&["get", "kept", "-o", "noending"])
        .fails(2, &["noending"]);
    sandbox
        .run(&["get", "kept", "--format", "xyz"])
        .fails(2, &["xyz"]);
    sandbox
        .run(&["get", "kept", "--latent", "-o", "x.png"])
        .fails(2, &["safetensors", "npy"]);
    sandbox
        .run(&["get", "kept", "-o", "no/folder/x.png"])
        .fails(1, &["no/folder/x.png"]);
    std::fs::create_dir(sandbox.path("folder.png")).unwrap();
    sandbox
        .run(&["get", "kept", "-o", "folder.png"])
        .fails(1, &["folder.png"]);
    assert_eq!(sandbox.names(), ["folder.png", "good.png"]);
    unharmed(&sandbox, &kept);
}

#[test]
fn an_output_that_is_replaced_is_never_half_written() {
    let (sandbox, kept) = filled();
    sandbox.write("out.png", b"before");
    sandbox
        .run(&["get", "missing", "-o", "out.png"])
        .fails(1, &["missing"]);
    assert_eq!(sandbox.read("out.png"), b"before");
    sandbox.run(&["get", "kept", "-o", "out.png"]).succeeds();
    assert_eq!(sandbox.read("out.png"), kept);
    sandbox
        .run(&["get", "kept", "--format", "png", "-o", "/dev/null"])
        .succeeds();
    assert!(
        !std::fs::metadata("/dev/null").unwrap().is_file(),
        "a device stays a device"
    );
}

#[test]
fn a_db_that_is_absent_is_made_by_put_alone() {
    let sandbox = Sandbox::new();
    sandbox.image("good.png", &picture(8, 8, 1));
    let reading: [&[&str]; 6] = [
        &["get", "a"],
        &["ls"],
        &["info", "a"],
        &["stats"],
        &["rm", "a"],
        &["get", "a", "--latent"],
    ];
    for command in reading {
        let run = sandbox.run(command);
        run.fails(1, &["doesn't exist", "hint: latentdb init"]);
        assert!(!sandbox.path("store").exists(), "{command:?} made a store");
    }
    sandbox
        .run(&["put", "a", "missing.png"])
        .fails(1, &["missing.png"]);
    assert!(!sandbox.path("store").exists());
    sandbox.run(&["put", "a", "good.png"]).succeeds();
    assert_eq!(sandbox.run(&["ls"]).text(), "a\n");
}

#[test]
fn a_db_that_is_something_else_is_refused_and_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.image("good.png", &picture(8, 8, 1));
    std::fs::create_dir(sandbox.path("photos")).unwrap();
    sandbox.write("photos/mine.txt", b"mine");
    sandbox.write("file", b"mine");
    for (db, reason) in [("photos", "photos"), ("file", "is a file")] {
        sandbox
            .run(&["--db", db, "put", "a", "good.png"])
            .fails(1, &[reason]);
        sandbox.run(&["--db", db, "ls"]).fails(1, &[reason]);
        sandbox.run(&["--db", db, "init"]).fails(1, &[reason]);
    }
    assert_eq!(
        std::fs::read_dir(sandbox.path("photos")).unwrap().count(),
        1
    );
    assert_eq!(sandbox.read("file"), b"mine");
}

#[test]
fn an_empty_db_path_names_no_store_and_not_the_default_one() {
    let sandbox = Sandbox::new();
    sandbox.run(&["--db", "", "ls"]).fails(2, &["--db <PATH>"]);
    let mut command = sandbox.command();
    finish(command.env("LATENTDB_PATH", "").arg("ls")).fails(2, &["--db <PATH>"]);
}

#[test]
fn a_db_that_is_read_only_can_be_read_and_not_written() {
    let (sandbox, kept) = filled();
    set_writable(&sandbox, false);
    // Root may write anywhere: then there is nothing to test.
    let root = std::fs::write(sandbox.path("store/probe"), b"").is_ok();
    if root {
        skipped("this user may write to read-only folders");
        std::fs::remove_file(sandbox.path("store/probe")).unwrap();
    } else {
        sandbox
            .run(&["put", "new", "good.png"])
            .fails(1, &["store"]);
        sandbox.run(&["rm", "kept"]).fails(1, &["store"]);
    }
    unharmed(&sandbox, &kept);
    set_writable(&sandbox, true);
}

fn set_writable(sandbox: &Sandbox, writable: bool) {
    for part in [
        "store",
        "store/segments",
        "store/lock",
        "store/segments/00000001.seg",
    ] {
        let path = sandbox.path(part);
        let mut permissions = std::fs::metadata(&path).unwrap().permissions();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = if writable { 0o755 } else { 0o555 };
            permissions.set_mode(mode);
        }
        #[cfg(not(unix))]
        permissions.set_readonly(!writable);
        std::fs::set_permissions(&path, permissions).unwrap();
    }
}

#[test]
fn a_reader_that_closes_the_pipe_ends_ls_quietly() {
    let (sandbox, _) = filled();
    for id in 0..40 {
        sandbox
            .run(&["put", &format!("{id:0400}"), "good.png"])
            .succeeds();
    }
    let mut ls = Command::new(env!("CARGO_BIN_EXE_latentdb"))
        .args(["ls", "--json"])
        .env("LATENTDB_PATH", sandbox.path("store"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut one = [0; 10];
    ls.stdout.take().unwrap().read_exact(&mut one).unwrap();
    let output = ls.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_missing_or_foreign_onnx_runtime_is_one_error_with_a_hint() {
    let (sandbox, kept) = filled();
    sandbox.write("libfake.so", b"no library at all");
    for library in ["libfake.so", "missing.so", "."] {
        let run = sandbox.run(&["put", "new", "good.png", "--onnxruntime", library]);
        run.fails(
            1,
            &[
                "ONNX Runtime can't be loaded",
                "hint: latentdb runtime install",
            ],
        );
    }
    let mut command = sandbox.command();
    command
        .env("ORT_DYLIB_PATH", "nowhere.so")
        .args(["get", "kept"]);
    finish(&mut command).fails(1, &["nowhere.so", "hint: latentdb runtime install"]);
    unharmed(&sandbox, &kept);
    let put = [
        "--db",
        "other",
        "put",
        "new",
        "good.png",
        "--onnxruntime",
        "missing.so",
    ];
    sandbox.run(&put).fails(1, &["missing.so"]);
    assert!(!sandbox.path("other").exists());
}

#[test]
fn what_needs_no_model_runs_without_onnx_runtime() {
    let (sandbox, _) = filled();
    let without = |args: &[&str]| {
        let mut command = sandbox.command();
        command.env("ORT_DYLIB_PATH", "nowhere.so").args(args);
        finish(&mut command).succeeds();
    };
    without(&["ls"]);
    without(&["info", "kept"]);
    without(&["stats"]);
    without(&["get", "kept", "--latent", "-o", "kept.safetensors"]);
    without(&["put", "copy", "--latent", "kept.safetensors"]);
    without(&["rm", "copy"]);
    without(&["completions", "bash"]);
}

#[test]
fn a_provider_asked_for_by_name_that_cannot_start_is_an_error_with_its_reason() {
    let (sandbox, kept) = filled();
    sandbox
        .run(&["get", "kept", "--provider", "gpu"])
        .fails(2, &["auto, cpu, cuda or cuda:N"]);
    let cpu_only = !onnxruntime()
        .join("libonnxruntime_providers_cuda.so")
        .exists();
    if cpu_only {
        let run = sandbox.run(&["get", "kept", "--provider", "cuda"]);
        run.fails(1, &["cuda:0 can't start", "hint: --provider auto"]);
    } else {
        skipped("this ONNX Runtime has the CUDA provider");
    }
    unharmed(&sandbox, &kept);
}

#[test]
fn two_writers_at_once_are_refused_and_readers_are_not() {
    let (sandbox, kept) = filled();
    let writer = latentdb::Database::open(sandbox.path("store")).unwrap();
    sandbox
        .run(&["put", "new", "good.png"])
        .fails(1, &["another process writes", "hint: "]);
    unharmed(&sandbox, &kept);
    drop(writer);
    sandbox.run(&["put", "new", "good.png"]).succeeds();
}
