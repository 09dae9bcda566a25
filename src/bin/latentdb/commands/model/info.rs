//! `latentdb model info`: all that is known of a model, and the state of its files.

use latentdb::{FileState, ModelFile, ModelSpec};
use serde_json::json;

use super::cost;
use crate::context::Context;
use crate::output::{self, bytes};
use crate::progress::with_spinner;
use crate::report::Failure;

/// Show what is known of a model
///
/// Every file is read and compared with the manifest's SHA-256. With --json one object: the
/// manifest, and states (file name to state).
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb model info sd")]
pub(crate) struct Info {
    /// The model's name
    name: String,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Info) -> Result<(), Failure> {
    let model = context.hub.model(&command.name)?;
    let states = states(context, model)?;
    if command.json {
        let mut value = json!(model);
        let states = states
            .iter()
            .map(|(file, state)| (file.name.clone(), json!(state.to_string())));
        value["states"] = json!(states.collect::<serde_json::Map<_, _>>());
        return output::line(&value.to_string());
    }
    let mut lines = vec![
        ("name", model.name.clone()),
        ("family", model.family.clone()),
        ("space", model.latent_space.clone()),
        (
            "latent",
            format!(
                "{} channels, f{}, scaling {}, shift {}",
                model.latent_channels,
                model.spatial_compression_ratio,
                model.scaling_factor,
                model.shift_factor
            ),
        ),
    ];
    if let Some(fingerprint) = &model.fingerprint {
        lines.push(("print", fingerprint.clone()));
    }
    for (name, half) in [("encoder", &model.encoder), ("decoder", &model.decoder)] {
        let cost = half.as_ref().map_or_else(|| "none".to_owned(), cost);
        lines.push((name, cost));
    }
    lines.push(("licence", model.license.clone()));
    lines.push(("source", model.source.clone()));
    for (name, value) in lines {
        output::line(&format!("{name:<9}{value}"))?;
    }
    for (file, state) in &states {
        output::line(&format!(
            "file     {}, {}: {state}",
            file.name,
            bytes(file.bytes)
        ))?;
    }
    Ok(())
}

/// The model's files, each with its state.
pub(super) fn states(
    context: &Context,
    model: &ModelSpec,
) -> Result<Vec<(ModelFile, FileState)>, Failure> {
    if model.is_built_in() {
        let intact = |file: &ModelFile| (file.clone(), FileState::Intact);
        return Ok(model.files.iter().map(intact).collect());
    }
    let models = context.models()?;
    Ok(with_spinner("reading the model", || models.verify(model)))
}
