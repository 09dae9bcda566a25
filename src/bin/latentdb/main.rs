//! The command line of latentdb: parses the arguments, runs one command, maps errors to exit codes.
//!
//! Invariant: stdout carries data only; everything else goes to stderr. Exit codes: 0 done,
//! 1 failed, 2 usage, 3 damage was found or something was lost.

mod args;
mod commands;
mod context;
mod environment;
mod exchange_told;
mod image_args;
mod images_told;
mod interrupt;
mod output;
mod progress;
mod report;

use clap::Parser;

fn main() -> std::process::ExitCode {
    environment::prepare();
    environment::allow_open_files();
    let args = args::Args::parse();
    report::exit_code(commands::run(args))
}
