//! `latentdb recode`: records are kept in another coding.

use std::path::PathBuf;

use clap::ValueHint;
use latentdb::{CodingChoice, Error, Inputs, RecodeOptions, RecodeOutcome, Recoded};
use serde_json::json;

use super::ingest::check_exists;
use crate::context::Context;
use crate::image_args::{CodingArgs, LimitArgs};
use crate::interrupt;
use crate::output;
use crate::progress::Images;
use crate::report::Failure;

/// Keep records in another coding
///
/// --coding fast and dense change no value, only bytes and speed. q8, q6, q5 and q4 are lossy: each channel of a
/// latent is rounded to so many bits; `info` states how far values moved. With --psnr-loss each record gets the coarsest
/// tier whose decoded image loses less than that beside its original, which it keeps or which is found in --from.
/// There is no way back from a lossy coding: records in a coarser tier are left alone, and so are those in
/// the coding already, which lets the same command go on where another was stopped.
///
/// What was measured of an image no longer holds after a lossy step, and is forgotten unless its original is at hand.
///
/// With --json a line for each record: id, status (recoded, skipped, missing, failed; in a dry run what it would be),
/// coding, bytes_before, bytes_after, reason (of failed).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb recode --coding dense
  latentdb recode --coding q6 --prefix 2025/ --dry-run
  latentdb recode --psnr-loss 0.1 --from photos/")]
pub(crate) struct Recode {
    #[command(flatten)]
    coding: CodingArgs,
    /// Where the originals are that --psnr-loss measures against: a folder, a tar, a file or a pattern; may be given several times
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    from: Vec<PathBuf>,
    /// Only records whose ids begin with this
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    prefix: String,
    /// Store nothing, and say what would be done
    #[arg(long)]
    dry_run: bool,
    /// One JSON object a line for each record
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

pub(crate) fn run(context: &Context, command: &Recode) -> Result<(), Failure> {
    let coding = command.coding.chosen().ok_or_else(|| {
        Failure::Usage("say --coding or --psnr-loss: how records are to be kept".to_owned())
    })?;
    if !command.from.is_empty() && !matches!(coding, CodingChoice::PsnrLoss(_)) {
        let what = "--from is for --psnr-loss: no other coding looks at originals";
        return Err(Failure::Usage(what.to_owned()));
    }
    let options = RecodeOptions {
        prefix: command.prefix.clone(),
        coding,
        limits: command.limits.limits(),
        dry_run: command.dry_run,
    };
    for path in &command.from {
        check_exists(path)?;
    }
    let database = if command.dry_run {
        context.open_read_only()?
    } else {
        context.open()?
    };
    let from = command.from.iter().fold(Inputs::default(), Inputs::path);
    let stop = interrupt::watch()?;
    let images = Images::new();
    let mut told = Told {
        json: command.json,
        images: &images,
        sums: Sums::default(),
        broken: None,
    };
    let result = database.recode(from, &options, stop, &mut |done| {
        told.tell(done);
        if told.broken.is_some() {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let Told { sums, broken, .. } = told;
    images.finish();
    if let Some(failure) = broken {
        return Err(failure);
    }
    result?;
    sums.say(command.dry_run);
    if stop.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(Failure::Silent(interrupt::EXIT_CODE));
    }
    if sums.failed + sums.missing > 0 {
        return Err(Failure::Silent(3));
    }
    Ok(())
}

/// What is told while the work goes on.
struct Told<'a> {
    json: bool,
    images: &'a Images,
    sums: Sums,
    /// Why stdout takes nothing more.
    broken: Option<Failure>,
}

impl Told<'_> {
    fn tell(&mut self, done: &Recoded) {
        self.images.add(done.bytes_before, done.bytes_after);
        self.sums.count(done);
        if self.json && self.broken.is_none() {
            self.broken = output::line(&to_json(done).to_string()).err();
        } else if let RecodeOutcome::Failed(error) = &done.outcome {
            self.images.say(&format!("failed: {}: {error:#}", done.id));
        } else if let RecodeOutcome::Missing = done.outcome {
            self.images
                .say(&format!("missing: {}: its original wasn't found", done.id));
        }
    }
}

fn to_json(done: &Recoded) -> serde_json::Value {
    let (status, coding, reason) = match &done.outcome {
        RecodeOutcome::Recoded(coding) => ("recoded", Some(coding.to_string()), None),
        RecodeOutcome::Skipped => ("skipped", None, None),
        RecodeOutcome::Missing => ("missing", None, None),
        RecodeOutcome::Failed(error) => ("failed", None, Some(error)),
        _ => ("unknown", None, None),
    };
    json!({
        "id": done.id.as_str(),
        "status": status,
        "coding": coding,
        "bytes_before": done.bytes_before,
        "bytes_after": done.bytes_after,
        "reason": reason.map(|error: &Error| format!("{error:#}")),
    })
}

/// What was done in all.
#[derive(Default)]
struct Sums {
    recoded: u64,
    skipped: u64,
    missing: u64,
    failed: u64,
    unmeasured: u64,
    bytes_before: u64,
    bytes_after: u64,
}

impl Sums {
    fn count(&mut self, done: &Recoded) {
        self.unmeasured += u64::from(done.unmeasured);
        match done.outcome {
            RecodeOutcome::Recoded(_) => {
                self.recoded += 1;
                self.bytes_before += done.bytes_before;
                self.bytes_after += done.bytes_after;
            }
            RecodeOutcome::Skipped => self.skipped += 1,
            RecodeOutcome::Missing => self.missing += 1,
            _ => self.failed += 1,
        }
    }

    fn say(&self, dry_run: bool) {
        let begun = if dry_run { "would recode" } else { "recoded" };
        let mut parts = vec![format!("{begun} {}", output::count(self.recoded, "record"))];
        for (what, count) in [
            ("skipped", self.skipped),
            ("missing", self.missing),
            ("failed", self.failed),
        ] {
            if count > 0 {
                parts.push(format!("{what} {count}"));
            }
        }
        let ratio = output::ratio(self.bytes_before, self.bytes_after);
        let sizes = ratio.map_or_else(String::new, |ratio| {
            let [before, after] = [self.bytes_before, self.bytes_after].map(output::bytes);
            let times = if ratio < 1.0 {
                format!("{:.2} x more", ratio.recip())
            } else {
                format!("{ratio:.2} x less")
            };
            format!(": {before} before, {after} after, {times}")
        });
        eprintln!("{}{sizes}", parts.join(", "));
        if self.unmeasured > 0 {
            let records = output::count(self.unmeasured, "record");
            eprintln!(
                "note: what was measured of {records} is forgotten: it doesn't hold for what is stored now"
            );
        }
        if self.missing > 0 {
            eprintln!("hint: --from says where originals are");
        }
    }
}
