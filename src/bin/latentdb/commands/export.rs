//! `latentdb export`: records leave the store in files that other programs read.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::{ValueEnum, ValueHint};
use latentdb::write_archive;

use crate::context::Context;
use crate::output::{self, Target};
use crate::progress::with_count;
use crate::report::Failure;

/// Write records to files
///
/// An archive is a tar with a JSON and a safetensors file for each record, in the order of their
/// ids. It holds all that the store knows of a record; import reads it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb export -o records.tar
  latentdb export --prefix photos/2026/ -o photos.tar
  latentdb export | ssh host latentdb import -")]
pub(crate) struct Export {
    /// What is written
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Archive)]
    format: Format,
    /// Only records whose ids begin with this
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    prefix: String,
    /// The file to write; `-` for stdout [default: stdout]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

/// What records are written as.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One tar with all that is known of the records
    Archive,
}

pub(crate) fn run(context: &Context, command: &Export) -> Result<(), Failure> {
    let count = match command.format {
        Format::Archive => archive(context, command)?,
    };
    context.say(|| format!("exported {}", output::count(count, "record")));
    Ok(())
}

fn archive(context: &Context, command: &Export) -> Result<u64, Failure> {
    let target = Target::new(command.output.as_deref());
    target.check_terminal("an archive")?;
    let database = context.open_read_only()?;
    with_count("exporting", |counted| {
        let records = database.store().records(&command.prefix);
        let records = records.inspect(|_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        target.stream(|out| write_archive(records, out))
    })
}
