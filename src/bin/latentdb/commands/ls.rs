//! `latentdb ls`: the ids, one a line.

use latentdb::EncoderStamp;

use crate::context::Context;
use crate::output;
use crate::report::Failure;

/// List the ids of records
///
/// One id a line, in bytewise order, without a header and without a limit. With --json one object
/// a line: id, width, height, latent_shape, latent_space, encoder, fingerprint, coding,
/// bytes_stored, bits_per_pixel, source_bytes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  latentdb ls\n  latentdb ls photos/2026/ --json | head -1\n  latentdb ls --encoder 5a7e48d47891"
)]
pub(crate) struct Ls {
    /// Only ids that begin with this
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Only what this encoder wrote: its name, or the first digits of its fingerprint (6 or more)
    #[arg(long, value_name = "NAME|FINGERPRINT")]
    encoder: Option<String>,
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
