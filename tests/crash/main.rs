//! A writer is killed again and again, at any moment: nothing that was acknowledged is lost, nothing comes back, and
//! of what was under way all is there or nothing.
//!
//! `make crash ROUNDS=200` runs more rounds and says what they hit; `LATENTDB_CRASH_SEED` repeats a run's decisions.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod child;
mod model;
mod program;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use latentdb::backend::LocalBackend;
use model::{Content, Life, content};
use support::values::{Rng, any_seed, open_small};

/// Rounds without `LATENTDB_CRASH_ROUNDS`.
const ROUNDS: u64 = 20;

/// A file in the index's folder: gone once the index was made anew.
const MARKER: &str = "seen";

#[test]
fn a_writer_that_is_told_to_writes_until_it_is_killed() {
    if let Some(arguments) = support::child::arguments() {
        child::run(&arguments);
    }
}

#[test]
fn nothing_acknowledged_is_lost_however_often_the_writer_is_killed() {
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    let rounds = number("LATENTDB_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = number("LATENTDB_CRASH_SEED").unwrap_or_else(any_seed);
    let folder = tempfile::tempdir().unwrap();
    let mut harness = Harness {
        store: folder.path().join("store"),
        index_copy: folder.path().join("index"),
        stderr: folder.path().join("stderr"),
        content: Content::new(),
        sums: Sums::default(),
    };
    LocalBackend::create(&harness.store).unwrap();
    let mut rng = Rng(seed);
    for round in 1..=rounds {
        if let Err(violation) = harness.round(round, &mut Rng(rng.next())) {
            panic!(
                "LATENTDB_CRASH_SEED={seed}, round {round}: {violation}\nthe store is in {}",
                folder.keep().display()
            );
        }
    }
    println!(
        "seed {seed}, {rounds} rounds, 0 violations: {:#?}",
        harness.sums
    );
}

/// What the rounds came to.
#[derive(Debug, Default)]
struct Sums {
    killed_while: BTreeMap<&'static str, u64>,
    acknowledged_batches: u64,
    refused_batches: u64,
    compactions_that_rewrote: u64,
    ends_cut_off: u64,
    /// By what was found of the index right after the kill: what opening has to do.
    index: BTreeMap<&'static str, u64>,
    operations_index_lagged: u64,
    indexes_made_anew: u64,
}

struct Harness {
    store: PathBuf,
    index_copy: PathBuf,
    stderr: PathBuf,
    content: Content,
    sums: Sums,
}

impl Harness {
    /// One life of the writer, and a look at what it left.
    fn round(&mut self, round: u64, rng: &mut Rng) -> Result<(), String> {
        let segment_bytes = [4 << 10, 16 << 10, 64 << 10][rng.below(3) as usize];
        let life = self.live_and_die(round, segment_bytes, rng)?;
        *self
            .sums
            .killed_while
            .entry(life.killed_while())
            .or_default() += 1;
        self.sums.acknowledged_batches += life.acknowledged;
        self.sums.refused_batches += life.refused;
        self.sums.compactions_that_rewrote += life.compactions;
        self.look_at_index();

        let text = |e: latentdb::Error| format!("opening: {e}");
        // Where only a reader looks, the next writer finds the store as the killed one left it.
        let (reader, writer) = match rng.below(10) {
            0..=2 => (true, false),
            3..=5 => (false, true),
            _ => (true, true),
        };
        let mut life = Some(life);
        if reader {
            let store = LocalBackend::open_read_only(&self.store).map_err(text)?;
            let found = content(&store).map_err(|e| format!("as a reader: {e}"))?;
            self.content = life.take().unwrap_or_default().check(found)?;
        }
        if writer {
            let store = open_small(&self.store, segment_bytes).map_err(text)?;
            self.sums.ends_cut_off += u64::from(store.recovered().is_some());
            let found = content(&store).map_err(|e| format!("as a writer: {e}"))?;
            let life = life.unwrap_or_else(|| Life::of(self.content.clone()));
            self.content = life.check(found)?;
        }
        Ok(())
    }

    /// Starts a writer, kills it, and returns what it said.
    fn live_and_die(&self, round: u64, segment_bytes: u64, rng: &mut Rng) -> Result<Life, String> {
        let threads = [1, 1, 2, 4][rng.below(4) as usize];
        let arguments = [rng.next(), round, segment_bytes, threads].map(|n| n.to_string());
        let path = self.store.to_str().unwrap().to_owned();
        let name = "a_writer_that_is_told_to_writes_until_it_is_killed";
        let arguments = [&[path][..], &arguments].concat();
        // Most kills come soon after an acknowledgement; the others while the store is opened.
        let from = [" done", " done", " done", "opening"][rng.below(4) as usize];
        let longest = if from == "opening" { 0.03 } else { 1.0 };
        let delay = Duration::from_secs_f64(rng.log_uniform(0.000_05, longest));

        let mut writer = support::child::command(name, &arguments)
            .stderr(Stdio::from(std::fs::File::create(&self.stderr).unwrap()))
            .spawn()
            .unwrap();
        let stdout = writer.stdout.take().unwrap();
        let (happened, wait) = mpsc::channel();
        let mut life = Life::of(self.content.clone());
        let listener = std::thread::spawn(move || {
            for line in support::child::lines(stdout) {
                if line.ends_with(from) {
                    let _ = happened.send(Instant::now());
                }
                life.hear(&line);
            }
            life
        });
        let since = wait.recv_timeout(Duration::from_mins(1));
        if let Ok(since) = since {
            std::thread::sleep(delay.saturating_sub(since.elapsed()));
        }
        writer.kill().unwrap();
        let status = writer.wait().unwrap();
        let life = listener.join().unwrap();
        if status.code().is_some() || since.is_err() {
            let said = std::fs::read_to_string(&self.stderr).unwrap();
            return Err(format!("the writer stopped by itself, {status}: {said}"));
        }
        Ok(life)
    }

    /// Counts what opening will have to do about the index.
    fn look_at_index(&mut self) {
        let index = self.store.join("index");
        if !index.is_dir() {
            *self.sums.index.entry("missing").or_default() += 1;
            return;
        }
        self.sums.indexes_made_anew += u64::from(!index.join(MARKER).exists());
        std::fs::write(index.join(MARKER), "").unwrap();
        copy_files(&index, &self.index_copy);
        let (state, lag) = index_state(&self.store, &self.index_copy);
        *self.sums.index.entry(state).or_default() += 1;
        self.sums.operations_index_lagged += lag;
    }
}

/// What opening will find of the index, of which `index` is a copy, and how many operations it lacks.
#[cfg(feature = "fuzzing")]
fn index_state(store: &Path, index: &Path) -> (&'static str, u64) {
    match latentdb::fuzzing::index_lag(store, index).unwrap() {
        Some(0) => ("level", 0),
        Some(lag) => ("lagging", lag),
        None => ("of no use", 0),
    }
}

#[cfg(not(feature = "fuzzing"))]
fn index_state(_: &Path, _: &Path) -> (&'static str, u64) {
    ("not looked at", 0)
}

/// Copies the files of a folder, and those of the folders in it.
fn copy_files(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
