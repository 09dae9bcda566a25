//! An ingest that is killed or interrupted: what it told is there, and the next one goes on from it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::folders::{lines, pictures};
use support::{Sandbox, onnxruntime};

const IMAGES: usize = 150;

fn folder() -> Sandbox {
    let sandbox = Sandbox::new();
    let names: Vec<_> = (0..IMAGES).map(|n| format!("in/{n:03}.png")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    pictures(&sandbox, &names, (64, 64));
    sandbox
}

/// An ingest that tells what it stores.
fn begun(sandbox: &Sandbox) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_latentdb"))
        .args(["ingest", "in", "--json"])
        .current_dir(sandbox.path("."))
        .env("LATENTDB_PATH", sandbox.path("store"))
        .env("HOME", sandbox.path("home"))
        .env("ORT_DYLIB_PATH", onnxruntime())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let ids = stdout.lines().map_while(Result::ok).filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line).ok()?;
        (line["status"] == "stored").then(|| line["id"].as_str().unwrap().to_owned())
    });
    (child, ids)
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap();
}

/// Runs the ingest again: what was told is skipped, and in the end all is there and whole.
fn goes_on(sandbox: &Sandbox, told: &[String]) -> usize {
    let run = sandbox.run(&["ingest", "in", "--json"]).succeeds();
    let again = lines(&run);
    assert_eq!(again.len(), IMAGES);
    let status = |id: &str| {
        let line = again.iter().find(|line| line["id"] == id).unwrap();
        line["status"].as_str().unwrap().to_owned()
    };
    for id in told {
        assert_eq!(status(id), "skipped", "{id} was told to be stored");
    }
    let listed = sandbox.run(&["ls"]).succeeds();
    let ids: HashSet<_> = listed.text().lines().collect();
    assert_eq!(ids.len(), IMAGES);
    sandbox.run(&["verify", "--deep"]).succeeds();
    again
        .iter()
        .filter(|line| line["status"] == "stored")
        .count()
}

#[test]
fn a_killed_ingest_kept_all_it_told_and_goes_on_after_it() {
    let sandbox = folder();
    let (mut told, mut left) = (Vec::new(), IMAGES);
    // Each time later, and the last time not at all.
    for after in [1, 20, 50] {
        let (mut child, ids) = begun(&sandbox);
        let mut ids = ids.into_iter();
        told.extend(ids.by_ref().take(after));
        child.kill().unwrap();
        child.wait().unwrap();
        told.extend(ids);
    }
    assert!(!told.is_empty());
    left -= told.len();
    assert!(goes_on(&sandbox, &told) <= left);
}

#[test]
fn an_interrupted_ingest_commits_what_it_has_and_says_so() {
    let sandbox = folder();
    let (child, mut ids) = begun(&sandbox);
    let mut told: Vec<_> = ids.by_ref().take(1).collect();
    signal(&child, Signal::INT);
    told.extend(ids);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("stopping: "), "{stderr}");
    assert!(
        told.len() < IMAGES,
        "the interrupt came too late to test anything"
    );
    // Everything that was committed was told: the next run stores exactly the rest.
    assert_eq!(goes_on(&sandbox, &told), IMAGES - told.len());
}

#[test]
fn a_second_interrupt_ends_at_once_and_loses_nothing_told() {
    let sandbox = folder();
    let (mut child, mut ids) = begun(&sandbox);
    let mut told: Vec<_> = ids.by_ref().take(1).collect();
    signal(&child, Signal::TERM);
    signal(&child, Signal::INT);
    told.extend(ids);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    goes_on(&sandbox, &told);
}
