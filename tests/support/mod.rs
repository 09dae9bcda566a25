//! What the tests of the command line share: a sandbox with its own home, store and ONNX Runtime.
//!
//! Invariant: nothing of the user's environment is read or written.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod child;
pub(crate) mod folders;
pub(crate) mod stores;
pub(crate) mod values;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use latentdb::{ImageFormat, Pixels, WriteOptions};

/// A folder of its own for each test, and the program run in it.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

/// What a run of the program left.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }

    /// Asserts an error that says `parts`, with `code` and nothing on stdout.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.stderr);
        assert!(
            self.stdout.is_empty(),
            "{}",
            String::from_utf8_lossy(&self.stdout)
        );
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "no `{part}` in: {}",
                self.stderr
            );
        }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, with a store in this sandbox.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_latentdb"));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("LATENTDB_PATH", self.path("store"))
            .env("ORT_DYLIB_PATH", onnxruntime());
        command
    }

    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Run {
        finish(self.command().args(args))
    }

    /// Writes a file into the sandbox; its name is what the program is given.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        name.to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Writes an image into the sandbox.
    pub(crate) fn image(&self, name: &str, pixels: &Pixels) -> String {
        let format = ImageFormat::from_path(Path::new(name)).unwrap();
        self.write(
            name,
            &latentdb::write_image(pixels, format, &WriteOptions::default()).unwrap(),
        )
    }

    /// Names of all files and folders in the sandbox, without the store.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "store").collect();
        names.sort();
        names
    }
}

pub(crate) fn finish(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().expect("the program ended by itself"),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The library that `make setup` installed; tests without it would test nothing.
pub(crate) fn onnxruntime() -> PathBuf {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        return path.into();
    }
    let profile = Path::new(env!("CARGO_BIN_EXE_latentdb")).parent().unwrap();
    let folder = profile.parent().unwrap().join("onnxruntime");
    assert!(
        folder.is_dir(),
        "{} is missing: run `make setup` first",
        folder.display()
    );
    folder
}

/// The photographs and models beside the checkout; tells when a test has to do without.
pub(crate) fn shared(part: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared")
        .join(part);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("{} is missing", path.display()));
    None
}

/// Tells that a test checked less than it says; unlike `eprintln`, also where the test passes.
pub(crate) fn skipped(why: &str) {
    use std::io::Write;
    let line = format!("SKIPPED: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A picture with edges and gradients, different for each `seed`.
pub(crate) fn picture(width: u32, height: u32, seed: u32) -> Pixels {
    let mut data = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let light = (x * 3 + y * 2 + seed * 40) % 256;
            let inside = (x / 17 + y / 23 + seed).is_multiple_of(3);
            let (r, g) = if inside {
                (light, 255 - light)
            } else {
                (light / 2, light)
            };
            data.extend([r as u8, g as u8, (128 + y % 64) as u8]);
        }
    }
    Pixels::from_rgb(width, height, data).unwrap()
}

/// Reads an image the program wrote.
pub(crate) fn decoded(bytes: &[u8]) -> Pixels {
    latentdb::read_image(bytes, "output", &latentdb::Limits::default())
        .unwrap()
        .pixels
}
