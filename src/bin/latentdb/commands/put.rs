//! `latentdb put`: an image, or a latent made elsewhere, goes into the store.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueHint;
use latentdb::{Error, ErrorKind, LatentImport, RecordId, Stored, read_image, read_latent};

use crate::args::parse_id;
use crate::context::{Context, file_name};
use crate::image_args::{ImageArgs, PromiseArgs, TagArgs, parse_size, with_limit_hint};
use crate::output;
use crate::progress::with_spinner;
use crate::report::Failure;

/// Store an image under an id
///
/// The image is encoded, and its latent kept; when the command ends, the record is durable. The
/// store is made if it isn't there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb put cat cat.jpg
  latentdb put cat cat.jpg --replace --resize 512x512 --center-crop
  latentdb put cat cat.jpg --tag album=pets --tag stars=5
  latentdb put cat cat.jpg --coding q6
  latentdb put cat cat.jpg --min-psnr 28 --below keep-original
  curl -s https://example.org/cat.jpg | latentdb put cat -
  latentdb put cat --latent cat.safetensors
  latentdb put cat --latent cat.npy --latent-space sd-v1 --size 768x512")]
pub(crate) struct Put {
    /// The record's id: 1 to 512 bytes of UTF-8 without control characters
    #[arg(value_parser = parse_id)]
    id: RecordId,
    /// The image file; `-` for stdin
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "latent")]
    file: Option<PathBuf>,
    /// Replace the record if there is one
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    promise: PromiseArgs,
    #[command(flatten)]
    tags: TagArgs,
    /// Store this latent (.safetensors, .npy or .npz) instead of an image; needs no model
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["file", "encoder", "resize", "keep_gps", "measure", "min_psnr", "min_ssim", "psnr_loss"])]
    latent: Option<PathBuf>,
    /// The latent space of --latent, where the file doesn't say: sd-v1, sdxl, tiny-2, ...
    #[arg(long, value_name = "NAME", requires = "latent")]
    latent_space: Option<String>,
    /// Width and height in pixels of the image behind --latent, where the file doesn't say
    #[arg(long, value_name = "WxH", value_parser = parse_size, requires = "latent")]
    size: Option<(u32, u32)>,
    /// --latent is scaled for a diffusion model; undo that with the factors of its latent space
    #[arg(long, requires = "latent")]
    scaled: bool,
}

pub(crate) fn run(context: &Context, command: &Put) -> Result<(), Failure> {
    let stored = match (&command.latent, &command.file) {
        (Some(latent), _) => put_latent(context, command, latent)?,
        (None, Some(file)) => put_image(context, command, file)?,
        (None, None) => unreachable!("clap asks for one of the two"),
    };
    for note in &stored.notes {
        eprintln!("note: {note}");
    }
    let header = &stored.entry.header;
    context.say(|| {
        let made = header.encoder.as_ref();
        format!(
            "stored `{}`: {}x{}, {} ({:.3} bits per pixel){}{}",
            header.id,
            header.width,
            header.height,
            output::bytes(stored.entry.stored_bytes),
            stored.entry.bits_per_pixel(),
            made.map(|e| format!(", encoded by {e} in {}", e.computed))
                .unwrap_or_default(),
            header
                .measured
                .as_ref()
                .map(|measured| format!(", measured {}", output::quality(&measured.quality)))
                .unwrap_or_default(),
        )
    });
    Ok(())
}

fn put_image(context: &Context, command: &Put, file: &Path) -> Result<Stored, Failure> {
    let promise = command.promise.promise()?;
    let options = (command.image).options(command.replace, command.tags.tags()?, promise);
    let (bytes, name) = if file == Path::new("-") {
        (read_stdin()?, "stdin".to_owned())
    } else {
        (latentdb::read_file(file)?, file_name(file))
    };
    // What can fail without a store fails before one is made.
    if let Some(encoder) = &options.encoder {
        context.hub.encoder(encoder)?;
    }
    let image = with_spinner("reading", || read_image(&bytes, &name, &options.limits));
    let image = image.map_err(with_limit_hint)?;
    context.hub.runtime()?;
    let database = context.open_or_create()?;
    let stored = with_spinner("encoding", || {
        database.put_read(command.id.as_str(), image, (&bytes, &name), &options)
    })?;
    Ok(stored)
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|e| Error::new(ErrorKind::Io, "can't read stdin").with_source(e))?;
    Ok(bytes)
}

fn put_latent(context: &Context, command: &Put, file: &Path) -> Result<Stored, Failure> {
    let (bytes, name) = (latentdb::read_file(file)?, file_name(file));
    let said = read_latent(&bytes, &name)?;
    let needed = |what: &str, flag: &str| {
        Failure::Usage(format!(
            "{name} doesn't say {what}\nhint: say it with {flag}"
        ))
    };
    if command.latent_space.is_none() && said.latent_space.is_none() {
        return Err(needed("its latent space", "--latent-space NAME"));
    }
    if command.size.is_none() && said.size.is_none() {
        return Err(needed("the size of its image", "--size WxH"));
    }
    let options = LatentImport {
        latent_space: command.latent_space.clone(),
        size: command.size,
        scaled: command.scaled,
        replace: command.replace,
        coding: command.image.coding.coding(),
        ..LatentImport::default()
    };
    let tags = command.tags.tags()?;
    let database = context.open_or_create()?;
    Ok(database.put_latent_file(command.id.as_str(), &bytes, &name, &options, tags)?)
}
