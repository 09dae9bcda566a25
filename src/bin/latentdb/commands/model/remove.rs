//! `latentdb model remove`: a model's folder goes away.

use crate::context::Context;
use crate::report::Failure;

/// Remove a model
///
/// What it encoded stays in the stores, and can be read by any other decoder of its latent space.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb model remove sd")]
pub(crate) struct Remove {
    /// The models' names
    #[arg(required = true)]
    names: Vec<String>,
}

pub(crate) fn run(context: &Context, command: &Remove) -> Result<(), Failure> {
    let models = context.models()?;
    for name in &command.names {
        models.remove(name)?;
        eprintln!("removed the model `{name}`");
    }
    Ok(())
}
