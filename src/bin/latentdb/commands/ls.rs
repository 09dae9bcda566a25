//! `latentdb ls`: the ids, one a line.

use crate::context::Context;
use crate::output;
use crate::report::Failure;

/// List the ids of records
///
/// One id a line, in bytewise order, without a header and without a limit. With --json one object
/// a line: id, width, height, latent_shape, latent_space, encoder, fingerprint, coding,
/// bytes_stored, bits_per_pixel, source_bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  latentdb ls\n  latentdb ls photos/2026/ --json | head -1")]
pub(crate) struct Ls {
    /// Only ids that begin with this
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Ls) -> Result<(), Failure> {
    let database = context.open_read_only()?;
    for entry in database.store().entries(&command.prefix) {
        let entry = entry?;
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
