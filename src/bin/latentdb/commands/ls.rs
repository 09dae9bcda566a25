//! `latentdb ls`: the ids, one a line.

use std::borrow::Cow;

use latentdb::{EncoderStamp, ErrorKind, RecordHeader};

use crate::context::Context;
use crate::image_args::parse_tag;
use crate::output;
use crate::report::Failure;

/// List the ids of records
///
/// One id a line, in bytewise order, without a header and without a limit. With --json one object
/// a line: id, width, height, alpha, latent_shape, latent_space, encoder, fingerprint, coding,
/// bytes_stored, bits_per_pixel, source_bytes, original (whether its file is kept beside the latent),
/// quality (null, or psnr, ssim, ms_ssim, ssimulacra2, identical).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  latentdb ls\n  latentdb ls photos/2026/ --json | head -1\n  latentdb ls --encoder 38ec00c4ae60\n  latentdb ls --where album=pets --where 'exif.taken=2026-11-*'"
)]
pub(crate) struct Ls {
    /// Only ids that begin with this
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only what this encoder wrote: its name, or the first digits of its fingerprint (6 or more)
    #[arg(long, value_name = "NAME|FINGERPRINT")]
    encoder: Option<String>,
    /// Only what has this tag; may be given several times, and then all must be there. Beside tags of your own:
    /// exif.taken, exif.camera, source.name, source.format, source.blake3. A value that ends in `*` is a prefix
    #[arg(long = "where", value_name = "KEY=VALUE", value_parser = parse_tag)]
    conditions: Vec<(String, String)>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Ls) -> Result<(), Failure> {
    let database = context.open_read_only()?;
    for entry in database.store().entries(&command.prefix) {
        let entry = entry?;
        let encoder = entry.header.encoder.as_ref();
        if let Some(wanted) = &command.encoder
            && !encoder.is_some_and(|encoder| is(encoder, wanted))
        {
            continue;
        }
        // Listings don't know tags: the record's header does.
        if !command.conditions.is_empty() {
            let header = match database.store().header(&entry.header.id) {
                // Removed since it was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other?.header,
            };
            let fits = |(key, value): &(String, String)| {
                value_of(&header, key).is_some_and(|found| matches(&found, value))
            };
            if !command.conditions.iter().all(fits) {
                continue;
            }
        }
        if command.json {
            let bits = entry.bits_per_pixel();
            output::line(
                &output::header_json(&entry.header, entry.stored_bytes, bits).to_string(),
            )?;
        } else {
            output::line(entry.header.id.as_str())?;
        }
    }
    Ok(())
}

/// Whether `wanted` is the encoder's name or the beginning of its fingerprint.
fn is(encoder: &EncoderStamp, wanted: &str) -> bool {
    let begins = |fingerprint: [u8; 32]| {
        wanted.len() >= 6 && output::hex(&fingerprint).starts_with(&wanted.to_ascii_lowercase())
    };
    encoder.name == wanted || encoder.fingerprint.is_some_and(begins)
}

/// What a record's header says under `key`.
fn value_of<'a>(header: &'a RecordHeader, key: &str) -> Option<Cow<'a, str>> {
    let source = || header.source.as_ref();
    let value = match key {
        "exif.taken" => header.exif.taken.as_str().into(),
        "exif.camera" => header.exif.camera.as_str().into(),
        "source.name" => source()?.name.as_str().into(),
        "source.format" => source()?.format.as_str().into(),
        "source.blake3" => output::hex(&source()?.blake3).into(),
        _ => return header.tags.get(key).map(Cow::from),
    };
    Some(value).filter(|value: &Cow<str>| !value.is_empty())
}

/// Whether `found` is `wanted`, or begins with what stands before its final `*`.
fn matches(found: &str, wanted: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => found.starts_with(prefix),
        None => found == wanted,
    }
}
