//! How a command's failure is shown: the chain of causes, a hint where there is one, an exit code.

use std::process::ExitCode;

use latentdb::ErrorKind;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library's error.
    Error(latentdb::Error),
    /// The reader of stdout went away; that is no failure worth a word.
    ClosedPipe,
    /// The arguments contradict each other or the terminal: exit code 2.
    Usage(String),
    /// A part of the work failed and said so itself.
    Silent(u8),
}

impl From<latentdb::Error> for Failure {
    fn from(error: latentdb::Error) -> Self {
        Failure::Error(error)
    }
}

pub(crate) fn exit_code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
        Err(Failure::Silent(code)) => ExitCode::from(code),
        Err(Failure::Error(error)) => {
            // What ONNX Runtime says may end in a line break.
            eprintln!("error: {}", format!("{error:#}").trim_end());
            if let Some(hint) = error.hint().or_else(|| hint(error.kind())) {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// What a user may do about an error of this kind.
fn hint(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::AlreadyExists => "put --replace replaces a record",
        ErrorKind::NotFound => "latentdb ls lists the ids",
        ErrorKind::StoreNotFound => {
            "latentdb init makes a store; --db or LATENTDB_PATH says which one to use"
        }
        ErrorKind::ModelNotFound => "latentdb model list shows the models",
        ErrorKind::RuntimeUnavailable => {
            "latentdb runtime install fetches it; or name a library with --onnxruntime or ORT_DYLIB_PATH"
        }
        ErrorKind::ProviderUnavailable => {
            "--provider auto falls back to the CPU; latentdb doctor shows what works"
        }
        ErrorKind::Locked => "wait for the other process to end; reading needs no lock",
        ErrorKind::Full => "free some space; what was acknowledged before is kept",
        _ => return None,
    })
}
