//! `latentdb stats`: what the store holds in all.

use serde_json::json;

use crate::context::Context;
use crate::output::{self, bytes};
use crate::progress::with_spinner;
use crate::report::Failure;

/// Show what the store holds in all
///
/// With --json one object: records, pixels, rgb_bytes, latent_bytes, source_bytes, stored_bytes,
/// disk_bytes, encoders, latent_spaces, path.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb stats")]
pub(crate) struct Stats {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Stats) -> Result<(), Failure> {
    let database = context.open_read_only()?;
    let stats = with_spinner("counting", || database.store().stats())?;
    let path = context.db_path()?;
    if command.json {
        let mut value = json!(stats);
        value["path"] = json!(path.to_string_lossy());
        return output::line(&value.to_string());
    }
    let less = |whole, of: &str| {
        let ratio = output::ratio(whole, stats.stored_bytes);
        ratio
            .map(|r| format!(", {r:.1} x less than {of}"))
            .unwrap_or_default()
    };
    output::line(&format!("store    {}", path.display()))?;
    output::line(&format!("records  {}", stats.records))?;
    output::line(&format!(
        "stored   {}{}",
        bytes(stats.stored_bytes),
        less(
            stats.rgb_bytes,
            &format!("{} of raw RGB", bytes(stats.rgb_bytes))
        )
    ))?;
    if stats.source_bytes > 0 {
        let of = format!("{} of source files", bytes(stats.source_bytes));
        output::line(&format!(
            "sources  {}",
            less(stats.source_bytes, &of).trim_start_matches(", ")
        ))?;
    }
    output::line(&format!("on disk  {}", bytes(stats.disk_bytes)))?;
    for (name, count) in &stats.encoders {
        output::line(&format!("encoder  {name}: {count}"))?;
    }
    for (name, count) in &stats.latent_spaces {
        output::line(&format!("space    {name}: {count}"))?;
    }
    Ok(())
}
