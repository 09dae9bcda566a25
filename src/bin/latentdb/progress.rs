//! A sign of life on a terminal while something takes longer than a second.
//!
//! Invariant: nothing is drawn where stderr is no terminal.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// What a user bears without a sign.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the sign moves.
const TICK: Duration = Duration::from_millis(120);

/// Runs `work`, and shows `doing` if it takes longer than a second.
pub(crate) fn with_spinner<T>(doing: &'static str, work: impl FnOnce() -> T) -> T {
    watched(|| doing.to_owned(), work)
}

/// As [`with_spinner`], and shows how many records `work` has counted.
pub(crate) fn with_count<T>(doing: &'static str, work: impl FnOnce(&AtomicU64) -> T) -> T {
    let counted = AtomicU64::new(0);
    let message = || {
        let records = output::count(counted.load(Ordering::Relaxed), "record");
        format!("{doing}: {records}")
    };
    watched(message, || work(&counted))
}

/// How much of the work is done.
#[derive(Default)]
pub(crate) struct Share(AtomicU64, AtomicU64);

impl Share {
    pub(crate) fn set(&self, done: u64, total: u64) {
        self.0.store(done, Ordering::Relaxed);
        self.1.store(total, Ordering::Relaxed);
    }
}

/// As [`with_spinner`], and shows how many bytes of how many `work` has done.
pub(crate) fn with_share<T>(doing: &'static str, work: impl FnOnce(&Share) -> T) -> T {
    let share = Share::default();
    let message = || {
        let [done, total] = [&share.0, &share.1].map(|n| n.load(Ordering::Relaxed));
        if total == 0 {
            return doing.to_owned();
        }
        format!(
            "{doing}: {} of {}",
            output::bytes(done),
            output::bytes(total)
        )
    };
    watched(message, || work(&share))
}

fn watched<T>(message: impl Fn() -> String + Send, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        let (done, wait) = channel::<()>();
        scope.spawn(move || {
            if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // indicatif draws on stderr, and only if that is a terminal.
                let spinner = ProgressBar::new_spinner();
                loop {
                    spinner.set_message(message());
                    spinner.tick();
                    // Another error comes as soon as the sender is dropped.
                    if wait.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                        break;
                    }
                }
                spinner.finish_and_clear();
            }
        });
        // Dropped when the work ends, also by a panic.
        let _done = done;
        work()
    })
}

/// Bytes done of those there are: a bar on a terminal, once it takes longer than a second.
pub(crate) struct Bytes {
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Bytes {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            bar: None,
        }
    }

    /// Shows that `done` of `total` bytes are.
    pub(crate) fn show(&mut self, doing: &'static str, done: u64, total: u64) {
        if self.bar.is_none() && self.begun.elapsed() > PATIENCE {
            self.bar = Some(bar(total));
        }
        if let Some(bar) = &self.bar {
            if bar.length() != Some(total) {
                bar.set_length(total);
            }
            if bar.message() != doing {
                bar.set_message(doing);
            }
            bar.set_position(done);
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar on a terminal; nothing elsewhere.
pub(crate) fn bar(total: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        "{bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} {msg}";
    let bar = ProgressBar::new(total);
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Images that are dealt with: a bar on a terminal, with rate, time left, bytes in and out.
pub(crate) struct Images {
    bar: ProgressBar,
    bytes: Share,
}

impl Images {
    pub(crate) fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.enable_steady_tick(TICK);
        let style = ProgressStyle::with_template("{spinner} {pos} images {per_sec} {msg}");
        Self {
            bar: style.into_iter().fold(bar, ProgressBar::with_style),
            bytes: Share::default(),
        }
    }

    /// Whether there is a terminal to show it on.
    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Says how many there will be.
    pub(crate) fn set_total(&self, total: u64) {
        let style = "{bar:30} {human_pos}/{human_len} images {per_sec} {eta} left {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.bar.set_style(style);
        }
        self.bar.set_length(total);
    }

    /// Counts one more, and its bytes.
    pub(crate) fn add(&self, read: u64, stored: u64) {
        let read = self.bytes.0.fetch_add(read, Ordering::Relaxed) + read;
        let stored = self.bytes.1.fetch_add(stored, Ordering::Relaxed) + stored;
        self.bar.inc(1);
        if self.is_shown() {
            let message = format!("{} in, {} out", output::bytes(read), output::bytes(stored));
            self.bar.set_message(message);
        }
    }

    /// Writes a line above the bar.
    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
