//! A sign of life on a terminal while something takes longer than a second.
//!
//! Invariant: nothing is drawn where stderr is no terminal.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::ProgressBar;

/// What a user bears without a sign.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs `work`, and shows `doing` if it takes longer than a second.
pub(crate) fn with_spinner<T>(doing: &'static str, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (done, wait) = channel::<()>();
        scope.spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // indicatif draws on stderr, and only if that is a terminal.
                let spinner = ProgressBar::new_spinner().with_message(doing);
                spinner.enable_steady_tick(Duration::from_millis(120));
                // Ends with an error as soon as the sender is dropped.
                let _ = wait.recv();
                spinner.finish_and_clear();
            }
        });
        // Dropped when the work ends, also by a panic.
        let _done = done;
        work()
    })
}
