//! `latentdb model`: the models that are there, and new ones.

mod add;
mod import;
mod info;
mod list;
mod pull;
mod remove;
mod verify;

use clap::Subcommand;
use latentdb::{ModelHalf, ModelSpec};

use crate::context::Context;
use crate::output;
use crate::report::Failure;

/// Show, fetch, import, verify and remove models
///
/// A model is an encoder, a decoder or both. `tiny` is built in; others lie in a folder each, in
/// the folder that --models or LATENTDB_MODELS names.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb model pull sd
  latentdb model import ~/sd-vae-ft-mse --name sd
  latentdb put cat cat.jpg --encoder sd
  latentdb get cat --decoder sd -o cat.png")]
pub(crate) struct Model {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::List),
    Info(info::Info),
    Import(import::Import),
    Add(add::Add),
    Pull(pull::Pull),
    Verify(verify::Verify),
    Remove(remove::Remove),
    Path(Path),
}

/// Show the folder that models, or one model, lie in
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  latentdb model path\n  du -sh \"$(latentdb model path sd)\"")]
struct Path {
    /// The model's name
    name: Option<String>,
}

pub(crate) fn run(context: &Context, command: &Model) -> Result<(), Failure> {
    match &command.action {
        Action::List(command) => list::run(context, command),
        Action::Info(command) => info::run(context, command),
        Action::Import(command) => import::run(context, command),
        Action::Add(command) => add::run(context, command),
        Action::Pull(command) => pull::run(context, command),
        Action::Verify(command) => verify::run(context, command),
        Action::Remove(command) => remove::run(context, command),
        Action::Path(command) => path(context, command),
    }
}

fn path(context: &Context, command: &Path) -> Result<(), Failure> {
    let models = context.models()?;
    let Some(name) = &command.name else {
        return output::line(&models.path().display().to_string());
    };
    let model = context.hub.model(name)?;
    if model.is_built_in() {
        return Err(Failure::Usage(format!(
            "the model `{name}` is part of the program and lies in no folder"
        )));
    }
    output::line(&models.path_of(name).display().to_string())
}

/// `encoder and decoder`, or the one there is.
fn halves(model: &ModelSpec) -> &'static str {
    match (&model.encoder, &model.decoder) {
        (Some(_), Some(_)) => "encoder and decoder",
        (Some(_), None) => "encoder",
        _ => "decoder",
    }
}

/// What a half costs: `34.2 M parameters, 1117.4 GFLOP at 512x512, f16 and f32`.
fn cost(half: &ModelHalf) -> String {
    let mut parts = Vec::new();
    if let Some(parameters) = half.parameters {
        parts.push(format!("{:.2} M parameters", parameters as f64 / 1e6));
    }
    if let Some(gflop) = half.gflop_512 {
        let steps = half.sampler.map_or("", |_| " in two steps");
        parts.push(format!("{gflop:.1} GFLOP at 512x512{steps}"));
    }
    let precisions = if half.file_f16.is_some() {
        "f32 or f16"
    } else {
        "f32"
    };
    parts.push(format!("computes in {precisions}"));
    parts.join(", ")
}
