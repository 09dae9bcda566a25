//! `latentdb ingest`: many images go into the store.

use std::path::{Path, PathBuf};

use clap::ValueHint;
use latentdb::{Database, Error, ErrorKind, IdTemplate, IngestOptions, Inputs, Shard};

use crate::context::Context;
use crate::image_args::{ImageArgs, PromiseArgs, TagArgs};
use crate::images_told::{ReportArgs, told};
use crate::report::Failure;

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
  latentdb ingest photos/ --psnr-loss 0.1
  latentdb ingest photos/ --min-psnr 26 --below keep-original
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
    promise: PromiseArgs,
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
    pub(super) batch: u16,
    /// Store nothing, and say what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Stop at the first failure
    #[arg(long)]
    pub(super) fail_fast: bool,
}

fn parse_template(text: &str) -> Result<IdTemplate, String> {
    text.parse().map_err(|e: Error| e.to_string())
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    text.parse().map_err(|e: Error| e.to_string())
}

pub(crate) fn run(context: &Context, command: &Ingest) -> Result<(), Failure> {
    let options = IngestOptions {
        put: (command.image).options(false, command.tags.tags()?, command.promise.promise()?),
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
        context.hub.encoder(encoder)?;
    }
    let database = if options.dry_run {
        dry_run_database(context)?
    } else {
        context.hub.runtime()?;
        context.open_or_create()?
    };
    let counted = || Some(inputs());
    told(&command.report, options.dry_run, counted, |stop, each| {
        database.ingest(inputs(), &options, stop, each)
    })
}

/// A name that is neither there nor a pattern is a slip, and not one failure among many.
pub(super) fn check_exists(path: &Path) -> Result<(), Failure> {
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
