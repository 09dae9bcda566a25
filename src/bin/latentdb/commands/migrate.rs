//! `latentdb migrate`: a store of an older format becomes one of the present format.

use latentdb::backend::LocalBackend;
use serde_json::json;

use crate::context::Context;
use crate::output;
use crate::report::Failure;

/// Bring a store of an older format to the present one
///
/// Step by step; stopped at any point, run it again. Each step says what it does and how to go back.
/// With --json one object: path, dry_run, steps (a list of from, to, what).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb migrate --dry-run")]
pub(crate) struct Migrate {
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Migrate) -> Result<(), Failure> {
    let path = context.db_path()?;
    let steps = LocalBackend::migrations(&path)?;
    let line = |step: &latentdb::backend::Migration| {
        format!("format {} to {}: {}", step.from, step.to, step.what)
    };
    if !command.json && steps.is_empty() {
        let path = path.display();
        return output::line(&format!(
            "{path} has the present format: nothing to be done"
        ));
    }
    if command.dry_run && !command.json {
        for step in &steps {
            output::line(&format!("would go from {}", line(step)))?;
        }
        return Ok(());
    }
    if !command.dry_run {
        let mut printed = Ok(());
        LocalBackend::migrate(&path, &mut |step| {
            if !command.json && printed.is_ok() {
                printed = output::line(&line(step));
            }
        })?;
        printed?;
    }
    if command.json {
        let step =
            |s: &latentdb::backend::Migration| json!({"from": s.from, "to": s.to, "what": s.what});
        let value = json!({
            "path": path.to_string_lossy(),
            "dry_run": command.dry_run,
            "steps": steps.iter().map(step).collect::<Vec<_>>(),
        });
        return output::line(&value.to_string());
    }
    Ok(())
}
