//! `latentdb repair`: a new store of all that is whole in a damaged one.

use std::path::PathBuf;

use clap::ValueHint;
use latentdb::Store;
use latentdb::backend::{self, Lost, RepairOptions, Step, Unknown};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{self, bytes, count};
use crate::progress::Bytes;
use crate::report::Failure;

/// Make a new store of what is whole in a damaged one
///
/// The damaged store isn't changed; with --replace it is only renamed, once the new one was made and
/// read again. A record whose newest version is damaged is lost: an older version doesn't take its
/// place, but is said to be there. What was deleted stays deleted. Refuses while another process
/// writes to the store. Ends with exit code 3 if something was lost, or may have been. With --json one
/// object: path, damaged_path, records, lost (each with id, operation, why, older_file, older_bytes),
/// unknown (each with operations, file, bytes, candidates, candidate_ids), notes, verification (the
/// object of verify, about the damaged store).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  latentdb repair\n  latentdb --db photos repair --replace")]
pub(crate) struct Repair {
    /// The folder of the new store; must not exist [default: the store's, with `.repaired` behind it]
    #[arg(value_hint = ValueHint::DirPath)]
    dest: Option<PathBuf>,
    /// Put the new store in the place of the damaged one, which gets `.damaged` behind its name
    #[arg(long, conflicts_with = "dest")]
    replace: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Repair) -> Result<(), Failure> {
    let path = context.db_path()?;
    let options = RepairOptions {
        to: command.dest.clone(),
        replace: command.replace,
    };
    let mut bar = Bytes::new();
    let repair = Store::repair(&path, &options, &mut |step, done, total| {
        let doing = match step {
            Step::Checking => "checking the new store",
            Step::Copying => "copying",
            _ => "reading",
        };
        bar.show(doing, done, total);
    })?;
    drop(bar);
    if command.json {
        let lost: Vec<_> = repair.lost.iter().map(lost_json).collect();
        let unknown: Vec<_> = repair.unknown.iter().map(unknown_json).collect();
        let damaged = repair.damaged.as_ref();
        let value = json!({
            "path": repair.path.to_string_lossy(),
            "damaged_path": damaged.map(|path| path.to_string_lossy()),
            "records": repair.records,
            "lost": lost,
            "unknown": unknown,
            "notes": repair.notes,
            "verification": output::verification_json(&path, &repair.verification),
        });
        output::line(&value.to_string())?;
    } else {
        show(&repair)?;
    }
    if repair.lost_something() {
        Err(Failure::Silent(3))
    } else {
        Ok(())
    }
}

fn show(repair: &backend::Repair) -> Result<(), Failure> {
    for note in repair.verification.notes.iter().chain(&repair.notes) {
        eprintln!("note: {note}");
    }
    for lost in &repair.lost {
        let older = match &lost.older {
            Some((file, range)) => format!(
                "; an older version lies at bytes {}..{} of {} and was not taken",
                range.start,
                range.end,
                file.display()
            ),
            None => String::new(),
        };
        let id = String::from_utf8_lossy(&lost.key);
        output::line(&format!(
            "lost `{}`: {}{older}",
            id.escape_debug(),
            lost.why
        ))?;
    }
    for unknown in &repair.unknown {
        show_unknown(unknown)?;
    }
    let lost = match (repair.lost.len(), repair.unknown.len()) {
        (0, 0) => "nothing lost".to_owned(),
        (0, _) => "some may be lost or older than they were".to_owned(),
        (lost, 0) => format!("{} lost", count(lost as u64, "record")),
        (lost, _) => format!(
            "{} lost, and more may be or be older than they were",
            count(lost as u64, "record")
        ),
    };
    let path = repair.path.display();
    let records = count(repair.records, "record");
    output::line(&format!("{records} in {path}: {lost}"))?;
    if let Some(damaged) = &repair.damaged {
        eprintln!(
            "the damaged store ({}) is {} now",
            bytes(repair.verification.bytes),
            damaged.display()
        );
    }
    Ok(())
}

fn show_unknown(unknown: &Unknown) -> Result<(), Failure> {
    let (first, last) = (unknown.operations.start(), unknown.operations.end());
    let operations = if first == last {
        format!("operation {first}")
    } else {
        format!("operations {first} to {last}")
    };
    let place = match &unknown.bytes {
        Some(range) => format!(
            "at bytes {}..{} of {}",
            range.start,
            range.end,
            unknown.file.display()
        ),
        None => "in no segment that is here".into(),
    };
    let mut text = format!(
        "unknown {operations} {place}: what was put there is lost; if it replaced or deleted a record, an \
         older version of it is in the repaired store"
    );
    let ids: Vec<_> = unknown
        .candidate_keys
        .iter()
        .map(|key| {
            let id = String::from_utf8_lossy(key);
            format!("`{}`", id.escape_debug())
        })
        .collect();
    match (unknown.candidates, ids.is_empty()) {
        (0, _) => text.push_str(" (there is none that is older)"),
        (candidates, true) => {
            text = format!("{text} (one of {})", count(candidates, "older record"));
        }
        (_, false) => text = format!("{text} (one of these: {})", ids.join(", ")),
    }
    output::line(&text)
}

fn lost_json(lost: &Lost) -> Value {
    let older = lost.older.as_ref();
    json!({
        "id": String::from_utf8_lossy(&lost.key),
        "operation": lost.operation,
        "why": lost.why,
        "older_file": older.map(|(file, _)| file.to_string_lossy()),
        "older_bytes": older.map(|(_, range)| [range.start, range.end]),
    })
}

fn unknown_json(unknown: &Unknown) -> Value {
    let ids = unknown.candidate_keys.iter();
    let ids: Vec<_> = ids.map(|key| String::from_utf8_lossy(key)).collect();
    json!({
        "operations": [unknown.operations.start(), unknown.operations.end()],
        "file": unknown.file.to_string_lossy(),
        "bytes": unknown.bytes.as_ref().map(|range| [range.start, range.end]),
        "candidates": unknown.candidates,
        "candidate_ids": ids,
    })
}
