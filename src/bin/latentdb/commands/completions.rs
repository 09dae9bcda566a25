//! `latentdb completions`: a script that completes commands and flags in a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;
use crate::output::Target;
use crate::report::Failure;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  latentdb completions bash > ~/.local/share/bash-completion/completions/latentdb")]
pub(crate) struct Completions {
    /// bash, elvish, fish, powershell or zsh
    shell: Shell,
}

pub(crate) fn run(command: &Completions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Args::command(), "latentdb", &mut script);
    Target::Stdout.write(&script)
}
