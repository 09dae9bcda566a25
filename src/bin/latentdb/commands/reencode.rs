//! `latentdb reencode`: records are made again by another encoder, from the files they came from.

use std::path::PathBuf;

use clap::ValueHint;
use latentdb::{IngestOptions, Inputs, PutOptions};

use super::ingest::{RunArgs, check_exists};
use crate::context::Context;
use crate::image_args::LimitArgs;
use crate::images_told::{ReportArgs, told};
use crate::report::Failure;

/// Encode records again with another encoder
///
/// The files that records were made of are looked for by their bytes (BLAKE3), whatever they are
/// called now, and encoded as they were prepared then; ids, tags and all else stay. A record that keeps
/// its original needs no file. What was measured is measured again. Records of this
/// encoder are left alone, so the same command goes on where another was stopped. Records whose file
/// isn't found are listed as missing, stay as they are, and the exit code is 3.
///
/// --json prints the lines that ingest prints; status is updated, missing, skipped or failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb reencode --encoder sd --from photos/
  latentdb reencode --encoder sd --from photos/ --from more/ --prefix 2026/ --dry-run")]
pub(crate) struct Reencode {
    /// The encoder
    #[arg(long, value_name = "NAME")]
    encoder: String,
    /// Where the files are: a folder, a tar, a file or a pattern; may be given several times
    #[arg(long, value_name = "PATH", default_value = ".", value_hint = ValueHint::AnyPath)]
    from: Vec<PathBuf>,
    /// Only records whose ids begin with this
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    prefix: String,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    report: ReportArgs,
}

pub(crate) fn run(context: &Context, command: &Reencode) -> Result<(), Failure> {
    context.hub.encoder(&command.encoder)?;
    let options = IngestOptions {
        put: PutOptions {
            encoder: Some(command.encoder.clone()),
            limits: command.limits.limits(),
            ..PutOptions::default()
        },
        dry_run: command.run.dry_run,
        fail_fast: command.run.fail_fast,
        batch: command.run.batch.max(1).into(),
        ..IngestOptions::default()
    };
    for path in &command.from {
        check_exists(path)?;
    }
    let database = if command.run.dry_run {
        context.open_read_only()?
    } else {
        context.open()?
    };
    let from = || command.from.iter().fold(Inputs::default(), Inputs::path);
    told(
        &command.report,
        command.run.dry_run,
        || None,
        |stop, each| database.reencode(from(), &command.prefix, &options, stop, each),
    )
}
