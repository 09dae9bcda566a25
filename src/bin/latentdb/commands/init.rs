//! `latentdb init`: makes an empty store.

use std::sync::Arc;

use latentdb::{DEFAULT_ENCODER, Database};

use crate::context::Context;
use crate::report::Failure;

/// Make an empty store
///
/// The folder must not exist or be empty. `put` makes the store by itself where there is none; this
/// command is for choosing the store's default encoder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb --db photos.latentdb init --encoder tiny")]
pub(crate) struct Init {
    /// The encoder that `put` uses unless told otherwise
    #[arg(long, value_name = "NAME", default_value = DEFAULT_ENCODER)]
    encoder: String,
}

pub(crate) fn run(context: &Context, command: &Init) -> Result<(), Failure> {
    let path = context.db_path()?;
    Database::create_with_hub(&path, &command.encoder, Arc::clone(&context.hub))?;
    eprintln!("made the store {}", path.display());
    Ok(())
}
