//! How work on many images is told: a line each, a bar, what failed, and what was done in all.
//!
//! Invariant: a line of an image is written once what became of it is certain, in the order of images.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueHint;
use latentdb::{Done, Error, ErrorKind, Ingested, Inputs, Outcome};
use serde_json::{Value, json};

use crate::interrupt;
use crate::output;
use crate::progress::Images;
use crate::report::Failure;

/// Failures that are listed at the end; --failures has all.
pub(crate) const LISTED: usize = 100;

/// How the work is told.
#[derive(Debug, clap::Args)]
pub(crate) struct ReportArgs {
    /// One JSON object a line for each image
    #[arg(long)]
    json: bool,
    /// Write what failed to this file, a JSON object a line, for `latentdb ingest - < FILE`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    failures: Option<PathBuf>,
}

/// Does `work` and tells it: `work` gets what becomes true when it should stop, and what is to be called for each image.
/// `counted` are the images there will be, where they can be counted.
pub(crate) fn told(
    arguments: &ReportArgs,
    dry_run: bool,
    counted: impl Fn() -> Option<Inputs>,
    work: impl FnOnce(&AtomicBool, &mut dyn FnMut(&Done)) -> latentdb::Result<Ingested>,
) -> Result<(), Failure> {
    let stop = interrupt::watch()?;
    let told = |failures: &mut dyn Write| {
        let told = Told {
            arguments,
            dry_run,
            failures,
            listed: Vec::new(),
            unlisted: 0,
            stored: 0,
            broken: None,
        };
        told.tell_all(stop, counted(), work)
    };
    match &arguments.failures {
        Some(path) => latentdb::write_file_with(path, |out| Ok(told(out)))?,
        None => told(&mut std::io::sink()),
    }
}

/// Where what becomes of images is told.
struct Told<'a> {
    arguments: &'a ReportArgs,
    dry_run: bool,
    failures: &'a mut dyn Write,
    listed: Vec<String>,
    unlisted: u64,
    stored: u64,
    /// Why stdout or the file of failures takes nothing more.
    broken: Option<Failure>,
}

impl Told<'_> {
    fn tell_all(
        mut self,
        stop: &AtomicBool,
        counted: Option<Inputs>,
        work: impl FnOnce(&AtomicBool, &mut dyn FnMut(&Done)) -> latentdb::Result<Ingested>,
    ) -> Result<(), Failure> {
        let (over, begun) = (AtomicBool::new(false), Instant::now());
        let images = Images::new();
        let ingested = std::thread::scope(|scope| {
            // Only a bar has use for how many there will be.
            if let Some(inputs) = counted.filter(|_| images.is_shown()) {
                let enough = || over.load(Ordering::Relaxed) || stop.load(Ordering::Relaxed);
                let images = &images;
                scope.spawn(move || {
                    if let Some(count) = inputs.count(enough) {
                        images.set_total(count);
                    }
                });
            }
            let ingested = work(stop, &mut |done| {
                self.tell(done, &images);
                if self.broken.is_some() {
                    stop.store(true, Ordering::Relaxed);
                }
            });
            over.store(true, Ordering::Relaxed);
            ingested
        });
        images.finish();
        self.end()?;
        let ingested = ingested.map_err(|error| {
            if self.stored == 0 {
                return error;
            }
            let kept = output::count(self.stored, "image");
            let message = format!("the run ended after {kept} had been stored");
            Error::new(error.kind(), message).with_source(error)
        })?;
        summary(&ingested, self.dry_run, begun.elapsed());
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::Silent(interrupt::EXIT_CODE));
        }
        if ingested.failed + ingested.missing > 0 {
            return Err(Failure::Silent(3));
        }
        Ok(())
    }

    fn tell(&mut self, done: &Done, images: &Images) {
        images.add(done.source_bytes, done.stored_bytes);
        self.stored += u64::from(matches!(done.outcome, Outcome::Stored | Outcome::Updated));
        if self.broken.is_some() {
            return;
        }
        let told = self.say(done, images);
        self.broken = told.err();
    }

    fn say(&mut self, done: &Done, images: &Images) -> Result<(), Failure> {
        if self.arguments.json {
            output::line(&to_json(done).to_string())?;
        } else if self.dry_run {
            let id = done
                .id
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            output::line(&format!("{}\t{id}\t{}", status(&done.outcome), done.origin))?;
        } else {
            for note in &done.notes {
                images.say(&format!("note: {}: {note}", done.origin));
            }
            let id = done
                .id
                .as_ref()
                .map(latentdb::RecordId::as_str)
                .unwrap_or_default();
            match &done.outcome {
                Outcome::Stale(difference) => images.say(&format!("stale: {id}: {difference}")),
                Outcome::Missing => images.say(&format!("missing: {id}: {}", done.origin)),
                _ => {}
            }
        }
        if let Outcome::Failed(error) = &done.outcome {
            let line = to_failure(done, error).to_string();
            writeln!(self.failures, "{line}").map_err(|e| {
                Error::new(ErrorKind::Io, "can't write the failures").with_source(e)
            })?;
            if self.listed.len() < LISTED {
                self.listed.push(format!("{}: {error:#}", done.origin));
            } else {
                self.unlisted += 1;
            }
        }
        Ok(())
    }

    /// Lists what failed.
    fn end(&mut self) -> Result<(), Failure> {
        if let Some(failure) = self.broken.take() {
            return Err(failure);
        }
        if self.listed.is_empty() {
            return Ok(());
        }
        let failed = self.listed.len() as u64 + self.unlisted;
        eprintln!("error: {} failed:", output::count(failed, "image"));
        for line in &self.listed {
            eprintln!("  {line}");
        }
        if self.unlisted > 0 {
            eprintln!("  and {} more; --failures FILE has all", self.unlisted);
        }
        Ok(())
    }
}

