//! `latentdb get`: a record comes back as an image, or as the latent itself.

use std::path::{Path, PathBuf};

use clap::ValueHint;
use latentdb::{Database, ImageFormat, LatentFormat, RecordId, write_image, write_latent};

use crate::args::parse_id;
use crate::context::Context;
use crate::output::Target;
use crate::progress::with_spinner;
use crate::report::Failure;

/// Get an image back
///
/// The record is decoded to an image of exactly its own size, in the format of the output's ending.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb get cat -o cat.png
  latentdb get cat | display
  latentdb get cat --format webp -o - > cat.webp
  latentdb get cat --latent -o cat.safetensors")]
pub(crate) struct Get {
    /// The record's id
    #[arg(value_parser = parse_id)]
    id: RecordId,
    /// The decoder [default: the model that encoded the record]
    #[arg(long, value_name = "NAME", conflicts_with = "latent")]
    decoder: Option<String>,
    /// The file to write; `-` for stdout [default: stdout]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// The format [default: by the file's ending; png, or safetensors with --latent]
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// Hand out the latent itself (.safetensors or .npy, unscaled); needs no model
    #[arg(long)]
    latent: bool,
}

pub(crate) fn run(context: &Context, command: &Get) -> Result<(), Failure> {
    let output = command.output.as_deref();
    let target = Target::new(output);
    // Arguments are checked before any work is done for them.
    if command.latent {
        let format = format(command, LatentFormat::Safetensors, LatentFormat::from_path)?;
        target.check_terminal("a latent")?;
        let database = context.open_read_only()?;
        let record = database.store().get(&command.id)?;
        if record.header.alpha && format == LatentFormat::Npy {
            eprintln!("note: the image's alpha is not in a .npy file; a .safetensors file has it");
        }
        return target.write(&write_latent(&record.into(), format)?);
    }
    let format = format(command, ImageFormat::Png, ImageFormat::from_path)?;
    target.check_terminal("an image")?;
    let database = context.open_read_only()?;
    if let Some(decoder) = &command.decoder {
        context.hub.model(decoder)?;
    }
    let bytes = with_spinner("decoding", || decode(context, command, &database, format))?;
    target.write(&bytes)
}

fn decode(
    context: &Context,
    command: &Get,
    database: &Database,
    format: ImageFormat,
) -> latentdb::Result<Vec<u8>> {
    let decoded = database.get(command.id.as_str(), command.decoder.as_deref())?;
    for note in &decoded.notes {
        eprintln!("note: {note}");
    }
    context.say(|| {
        format!(
            "decoded `{}` by {} in {} {}",
            command.id, decoded.decoder, decoded.precision, decoded.provider
        )
    });
    write_image(&decoded.pixels, format)
}

/// `--format`, or the output's ending, or `default` on stdout. A bad one is a usage error.
fn format<F: std::str::FromStr<Err = latentdb::Error>>(
    command: &Get,
    default: F,
    from_path: impl Fn(&Path) -> latentdb::Result<F>,
) -> Result<F, Failure> {
    let format = match (&command.format, Target::new(command.output.as_deref())) {
        (Some(name), _) => name.parse(),
        (None, Target::File(path)) => from_path(path),
        (None, Target::Stdout) => Ok(default),
    };
    format.map_err(|e| Failure::Usage(e.to_string()))
}
