//! `latentdb compact`: the space of what was replaced and removed comes back.

use serde_json::json;

use crate::context::Context;
use crate::output::{self, bytes};
use crate::progress::with_share;
use crate::report::Failure;

/// Give back the space of what was replaced and removed
///
/// Files in which a twentieth or more is no longer needed are written anew without it. Reading goes
/// on meanwhile; stopped at any point, nothing is lost. Writing does a part of this by itself where
/// more than half of the store is no longer needed, unless --no-auto-compact is given. With --json
/// one object: files, bytes_before, bytes_after, disk_bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb compact")]
pub(crate) struct Compact {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Compact) -> Result<(), Failure> {
    let database = context.open()?;
    let store = database.store();
    let done = with_share("compacting", |share| {
        store.compact(&mut |done, total| share.set(done, total))
    })?;
    let disk_bytes = store.disk_bytes()?;
    if command.json {
        let value = json!({
            "files": done.files,
            "bytes_before": done.bytes_before,
            "bytes_after": done.bytes_after,
            "disk_bytes": disk_bytes,
        });
        return output::line(&value.to_string());
    }
    if done.files == 0 {
        return output::line(&format!(
            "nothing to give back: {} on disk",
            bytes(disk_bytes)
        ));
    }
    output::line(&format!(
        "gave back {}: {} of {} became {}; {} on disk",
        bytes(done.bytes_before.saturating_sub(done.bytes_after)),
        output::count(done.files, "file"),
        bytes(done.bytes_before),
        bytes(done.bytes_after),
        bytes(disk_bytes)
    ))
}
