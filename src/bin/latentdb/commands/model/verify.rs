//! `latentdb model verify`: whether the files of models are what they were.

use latentdb::FileState;

use super::info::states;
use crate::context::Context;
use crate::output;
use crate::report::Failure;

/// Check every byte of models against their manifests
///
/// Ends with exit code 3 if a file is missing or damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  latentdb model verify\n  latentdb model verify sd")]
pub(crate) struct Verify {
    /// The models' names [default: all]
    names: Vec<String>,
}

pub(crate) fn run(context: &Context, command: &Verify) -> Result<(), Failure> {
    let mut models = Vec::new();
    for name in &command.names {
        models.push(context.hub.model(name)?);
    }
    let mut damaged = false;
    if command.names.is_empty() {
        models.extend(context.hub.models());
        for broken in context.hub.broken_models() {
            damaged = true;
            output::line(&format!("{}: {:#}", broken.name, broken.error))?;
        }
    }
    for model in models {
        let mut intact = true;
        for (file, state) in states(context, model)? {
            if state != FileState::Intact {
                intact = false;
                output::line(&format!("{}: {}: {state}", model.name, file.name))?;
            }
        }
        damaged |= !intact;
        if intact {
            output::line(&format!("{}: intact", model.name))?;
        }
    }
    if damaged {
        eprintln!("error: a model is damaged");
        eprintln!("hint: model remove it, then import it again");
        return Err(Failure::Silent(3));
    }
    Ok(())
}
