//! `latentdb get`: a record comes back as an image, or as the latent itself.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::ValueHint;
use latentdb::{
    Database, DecodeOptions, Error, Image, ImageExport, ImageFormat, LatentFormat, RecordId,
    WriteOptions, write_image, write_latent,
};

use crate::args::parse_id;
use crate::context::Context;
use crate::exchange_told::Told;
use crate::interrupt;
use crate::output::{self, Target};
use crate::progress::{with_count, with_spinner};
use crate::report::Failure;

/// Get an image back
///
/// The record is decoded to an image of exactly its own size, in the format of the output's ending.
/// With --prefix all records whose ids begin so become files in a folder, called as their ids with the
/// format's ending; failures are listed at the end, and the exit code is 3.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb get cat -o cat.png
  latentdb get cat | display
  latentdb get cat --format webp -o - > cat.webp
  latentdb get cat -o cat.avif --quality 70
  latentdb get cat -o cat.png --decoder consistency --seed 7
  latentdb get logo -o logo.jpg --background 202020
  latentdb get --prefix photos/2026/ -o album/ --format jpeg
  latentdb get cat --latent -o cat.safetensors")]
pub(crate) struct Get {
    /// The record's id
    #[arg(value_parser = parse_id, required_unless_present = "prefix")]
    id: Option<RecordId>,
    /// Get all records whose ids begin with this; all of the store with ''
    #[arg(long, value_name = "PREFIX", requires = "output", conflicts_with_all = ["id", "latent"])]
    prefix: Option<String>,
    /// The decoder [default: the model that encoded the record]
    #[arg(long, value_name = "NAME", conflicts_with = "latent")]
    decoder: Option<String>,
    /// How often a decoder that samples runs its network, from 1 to 64 [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64), conflicts_with = "latent")]
    steps: Option<u32>,
    /// What a decoder that samples makes its noise from; the same seed gives the same image [default: the id]
    #[arg(long, value_name = "TEXT", conflicts_with = "latent")]
    seed: Option<String>,
    /// The file to write; `-` for stdout; with --prefix the folder [default: stdout]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    output: Option<PathBuf>,
    /// The format [default: by the file's ending; png, or safetensors with --latent]
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// How good a jpeg, webp or avif is, from 1 to 100 [default: 90 for jpeg, 85 for avif; webp is lossless]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100), conflicts_with = "latent")]
    quality: Option<u8>,
    /// What transparent pixels are laid over where the format has no transparency: RRGGBB, white or black
    #[arg(long, value_name = "COLOR", default_value = "white", value_parser = parse_color, conflicts_with = "latent")]
    background: [u8; 3],
    /// Hand out the latent itself (.safetensors, .npy or .npz, unscaled but for npz of flux1); needs no model
    #[arg(long)]
    latent: bool,
}

pub(crate) fn run(context: &Context, command: &Get) -> Result<(), Failure> {
    match (&command.id, &command.prefix) {
        (Some(id), _) => one(context, command, id),
        (None, Some(prefix)) => many(context, command, prefix),
        (None, None) => unreachable!("clap asks for one of the two"),
    }
}

impl Get {
    /// How records are decoded. Steps or a seed for a named decoder that has neither are a usage error.
    fn decode_options(&self, context: &Context) -> Result<DecodeOptions, Failure> {
        if let Some(name) = &self.decoder {
            let model = context.hub.model(name)?;
            let half = model.decoder.as_ref();
            let samples = half.is_none_or(|half| half.sampler.is_some());
            if !samples && (self.steps.is_some() || self.seed.is_some()) {
                let what = format!(
                    "--steps and --seed are for decoders that sample, and `{name}` doesn't"
                );
                return Err(Failure::Usage(what));
            }
        }
        Ok(DecodeOptions {
            decoder: self.decoder.clone(),
            steps: self.steps,
            seed: self.seed.clone(),
            ..DecodeOptions::default()
        })
    }

    /// How images are written. What can't be is a usage error.
    fn write_options(&self, format: ImageFormat) -> Result<WriteOptions, Failure> {
        let options = WriteOptions {
            quality: self.quality,
            background: self.background,
        };
        let checked = options.check(format);
        checked.map_err(|e| Failure::Usage(e.to_string()))?;
        Ok(options)
    }
}

fn one(context: &Context, command: &Get, id: &RecordId) -> Result<(), Failure> {
    let target = Target::new(command.output.as_deref());
    // Arguments are checked before any work is done for them.
    if command.latent {
        let format = format(command, LatentFormat::Safetensors, LatentFormat::from_path)?;
        target.check_terminal("a latent")?;
        let database = context.open_read_only()?;
        let record = database.store().get(id)?;
        if record.header.alpha && format == LatentFormat::Npy {
            eprintln!("note: the image's alpha is not in a .npy file; a .safetensors file has it");
        }
        return target.write(&write_latent(&record.into(), format)?);
    }
    let format = format(command, ImageFormat::Png, ImageFormat::from_path)?;
    let options = command.write_options(format)?;
    target.check_terminal("an image")?;
    let database = context.open_read_only()?;
    let decode_options = command.decode_options(context)?;
    let bytes = with_spinner("decoding", || {
        let decoded = decode(context, &decode_options, &database, id)?;
        write_image(&decoded.pixels, format, &options)
    })?;
    target.write(&bytes)
}

fn many(context: &Context, command: &Get, prefix: &str) -> Result<(), Failure> {
    let Some(folder) = command
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"))
    else {
        return Err(Failure::Usage(
            "--prefix needs a folder: name it with -o".to_owned(),
        ));
    };
    let format = match &command.format {
        Some(name) => name
            .parse()
            .map_err(|e: Error| Failure::Usage(e.to_string()))?,
        None => ImageFormat::Png,
    };
    let write = command.write_options(format)?;
    let database = context.open_read_only()?;
    let options = ImageExport {
        decode: command.decode_options(context)?,
        format,
        write,
    };
    let stop = interrupt::watch()?;
    let mut told = Told::default();
    let (written, result) = with_count("decoding", |written| {
        let each = &mut |done| told.tell(done, written);
        let result = database.export_images(prefix, folder, &options, stop, each);
        (written.load(Ordering::Relaxed), result)
    });
    let ended = told.end("record");
    result?;
    context.say(|| format!("wrote {}", output::count(written, "image")));
    ended?;
    if stop.load(Ordering::Relaxed) {
        return Err(Failure::Silent(interrupt::EXIT_CODE));
    }
    Ok(())
}

fn decode(
    context: &Context,
    options: &DecodeOptions,
    database: &Database,
    id: &RecordId,
) -> latentdb::Result<Image> {
    let record = database.store().get(id)?;
    let decoded = database.decode(&record, options)?;
    for note in &decoded.notes {
        eprintln!("note: {note}");
    }
    context.say(|| match &decoded.decoder {
        Some(name) => format!("decoded `{id}` by {name} in {}", decoded.computed),
        None => format!("read the original of `{id}`, which is kept beside its latent"),
    });
    Ok(decoded)
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

/// A colour as RRGGBB in hexadecimal digits, or by name.
fn parse_color(text: &str) -> Result<[u8; 3], String> {
    let digits = match text {
        "white" => "ffffff",
        "black" => "000000",
        digits => digits.strip_prefix('#').unwrap_or(digits),
    };
    let right = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    match u32::from_str_radix(digits, 16) {
        Ok(number) if right => {
            let [_, rgb @ ..] = number.to_be_bytes();
            Ok(rgb)
        }
        _ => Err("a colour is RRGGBB in hexadecimal digits, white or black".to_owned()),
    }
}
