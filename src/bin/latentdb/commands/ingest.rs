//! `latentdb ingest`: many images go into the store.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueHint;
use latentdb::{
    Database, Done, Error, ErrorKind, IdTemplate, IngestOptions, Ingested, Inputs, Outcome, Shard,
};
use serde_json::{Value, json};

use crate::context::Context;
use crate::image_args::{ImageArgs, TagArgs};
use crate::interrupt;
use crate::output;
use crate::progress::Images;
use crate::report::Failure;

/// Failures that are listed at the end; --failures has all.
const LISTED: usize = 100;

/// Store many images
///
/// Takes files, folders, quoted patterns, tars (WebDataset shards too) and, for `-`, a list of them
/// on stdin, a path a line; or a tar on stdin. An id is the path below the folder, the name in the
/// tar, or the path of the file as given, unless --id says otherwise. Images that are there already
/// (same file, encoder and settings) are skipped, so the same command goes on where another was
/// stopped. A failure never ends the run; failures are listed at its end, and the exit code is 3.
///
/// With --json a line for each image, in the order of images, once what became of it is certain:
/// status (stored, updated, skipped, stale, failed; in a dry run what it would be), id, path, member
/// (in a tar), source_bytes, bytes_stored, and reason (of stale and failed), notes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb ingest photos/
  latentdb ingest 'photos/**/*.jpg' --id stem --tag album=2026
  find /data -name '*.png' -size +10k | latentdb ingest - --root /data
  latentdb ingest shard-{000..099}.tar --encoder sd --batch 16
  latentdb ingest photos/ --failures failed.jsonl && latentdb ingest - < failed.jsonl
  latentdb --db part-$SLURM_ARRAY_TASK_ID ingest photos/ --shard $SLURM_ARRAY_TASK_ID/8")]
pub(crate) struct Ingest {
    /// Files, folders, patterns, tars; `-` for a list on stdin
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    /// What ids are made of: path, stem, hash, or a template with {path}, {dir}, {stem}, {ext}, {hash}
    #[arg(long, value_name = "TEMPLATE", default_value = "path", value_parser = parse_template)]
    id: IdTemplate,
    /// Make ids of the paths below this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    root: Option<PathBuf>,
    /// Encode images again whose record is stale (of another file, encoder or settings)
    #[arg(long)]
    update: bool,
    /// Only this part of the images, of N about equal ones; parts are counted from 0
    #[arg(long, value_name = "I/N", value_parser = parse_shard)]
    shard: Option<Shard>,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    tags: TagArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// How the work goes.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Encode so many images of one size at once; helps on GPUs
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: u16,
    /// Store nothing, and say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Stop at the first failure
    #[arg(long)]
    fail_fast: bool,
}

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

fn parse_template(text: &str) -> Result<IdTemplate, String> {
    text.parse().map_err(|e: Error| e.to_string())
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    text.parse().map_err(|e: Error| e.to_string())
}

pub(crate) fn run(context: &Context, command: &Ingest) -> Result<(), Failure> {
    let options = IngestOptions {
        put: command.image.options(false, command.tags.tags()?),
        id: command.id.clone(),
        update: command.update,
        dry_run: command.run.dry_run,
        fail_fast: command.run.fail_fast,
        batch: command.run.batch.max(1).into(),
        ..IngestOptions::default()
    };
    let inputs = || {
        let inputs = Inputs::default()
            .relative_to(command.root.clone())
            .shard(command.shard);
        command.paths.iter().fold(inputs, |inputs, path| {
            if path == Path::new("-") {
                inputs.list(std::io::stdin())
            } else {
                inputs.path(path)
            }
        })
    };
    // What can fail without a store fails before one is made.
    for path in &command.paths {
        check_exists(path)?;
    }
    if let Some(encoder) = &options.put.encoder {
        context.hub.model(encoder)?;
    }
    let database = if options.dry_run {
        dry_run_database(context)?
    } else {
        context.hub.runtime()?;
        context.open_or_create()?
    };
    let stop = interrupt::watch()?;
    let work = |failures: &mut dyn Write| {
        let report = Report::new(command, failures);
        ingest(&database, &inputs, &options, stop, report)
    };
    match &command.report.failures {
        Some(path) => latentdb::write_file_with(path, |out| Ok(work(out)))?,
        None => work(&mut std::io::sink()),
    }
}

/// A name that is neither there nor a pattern is a slip, and not one failure among many.
fn check_exists(path: &Path) -> Result<(), Failure> {
    let pattern = path.to_string_lossy().contains(['*', '?', '[']);
    if path == Path::new("-") || pattern || path.exists() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Io, format!("there is no {}", path.display())).into())
}

/// A dry run makes no store: where there is none, all is new.
fn dry_run_database(context: &Context) -> Result<Database, Failure> {
    match context.open_read_only() {
        Err(error) if error.kind() == ErrorKind::StoreNotFound => {
            let store = latentdb::Store::new(latentdb::backend::MemoryBackend::default());
            Ok(Database::over(store).with_hub(std::sync::Arc::clone(&context.hub)))
        }
        other => Ok(other?),
    }
}

fn ingest(
    database: &Database,
    inputs: &dyn Fn() -> Inputs,
    options: &IngestOptions,
    stop: &AtomicBool,
    mut report: Report<'_>,
) -> Result<(), Failure> {
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let ingested = std::thread::scope(|scope| {
        let images = &report.images;
        let enough = || over.load(Ordering::Relaxed) || stop.load(Ordering::Relaxed);
        // Only a bar has use for how many there will be.
        if images.is_shown() {
            let inputs = inputs();
            scope.spawn(move || {
                if let Some(count) = inputs.count(enough) {
                    images.set_total(count);
                }
            });
        }
        let told = &mut report.told;
        let ingested = database.ingest(inputs(), options, stop, &mut |done| {
            told.tell(done, images);
            if told.broken.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
        });
        over.store(true, Ordering::Relaxed);
        ingested
    });
    report.images.finish();
    report.told.end()?;
    let ingested = ingested.map_err(|error| {
        if report.told.stored == 0 {
            return error;
        }
        let kept = output::count(report.told.stored, "image");
        Error::new(
            error.kind(),
            format!("the run ended after {kept} had been stored"),
        )
        .with_source(error)
    })?;
    summary(&ingested, options.dry_run, begun.elapsed());
    if stop.load(Ordering::Relaxed) {
        return Err(Failure::Silent(interrupt::EXIT_CODE));
    }
    if ingested.failed > 0 {
        return Err(Failure::Silent(3));
    }
    Ok(())
}

/// Where what becomes of images is told.
struct Report<'a> {
    images: Images,
    told: Told<'a>,
}

struct Told<'a> {
    json: bool,
    dry_run: bool,
    failures: &'a mut dyn Write,
    listed: Vec<String>,
    unlisted: u64,
    stored: u64,
    /// Why stdout or the file of failures takes nothing more.
    broken: Option<Failure>,
}

impl<'a> Report<'a> {
    fn new(command: &Ingest, failures: &'a mut dyn Write) -> Self {
        Self {
            images: Images::new(),
            told: Told {
                json: command.report.json,
                dry_run: command.run.dry_run,
                failures,
                listed: Vec::new(),
                unlisted: 0,
                stored: 0,
                broken: None,
            },
        }
    }
}

impl Told<'_> {
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
        if self.json {
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
            if let Outcome::Stale(difference) = &done.outcome {
                let id = done
                    .id
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                images.say(&format!("stale: {id}: {difference}"));
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
