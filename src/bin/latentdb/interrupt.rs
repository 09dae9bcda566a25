//! Ctrl-C: the first ends the work in order, the second at once.
//!
//! Invariant: what was acknowledged is durable either way; the store sees to that.

use std::sync::atomic::{AtomicBool, Ordering};

use latentdb::{Error, ErrorKind};

/// What shells say of a process that SIGINT ended.
pub(crate) const EXIT_CODE: u8 = 130;

static STOP: AtomicBool = AtomicBool::new(false);

/// What becomes true when the user, or whoever runs the job, wants it to end: by SIGINT, SIGTERM or SIGHUP.
pub(crate) fn watch() -> latentdb::Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_CODE.into());
        }
        eprintln!("stopping: what is encoded is committed first; once more stops at once");
    })
    .map_err(|e| Error::new(ErrorKind::Io, "can't watch for Ctrl-C").with_source(e))?;
    Ok(&STOP)
}
