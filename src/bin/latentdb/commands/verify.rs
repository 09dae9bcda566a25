//! `latentdb verify`: every checksum of the store is read, and nothing is changed.

use latentdb::Store;
use serde_json::json;

use crate::context::Context;
use crate::output;
use crate::progress::Bytes;
use crate::report::Failure;

/// Look for damage in the store, without changing it
///
/// Reads every frame and every checksum, also where the store can't be opened and while another
/// process writes to it. Says of each damaged place which file and bytes it is, which records it
/// touches, and whether each is live (what get would answer with) or superseded (replaced or deleted
/// since). Ends with exit code 3 if anything is damaged. With --json one object: path, sound, deep,
/// segments, frames, records, damaged_records, bytes, findings (each with damage, file, bytes, records
/// (each with id, operation, standing), unnamed_operations, what), notes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  latentdb verify\n  latentdb verify --deep --json")]
pub(crate) struct Verify {
    /// Decompress every record, and compare it with the id and the facts it is listed by
    #[arg(long)]
    deep: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Verify) -> Result<(), Failure> {
    let path = context.db_path()?;
    let mut bar = Bytes::new();
    let verification = Store::verify(&path, command.deep, &mut |done, total| {
        bar.show("reading", done, total);
    })?;
    drop(bar);
    if command.json {
        let mut value = output::verification_json(&path, &verification);
        value["deep"] = json!(command.deep);
        output::line(&value.to_string())?;
    } else {
        for note in &verification.notes {
            eprintln!("note: {note}");
        }
        output::verification(&verification)?;
        if !verification.is_sound() {
            eprintln!("hint: latentdb repair makes a new store of what is whole");
        }
    }
    if verification.is_sound() {
        Ok(())
    } else {
        Err(Failure::Silent(3))
    }
}
