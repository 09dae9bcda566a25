//! Folders of images for the tests of `ingest`, and what its lines say.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use serde_json::Value;

use super::{Run, Sandbox, picture};

/// Writes pictures of these names, each another, and the folders they lie in.
pub(crate) fn pictures(sandbox: &Sandbox, names: &[&str], (width, height): (u32, u32)) {
    for (seed, name) in names.iter().enumerate() {
        let path = sandbox.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        sandbox.image(name, &picture(width, height, seed as u32));
    }
}

/// The lines of `--json`.
pub(crate) fn lines(run: &Run) -> Vec<Value> {
    let lines = run.text().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// `id status` of each line, `-` where there is no id.
pub(crate) fn told(run: &Run) -> Vec<String> {
    let told = lines(run).into_iter().map(|line| {
        let id = line["id"].as_str().unwrap_or("-").to_owned();
        format!("{id} {}", line["status"].as_str().unwrap())
    });
    told.collect()
}

/// A tar of files of the sandbox, under these names.
pub(crate) fn tar(sandbox: &Sandbox, files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (file, name) in files {
        tar.append_path_with_name(sandbox.path(file), name).unwrap();
    }
    tar.into_inner().unwrap()
}