fn status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Stored => "stored",
        Outcome::Updated => "updated",
        Outcome::Skipped => "skipped",
        Outcome::Stale(_) => "stale",
        Outcome::Missing => "missing",
        _ => "failed",
    }
}

fn to_json(done: &Done) -> Value {
    let reason = match &done.outcome {
        Outcome::Stale(difference) => Some(difference.clone()),
        Outcome::Failed(error) => Some(format!("{error:#}")),
        _ => None,
    };
    json!({
        "id": done.id.as_ref().map(latentdb::RecordId::as_str),
        "status": status(&done.outcome),
        "path": done.origin.path.to_string_lossy(),
        "member": done.origin.member,
        "source_bytes": done.source_bytes,
        "bytes_stored": done.stored_bytes,
        "reason": reason,
        "notes": done.notes,
    })
}

/// A line that `ingest -` takes.
fn to_failure(done: &Done, error: &Error) -> Value {
    let mut line = serde_json::Map::new();
    line.insert("path".into(), json!(done.origin.path.to_string_lossy()));
    if let Some(member) = &done.origin.member {
        line.insert("member".into(), json!(member));
    }
    if let Some(id) = &done.id {
        line.insert("id".into(), json!(id.as_str()));
    }
    line.insert("error".into(), json!(format!("{error:#}")));
    line.into()
}

fn summary(ingested: &Ingested, dry_run: bool, elapsed: Duration) {
    let mut parts = vec![format!(
        "{} {}",
        if dry_run { "would store" } else { "stored" },
        output::count(ingested.stored, "image")
    )];
    for (what, count) in [
        ("updated", ingested.updated),
        ("skipped", ingested.skipped),
        ("stale", ingested.stale),
        ("missing", ingested.missing),
        ("failed", ingested.failed),
    ] {
        if count > 0 {
            parts.push(format!("{what} {count}"));
        }
    }
    let made = ingested.stored + ingested.updated;
    let sizes = if dry_run || made == 0 {
        String::new()
    } else {
        format!(
            ": {} read, {} stored, {:.1} images/s",
            output::bytes(ingested.source_bytes),
            output::bytes(ingested.stored_bytes),
            made as f64 / elapsed.as_secs_f64().max(1e-3)
        )
    };
    eprintln!("{}{sizes}", parts.join(", "));
    if ingested.stale > 0 {
        eprintln!("hint: --update encodes stale records again");
    }
    let ignored: u64 = ingested.ignored.values().sum();
    if ignored > 0 {
        eprintln!(
            "ignored {}: {}",
            output::count(ignored, "file"),
            endings(&ingested.ignored)
        );
    }
}

/// The most frequent endings, with how often.
fn endings(ignored: &BTreeMap<String, u64>) -> String {
    const SHOWN: usize = 5;
    let mut endings: Vec<_> = ignored.iter().collect();
    endings.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let more = if endings.len() > SHOWN { ", ..." } else { "" };
    let shown = endings.iter().take(SHOWN).map(|(ending, count)| {
        let ending = if ending.is_empty() {
            "no ending"
        } else {
            ending
        };
        format!("{count} {ending}")
    });
    shown.collect::<Vec<_>>().join(", ") + more
}
