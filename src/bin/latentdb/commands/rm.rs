//! `latentdb rm`: records go away, all that were named or none.

use latentdb::RecordId;

use crate::args::parse_id;
use crate::context::Context;
use crate::report::Failure;

/// Remove records
///
/// All of them or, if one isn't there, none.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb rm cat dog")]
pub(crate) struct Rm {
    /// The ids of the records
    #[arg(value_parser = parse_id, required = true)]
    ids: Vec<RecordId>,
}

pub(crate) fn run(context: &Context, command: &Rm) -> Result<(), Failure> {
    context.open()?.store().remove(&command.ids)?;
    Ok(())
}
