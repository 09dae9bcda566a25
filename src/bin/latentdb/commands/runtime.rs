//! `latentdb runtime install`: fetches ONNX Runtime with the same script as `make setup`.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

use clap::{Subcommand, ValueHint};
use latentdb::{Error, ErrorKind};

use crate::report::Failure;

/// Install ONNX Runtime
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb runtime install")]
pub(crate) struct Runtime {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Install(Install),
}

/// Fetch ONNX Runtime into the user's data folder
///
/// Downloads the pinned wheel with `python3 -m pip`, checks its hash and lays its library down.
/// Nothing is left half-done when that fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  latentdb runtime install\n  latentdb runtime install --cuda")]
struct Install {
    /// Install the build for NVIDIA GPUs, with the CUDA libraries it needs (1.2 GB to download)
    #[arg(long)]
    cuda: bool,
    /// Install again, whatever is there
    #[arg(long)]
    force: bool,
    /// The folder to install into [default: the user's data folder]
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// The installer, which `make setup` runs as a file.
const INSTALLER: &str = include_str!("../../../../onnx/runtime/install.py");

pub(crate) fn run(command: &Runtime) -> Result<(), Failure> {
    let Action::Install(install) = &command.action;
    let folder = install
        .dir
        .clone()
        .or_else(latentdb::Runtime::user_folder)
        .ok_or_else(|| {
            Failure::Usage(
                "there is no home folder to install into\nhint: name one with --dir".into(),
            )
        })?;
    let mut python = Process::new("python3");
    // -I: nothing is imported from the current folder. -: the script comes on stdin.
    python.args(["-I", "-"]).arg(&folder).stdin(Stdio::piped());
    if install.cuda {
        python.arg("--cuda");
    }
    if install.force {
        python.arg("--force");
    }
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorKind::Io,
            "can't run python3, which fetches ONNX Runtime",
        )
        .with_source(error)
    };
    let mut child = python.spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // If Python ends early, its exit status says more than the broken pipe.
        let _ = stdin.write_all(INSTALLER.as_bytes());
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    // The script has said what went wrong.
    Err(Failure::Silent(1))
}
