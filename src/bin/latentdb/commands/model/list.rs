//! `latentdb model list`: the models that are there, one a line.

use serde_json::json;

use super::halves;
use crate::context::Context;
use crate::output;
use crate::report::Failure;

/// Show the models that are there
///
/// One model a line: name, latent space, fingerprint of the encoder, halves. Models that can't be
/// used are listed on stderr with the reason. With --json one object: models (as in `model info`),
/// broken (name, error).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb model list")]
pub(crate) struct List {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &List) -> Result<(), Failure> {
    let (models, broken) = (context.hub.models(), context.hub.broken_models());
    if command.json {
        let broken = broken
            .iter()
            .map(|one| json!({"name": one.name, "error": format!("{:#}", one.error)}));
        let broken: Vec<_> = broken.collect();
        return output::line(&json!({"models": models, "broken": broken}).to_string());
    }
    let width = |of: &dyn Fn(usize) -> usize| (0..models.len()).map(of).max().unwrap_or(0);
    let name = width(&|n| models[n].name.len());
    let space = width(&|n| models[n].latent_space.len());
    for model in models {
        let digits = model.fingerprint.as_deref().map_or("-", |f| &f[..12]);
        output::line(&format!(
            "{:name$}  {:space$}  {digits:12}  {}",
            model.name,
            model.latent_space,
            halves(model)
        ))?;
    }
    for one in broken {
        eprintln!("note: {}: {:#}", one.name, one.error);
    }
    Ok(())
}
