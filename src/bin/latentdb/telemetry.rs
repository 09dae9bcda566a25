//! Keeps ONNX Runtime from sending telemetry.
//!
//! Invariant: the opt-out is in the environment before the library is loaded. Its published builds
//! send events and keep a device id in the user's cache folder unless `ORT_DISABLE_TELEMETRY` is
//! set by then; switching telemetry off through its interface comes too late.

const OPT_OUT: &str = "ORT_DISABLE_TELEMETRY";

/// Starts the program over with the opt-out set, unless the user has set it one way or the other.
///
/// A program can't safely change its own environment; one that replaces itself can.
#[cfg(unix)]
pub(crate) fn opt_out() {
    use std::os::unix::process::CommandExt;

    if std::env::var_os(OPT_OUT).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else {
        return;
    };
    let mut again = std::process::Command::new(program);
    // Returns only if it fails: then the work is still worth doing.
    let _ = again.arg0(name).args(arguments).env(OPT_OUT, "1").exec();
}

/// Windows has no such telemetry in the library itself, and no way to replace a process.
#[cfg(not(unix))]
pub(crate) fn opt_out() {
    let _ = OPT_OUT;
}
