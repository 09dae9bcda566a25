//! How records that go out or come in are told: what was left out, what failed, and an exit code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use latentdb::Exchanged;

use crate::images_told::LISTED;
use crate::output;
use crate::report::Failure;

/// What became of all so far.
#[derive(Default)]
pub(crate) struct Told {
    failed: u64,
    listed: Vec<String>,
    hint: Option<String>,
    /// Each note, with the first it is of and how many more.
    notes: BTreeMap<String, (String, u64)>,
}

impl Told {
    /// Tells of one, which is counted if it arrived.
    pub(crate) fn tell(&mut self, done: Exchanged, arrived: &AtomicU64) {
        for note in done.notes {
            let noted = self.notes.entry(note);
            noted
                .and_modify(|(_, more)| *more += 1)
                .or_insert_with(|| (done.name.clone(), 0));
        }
        let Err(error) = done.result else {
            arrived.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.failed += 1;
        if self.listed.len() < LISTED {
            self.listed.push(format!("{}: {error:#}", done.name));
        }
        if self.hint.is_none() {
            self.hint = error.hint().map(str::to_owned);
        }
    }

    /// Lists what was left out and what failed. `what` is one of them.
    pub(crate) fn end(self, what: &str) -> Result<(), Failure> {
        for (note, (name, more)) in &self.notes {
            let more = match more {
                0 => String::new(),
                more => format!(", and of {}", output::count(*more, &format!("more {what}"))),
            };
            eprintln!("note: {name}: {note}{more}");
        }
        if self.failed == 0 {
            return Ok(());
        }
        eprintln!("error: {} failed:", output::count(self.failed, what));
        for line in &self.listed {
            eprintln!("  {line}");
        }
        if self.failed > LISTED as u64 {
            eprintln!("  and {} more", self.failed - LISTED as u64);
        }
        if let Some(hint) = self.hint {
            eprintln!("hint: {hint}");
        }
        Err(Failure::Silent(3))
    }
}
