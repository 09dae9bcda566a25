//! `latentdb import`: records come into the store from the files that export writes, and from those of trainers.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::ValueHint;
use latentdb::backend::Mode;
use latentdb::{
    ArchiveReader, Coding, Error, ErrorKind, Exchanged, LatentFormat, LatentImport, has_latents,
    is_shard,
};

use crate::context::{Context, file_name};
use crate::exchange_told::Told;
use crate::image_args::{parse_coding, parse_size};
use crate::output;
use crate::progress::with_count;
use crate::report::Failure;

/// Take in the records of an archive, or latents from the files of trainers
///
/// An archive is what export writes. The records are kept as they were, 64 at a time: after an error
/// those that are said to be imported are in the store, durably, and none after them. The store is
/// made if it isn't there.
///
/// Latents come from safetensors, npy and npz files (those of kohya's sd-scripts, too), single or in a
/// folder, and from a WebDataset shard. Ids are the paths below the folder without their endings, and
/// those that records had which export wrote. What can't be read is listed, and stops no other; the exit
/// code is 3 then.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb import records.tar
  latentdb import records.tar --replace
  zstd -dc records.tar.zst | latentdb import -
  latentdb import latents/
  latentdb import dataset/ --latent-space sdxl
  latentdb import train-000000.tar
  latentdb import others.tar --latent-space flux1 --scaled")]
pub(crate) struct Import {
    /// The archive, the shard, the latent file, or the folder of them; `-` for a tar from stdin
    #[arg(value_hint = ValueHint::AnyPath, value_name = "FILE")]
    file: PathBuf,
    /// Replace records that are there
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    latents: LatentArgs,
}

/// What isn't said in files of latents.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What latent files don't say")]
struct LatentArgs {
    /// The latent space: sd-v1, sdxl, sd3, flux1, tiny-2, ...
    #[arg(long, value_name = "NAME")]
    latent_space: Option<String>,
    /// Width and height in pixels of the image behind a single file
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    size: Option<(u32, u32)>,
    /// Pixels that a side of a latent's cell stands for, where no model of the latent space is known
    #[arg(long, value_name = "N")]
    compression_ratio: Option<NonZero<u32>>,
    /// Values are scaled for a diffusion model; undo that with the factors of the latent space
    #[arg(long)]
    scaled: bool,
    /// Keep them as fast or dense (without loss), or as q8, q6, q5 or q4 (rounded to so many bits) [default: fast]
    #[arg(long, value_name = "NAME", value_parser = parse_coding)]
    coding: Option<Coding>,
}

impl LatentArgs {
    /// Refuses what is said of one image where there are many.
    fn check_many(&self) -> Result<(), Failure> {
        if self.size.is_none() {
            return Ok(());
        }
        let message = "--size is of one image\nhint: --compression-ratio says it of many";
        Err(Failure::Usage(message.into()))
    }

    fn are_given(&self) -> bool {
        let Self {
            latent_space,
            size,
            compression_ratio,
            scaled,
            coding,
        } = self;
        let said = latent_space.is_some() || size.is_some() || compression_ratio.is_some();
        *scaled || said || coding.is_some()
    }
}

const INPUT_BUFFER: usize = 1 << 20;

/// What is looked at of a tar to tell what it is.
const BEGINNING: u64 = 64 << 10;

pub(crate) fn run(context: &Context, command: &Import) -> Result<(), Failure> {
    let path = &command.file;
    if path.is_dir() || LatentFormat::from_path(path).is_ok() {
        return files(context, command);
    }
    let (mut input, name): (Box<dyn Read + Send>, _) = if path == Path::new("-") {
        (Box::new(std::io::stdin()), "stdin".to_owned())
    } else {
        (Box::new(open(path)?), file_name(path))
    };
    let mut beginning = Vec::new();
    let read = input.by_ref().take(BEGINNING).read_to_end(&mut beginning);
    read.map_err(|e| Error::new(ErrorKind::Io, format!("can't read {name}")).with_source(e))?;
    let is_shard = is_shard(&beginning);
    let input = BufReader::with_capacity(INPUT_BUFFER, Cursor::new(beginning).chain(input));
    if is_shard {
        command.latents.check_many()?;
        return latents(context, command, &name, |database, options, each| {
            database.import_shard(input, options, each).map(|()| 0)
        });
    }
    if command.latents.are_given() {
        return Err(Failure::Usage(format!(
            "{name} is no shard of latents, and an archive says itself what its records are"
        )));
    }
    archive(context, command, input, &name)
}

fn files(context: &Context, command: &Import) -> Result<(), Failure> {
    let path = &command.file;
    // What can fail without a store fails before one is made.
    if path.is_dir() {
        command.latents.check_many()?;
    } else {
        open(path)?;
    }
    if !has_latents(path) {
        let message = format!("can't import {}: there is no latent in it", path.display());
        return Err(Error::new(ErrorKind::InvalidInput, message).into());
    }
    latents(
        context,
        command,
        &file_name(path),
        |database, options, each| database.import_files(path, options, each),
    )
}

/// Lets `import` take latents of `name` in, and tells what became of them. It returns how many files it passed over.
fn latents(
    context: &Context,
    command: &Import,
    name: &str,
    import: impl FnOnce(
        &latentdb::Database,
        &LatentImport,
        &mut dyn FnMut(Exchanged),
    ) -> latentdb::Result<u64>,
) -> Result<(), Failure> {
    let arguments = &command.latents;
    let options = LatentImport {
        latent_space: arguments.latent_space.clone(),
        size: arguments.size,
        compression_ratio: arguments.compression_ratio.map(NonZero::get),
        scaled: arguments.scaled,
        replace: command.replace,
        coding: arguments.coding.unwrap_or_default(),
    };
    let database = context.open_or_create()?;
    let mut told = Told::default();
    let (imported, ignored) = with_count("importing", |imported| {
        let result = import(&database, &options, &mut |done| told.tell(done, imported));
        (imported.load(Ordering::Relaxed), result)
    });
    let ended = told.end("latent");
    let ignored = ignored.map_err(|error| stopped(name, imported, error))?;
    eprintln!("imported {}", output::count(imported, "record"));
    if ignored > 0 {
        eprintln!("ignored {}", output::count(ignored, "other file"));
    }
    ended
}

fn archive(
    context: &Context,
    command: &Import,
    input: impl Read,
    name: &str,
) -> Result<(), Failure> {
    let mut records = ArchiveReader::new(input).peekable();
    // What can fail without a store fails before one is made.
    if let Some(Err(error)) = records.next_if(Result::is_err) {
        return Err(stopped(name, 0, error));
    }
    let database = context.open_or_create()?;
    let mode = if command.replace {
        Mode::Replace
    } else {
        Mode::Create
    };
    let (imported, result) = with_count("importing", |imported| {
        let durable = &mut |count| imported.store(count, Ordering::Relaxed);
        let result = database.store().put_all(records, mode, durable);
        (imported.load(Ordering::Relaxed), result)
    });
    result.map_err(|error| stopped(name, imported, error))?;
    eprintln!("imported {}", output::count(imported, "record"));
    Ok(())
}

fn open(path: &Path) -> latentdb::Result<File> {
    File::open(path).map_err(|e| {
        Error::new(ErrorKind::Io, format!("can't open {}", path.display())).with_source(e)
    })
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
