//! `latentdb export`: records leave the store in files that other programs read.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{ValueEnum, ValueHint};
use latentdb::{LatentFormat, write_archive};

use crate::context::Context;
use crate::exchange_told::Told;
use crate::output::{self, Target};
use crate::progress::with_count;
use crate::report::Failure;

/// Write records to files
///
/// An archive is a tar with a JSON and a safetensors file for each record, in the order of their
/// ids. It holds all that the store knows of a record; import reads it.
///
/// The other formats are what trainers read: safetensors, npy and npz (kohya's sd-scripts) are files in
/// a folder, one for each record, named by its id; wds is a WebDataset shard, a tar with an npy and a
/// JSON file for each record. Values are unscaled, but for npz files of flux1. Records that can't be
/// read are listed, and stop no other; the exit code is 3 then.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb export -o records.tar
  latentdb export --prefix photos/2026/ -o photos.tar
  latentdb export | ssh host latentdb import -
  latentdb export --format safetensors --prefix photos/ -o latents/
  latentdb export --format npz -o dataset/
  latentdb export --format wds -o train.tar
  latentdb export --format wds --shard-records 10000 -o train.tar   # train-000000.tar, ...")]
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
    /// The file to write, or the folder; `-` for stdout [default: stdout, where it is one file]
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    output: Option<PathBuf>,
    /// Write shards of so many records each, numbered before the ending of -o (with --format wds)
    #[arg(long, value_name = "N")]
    shard_records: Option<NonZero<u64>>,
}

/// What records are written as.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// One tar with all that is known of the records
    Archive,
    /// A folder of safetensors files
    Safetensors,
    /// A folder of npy files, which hold the values alone
    Npy,
    /// A folder of npz files as kohya's sd-scripts cache them
    Npz,
    /// A WebDataset shard, or several
    Wds,
}

pub(crate) fn run(context: &Context, command: &Export) -> Result<(), Failure> {
    if command.shard_records.is_some() && command.format != Format::Wds {
        return Err(Failure::Usage("only --format wds has shards".into()));
    }
    let (count, result) = with_count("exporting", |count| {
        let result = match command.format {
            Format::Archive => archive(context, command, count),
            Format::Safetensors => files(context, command, LatentFormat::Safetensors, count),
            Format::Npy => files(context, command, LatentFormat::Npy, count),
            Format::Npz => files(context, command, LatentFormat::Npz, count),
            Format::Wds => shards(context, command, count),
        };
        (count.load(Ordering::Relaxed), result)
    });
    if matches!(result, Ok(()) | Err(Failure::Silent(_))) {
        context.say(|| format!("exported {}", output::count(count, "record")));
    }
    result
}

fn archive(context: &Context, command: &Export, count: &AtomicU64) -> Result<(), Failure> {
    let target = Target::new(command.output.as_deref());
    target.check_terminal("an archive")?;
    let database = context.open_read_only()?;
    let records = database.store().records(&command.prefix);
    let records = records.inspect(|_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    target.stream(|out| write_archive(records, out))?;
    Ok(())
}

fn files(
    context: &Context,
    command: &Export,
    format: LatentFormat,
    count: &AtomicU64,
) -> Result<(), Failure> {
    let folder = named(command, "a folder")?;
    let database = context.open_read_only()?;
    let mut told = Told::default();
    let tell = &mut |done| told.tell(done, count);
    let result = database.export_files(&command.prefix, format, folder, tell);
    let ended = told.end("record");
    result?;
    ended
}

fn shards(context: &Context, command: &Export, count: &AtomicU64) -> Result<(), Failure> {
    let mut told = Told::default();
    let mut tell = |done| told.tell(done, count);
    let result = if let Some(records) = command.shard_records {
        let path = named(command, "a file")?;
        let database = context.open_read_only()?;
        let shards = database.export_shards(&command.prefix, path, records, &mut tell);
        shards
            .map(|shards| context.say(|| format!("wrote {}", output::count(shards, "shard"))))
            .map_err(Failure::from)
    } else {
        let target = Target::new(command.output.as_deref());
        target.check_terminal("a shard")?;
        let database = context.open_read_only()?;
        target.stream(|out| database.export_shard(&command.prefix, out, &mut tell))
    };
    let ended = told.end("record");
    result?;
    ended
}

/// What -o names, which can't be stdout.
fn named<'a>(command: &'a Export, what: &str) -> Result<&'a Path, Failure> {
    match Target::new(command.output.as_deref()) {
        Target::File(path) => Ok(path),
        Target::Stdout => Err(Failure::Usage(format!(
            "more than one file can't go to stdout\nhint: name {what} with -o"
        ))),
    }
}
