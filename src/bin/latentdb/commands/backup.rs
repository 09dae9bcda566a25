//! `latentdb backup`: a copy of the store, also while another process writes to it.

use std::path::PathBuf;

use clap::ValueHint;
use latentdb::Store;
use latentdb::backend::Step;
use serde_json::json;

use crate::context::{Context, with_hint};
use crate::output::{self, bytes, count};
use crate::progress::Bytes;
use crate::report::Failure;

/// Copy the store, also while it is written to
///
/// The copy holds every record that was acknowledged when the command began; every checksum of it is
/// read before it is said to be done. It is a store: `latentdb --db DEST ls` reads it. Ends with exit
/// code 3 if the copy is damaged because the store is; the copy is kept then. With --json one object:
/// dest, segments_copied, bytes_copied, verification (the object of verify, about the copy).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  latentdb backup /mnt/backup/photos\n  latentdb --db /mnt/backup/photos stats"
)]
pub(crate) struct Backup {
    /// The folder to copy it to; must not exist or be empty
    #[arg(value_hint = ValueHint::DirPath)]
    dest: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Backup) -> Result<(), Failure> {
    let path = context.db_path()?;
    let mut bar = Bytes::new();
    let backup = Store::backup(&path, &command.dest, &mut |step, done, total| {
        let doing = match step {
            Step::Checking => "checking the copy",
            _ => "copying",
        };
        bar.show(doing, done, total);
    })
    .map_err(with_hint)?;
    drop(bar);
    let verification = &backup.verification;
    if command.json {
        let value = json!({
            "dest": command.dest.to_string_lossy(),
            "segments_copied": backup.segments,
            "bytes_copied": backup.bytes,
            "verification": output::verification_json(&command.dest, verification),
        });
        output::line(&value.to_string())?;
    } else {
        for note in &verification.notes {
            eprintln!("note: {note}");
        }
        for finding in &verification.findings {
            output::line(&finding.to_string())?;
        }
        let damaged = match verification.damaged_records {
            0 => String::new(),
            damaged => format!(", {damaged} of them damaged"),
        };
        output::line(&format!(
            "copied {}{damaged} in {}, {}, to {}",
            count(verification.records, "record"),
            count(backup.segments, "segment"),
            bytes(backup.bytes),
            command.dest.display()
        ))?;
    }
    if verification.is_sound() {
        return Ok(());
    }
    eprintln!("hint: the copy is kept; latentdb repair makes a new store of what is whole");
    Err(Failure::Silent(3))
}
