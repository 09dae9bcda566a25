//! `latentdb import`: the records of an archive come into the store.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueHint;
use latentdb::backend::Mode;
use latentdb::{ArchiveReader, Error, ErrorKind, Record, Store};

use crate::context::{Context, file_name};
use crate::output;
use crate::progress::with_count;
use crate::report::Failure;

/// Take in the records of an archive
///
/// An archive is what export writes. The records are kept as they were, 64 at a time: after an error
/// those that are said to be imported are in the store, durably, and none after them. The store is
/// made if it isn't there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb import records.tar
  latentdb import records.tar --replace
  zstd -dc records.tar.zst | latentdb import -")]
pub(crate) struct Import {
    /// The archive; `-` for stdin
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Replace records that are there
    #[arg(long)]
    replace: bool,
}

/// Records are made durable in batches of so many, or as soon as their values take so many bytes.
const BATCH_RECORDS: usize = 64;
const BATCH_BYTES: u64 = 64 << 20;

const INPUT_BUFFER: usize = 1 << 20;

pub(crate) fn run(context: &Context, command: &Import) -> Result<(), Failure> {
    let (input, name): (Box<dyn Read>, _) = if command.file == Path::new("-") {
        (Box::new(std::io::stdin().lock()), "stdin".to_owned())
    } else {
        (Box::new(open(&command.file)?), file_name(&command.file))
    };
    let input = BufReader::with_capacity(INPUT_BUFFER, input);
    let mut records = ArchiveReader::new(input).peekable();
    // What can fail without a store fails before one is made.
    if let Some(Err(error)) = records.next_if(Result::is_err) {
        return Err(stopped(&name, 0, error));
    }
    let database = context.open_or_create()?;
    let mode = if command.replace {
        Mode::Replace
    } else {
        Mode::Create
    };
    let (imported, result) = with_count("importing", |imported| {
        let result = import(database.store(), records, mode, imported);
        (imported.load(Ordering::Relaxed), result)
    });
    result.map_err(|error| stopped(&name, imported, error))?;
    eprintln!("imported {}", output::count(imported, "record"));
    Ok(())
}

fn open(path: &Path) -> latentdb::Result<File> {
    File::open(path).map_err(|e| {
        Error::new(ErrorKind::Io, format!("can't open {}", path.display())).with_source(e)
    })
}

/// Puts `records` into the store and counts those that are durable.
fn import(
    store: &Store,
    records: impl Iterator<Item = latentdb::Result<Record>>,
    mode: Mode,
    imported: &AtomicU64,
) -> latentdb::Result<()> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    for record in records {
        let record = record?;
        bytes += record.header.shape.byte_len();
        batch.push(record);
        if batch.len() == BATCH_RECORDS || bytes >= BATCH_BYTES {
            store.put(&batch, mode)?;
            imported.fetch_add(batch.len() as u64, Ordering::Relaxed);
            batch.clear();
            bytes = 0;
        }
    }
    store.put(&batch, mode)?;
    imported.fetch_add(batch.len() as u64, Ordering::Relaxed);
    Ok(())
}

/// The error that ended the import of `name`, and what is in the store nevertheless.
fn stopped(name: &str, imported: u64, error: Error) -> Failure {
    let message = if imported == 0 {
        format!("can't import {name}")
    } else {
        let records = output::count(imported, "record");
        format!("the import of {name} stopped after {records}, which are in the store")
    };
    let hint = match (error.hint(), error.kind()) {
        (Some(hint), _) => Some(hint.to_owned()),
        (None, ErrorKind::AlreadyExists) => Some("import --replace replaces records".to_owned()),
        _ => None,
    };
    let failure = Error::new(error.kind(), message).with_source(error);
    Failure::Error(match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    })
}
