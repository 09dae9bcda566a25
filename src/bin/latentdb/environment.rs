//! What the process is given before work begins: variables that ONNX Runtime reads, and open files.
//!
//! Invariant: variables that the user has set stay as they are.

/// - Published builds of ONNX Runtime send telemetry and keep a device id in the user's cache folder unless this
///   is set by then; switching telemetry off through its interface comes too late.
/// - glibc keeps what loading a model frees, 100 MB and more, unless pieces of this size go back to the system.
/// - By default it gives every thread memory of its own, of which more and more is neither used nor given back: 110 MB
///   after 10,000 small images instead of 75 MB.
const WANTED: [(&str, &str); 3] = [
    ("ORT_DISABLE_TELEMETRY", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "1048576"),
    ("MALLOC_ARENA_MAX", "2"),
];

/// Starts the program over with what is wanted set, unless it is.
///
/// A program can't safely change its own environment; one that replaces itself can.
#[cfg(unix)]
pub(crate) fn prepare() {
    use std::os::unix::process::CommandExt;

    let missing = WANTED
        .iter()
        .filter(|(name, _)| std::env::var_os(name).is_none());
    let missing: Vec<_> = missing.collect();
    let mut arguments = std::env::args_os();
    let (false, Ok(program), Some(name)) = (
        missing.is_empty(),
        std::env::current_exe(),
        arguments.next(),
    ) else {
        return;
    };
    let mut again = std::process::Command::new(program);
    again.envs(missing.iter().map(|(name, value)| (*name, *value)));
    // Returns only if it fails: then the work is still worth doing.
    let _ = again.arg0(name).args(arguments).exec();
}

/// Allows as many open files as the system does: a store keeps each of its segments open, and the usual 1,024 would
/// end at 256 GB.
#[cfg(unix)]
pub(crate) fn allow_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused, a store that needs more says so when it is opened.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Windows counts no open files.
#[cfg(not(unix))]
pub(crate) fn allow_open_files() {}

/// Windows has no such telemetry in the library itself, another allocator, and no way to replace a process.
#[cfg(not(unix))]
pub(crate) fn prepare() {
    let _ = WANTED;
}
