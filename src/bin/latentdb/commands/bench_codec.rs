//! `latentdb bench-codec`: what each coding makes of the latents at hand.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueHint;
use latentdb::backend::MemoryBackend;
use latentdb::{
    Coding, CodingFigures, Database, Error, ErrorKind, Sample, Store, Study, StudyOptions, Tier,
};
use serde_json::{Value, json};

use super::ingest::check_exists;
use crate::context::Context;
use crate::image_args::LimitArgs;
use crate::output;
use crate::progress::bar;
use crate::report::Failure;

/// Show what each coding would make of this store: bytes, speed, and what the lossy ones cost
///
/// Tries every coding on some of the records, spread over the store; or on FILEs, which are encoded as put does it and
/// kept nowhere. Speeds are of one core, in MB of f16 values a second. `beside f16` is the PSNR of the image decoded after
/// the coding against the one decoded without it; `loss` is how much nearer to the original the latter is, where the
/// original is known: of files, and of records that keep it. Records that were quantised already are passed over.
///
/// With --json one object: latents and codings, each with coding, ratio (raw f16 bytes to those of the coding),
/// bits_per_pixel (without the rest of a record), encode_mb_s, decode_mb_s, psnr_beside_f16, psnr_loss.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb bench-codec
  latentdb bench-codec --sample 200 --no-decode
  latentdb bench-codec photos/*.png --encoder sd")]
pub(crate) struct BenchCodec {
    /// Image files, in place of the store's records
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// How many records to try
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Only records whose ids begin with this
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    prefix: String,
    /// The encoder of files [default: the store's, or tiny where there is no store]
    #[arg(long, value_name = "NAME")]
    encoder: Option<String>,
    /// The decoder [default: the one that get takes]
    #[arg(long, value_name = "NAME")]
    decoder: Option<String>,
    /// Don't decode images: no loss is shown, and no model is needed for records
    #[arg(long)]
    no_decode: bool,
    #[command(flatten)]
    limits: LimitArgs,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &BenchCodec) -> Result<(), Failure> {
    for file in &command.files {
        check_exists(file)?;
    }
    let database = match context.open_read_only() {
        Err(error) if error.kind() == ErrorKind::StoreNotFound && !command.files.is_empty() => {
            Database::over(Store::new(MemoryBackend::new())).with_hub(Arc::clone(&context.hub))
        }
        other => other?,
    };
    let samples = command.samples(&database)?;
    let options = StudyOptions {
        decoders: command.decoder.iter().cloned().collect(),
        encoder: command.encoder.clone(),
        limits: command.limits.limits(),
        ..StudyOptions::default()
    };
    let study = Study::new(&database, options)?;
    let tiers = [Tier::Q8, Tier::Q6, Tier::Q5, Tier::Q4].map(Coding::Quantised);
    let codings = [&Coding::LOSSLESS[..], &tiers].concat();
    let mut figures = Vec::new();
    let bar = bar(samples.len() as u64);
    let tried: latentdb::Result<u64> = samples.iter().try_fold(0, |tried, sample| {
        let one = study.codings(sample, &codings, !command.no_decode, &mut figures)?;
        bar.inc(1);
        Ok(tried + u64::from(one))
    });
    bar.finish_and_clear();
    let tried = tried?;
    if tried == 0 {
        return Err(command.nothing());
    }
    if command.json {
        let codings: Vec<_> = figures.iter().map(to_json).collect();
        let whole = json!({ "latents": tried, "codings": codings });
        return output::line(&format!("{whole:#}"));
    }
    eprintln!("{} tried", output::count(tried, "latent"));
    let heads = [
        "coding",
        "ratio",
        "bpp",
        "encode MB/s",
        "decode MB/s",
        "beside f16 dB",
        "loss dB",
    ];
    output::line(&row(&heads.map(str::to_owned)))?;
    figures
        .iter()
        .try_for_each(|figures| output::line(&row(&to_cells(figures))))
}

impl BenchCodec {
    /// That there is no latent to try codings on.
    fn nothing(&self) -> Failure {
        let prefix = &self.prefix;
        let what = format!("no record whose id begins with `{prefix}` was kept without loss");
        let error = Error::new(ErrorKind::NotFound, what);
        error
            .with_hint("name image files to try codings on them")
            .into()
    }

    /// The files, or records spread evenly over the store.
    fn samples(&self, database: &Database) -> Result<Vec<Sample>, Failure> {
        if !self.files.is_empty() {
            return Ok(self.files.iter().cloned().map(Sample::File).collect());
        }
        let fresh = || {
            let entries = database.store().entries(&self.prefix);
            entries.filter(|entry| {
                let quantised =
                    |entry: &latentdb::Entry| matches!(entry.header.coding, Coding::Quantised(_));
                !entry.as_ref().is_ok_and(quantised)
            })
        };
        let mut count = 0;
        for entry in fresh() {
            entry?;
            count += 1;
        }
        if count == 0 {
            return Err(self.nothing());
        }
        let every = count / self.sample.min(count);
        let chosen = fresh().step_by(every as usize).take(self.sample as usize);
        let chosen = chosen.map(|entry| Ok(Sample::Record(entry?.header.id)));
        chosen
            .collect::<latentdb::Result<_>>()
            .map_err(Failure::from)
    }
}

fn ratio(figures: &CodingFigures) -> f64 {
    figures.raw_bytes as f64 / figures.bytes as f64
}

fn bits_per_pixel(figures: &CodingFigures) -> f64 {
    8.0 * figures.bytes as f64 / figures.pixels as f64
}

/// In MB of f16 values a second.
fn speed(figures: &CodingFigures, time: Duration) -> f64 {
    figures.raw_bytes as f64 / 1e6 / time.as_secs_f64().max(1e-9)
}

fn mean((sum, count): (f64, u64)) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

fn to_json(figures: &CodingFigures) -> Value {
    let rounded = |value: Option<f64>, digits| value.map(|value| output::rounded(value, digits));
    json!({
        "coding": figures.coding.to_string(),
        "ratio": output::rounded(ratio(figures), 4),
        "bits_per_pixel": output::rounded(bits_per_pixel(figures), 4),
        "encode_mb_s": output::rounded(speed(figures, figures.encode), 3),
        "decode_mb_s": output::rounded(speed(figures, figures.decode), 3),
        "psnr_beside_f16": rounded(mean(figures.change), 3),
        "psnr_loss": rounded(mean(figures.loss), 4),
    })
}

fn to_cells(figures: &CodingFigures) -> [String; 7] {
    let optional = |value: Option<f64>, digits| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    [
        figures.coding.to_string(),
        format!("{:.3}", ratio(figures)),
        format!("{:.3}", bits_per_pixel(figures)),
        format!("{:.0}", speed(figures, figures.encode)),
        format!("{:.0}", speed(figures, figures.decode)),
        optional(mean(figures.change), 2),
        optional(mean(figures.loss), 3),
    ]
}

fn row(cells: &[String; 7]) -> String {
    let [coding, numbers @ ..] = cells;
    let widths = [7, 7, 13, 13, 15, 9];
    let numbers = numbers
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:>width$}"));
    format!("{coding:<8}{}", numbers.collect::<String>())
}
