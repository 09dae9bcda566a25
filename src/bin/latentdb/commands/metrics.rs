//! `latentdb metrics`: how near an image file is to another, by every metric there is.

use std::path::{Path, PathBuf};

use clap::ValueHint;
use latentdb::{ErrorKind, Pixels, Quality, measure, read_image};

use crate::context::file_name;
use crate::image_args::{LimitArgs, with_limit_hint};
use crate::output;
use crate::progress::with_spinner;
use crate::report::Failure;

/// Measure how near an image is to its original
///
/// Both files are read as `put` reads them, and must have one size. Alpha is laid over white. With --json one object:
/// psnr, ssim, ms_ssim, ssimulacra2 (null where the image is too small or too large for one, and psnr where the
/// images are equal), identical.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb metrics cat.png cat-back.png
  latentdb metrics cat.png cat-back.png --json | jq .ssim")]
pub(crate) struct Metrics {
    /// The original, an image file
    #[arg(value_name = "ORIGINAL", value_hint = ValueHint::FilePath)]
    original: PathBuf,
    /// What is measured against it, an image file
    #[arg(value_name = "OTHER", value_hint = ValueHint::FilePath)]
    other: PathBuf,
    #[command(flatten)]
    limits: LimitArgs,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Metrics) -> Result<(), Failure> {
    let read = |file: &Path| read(file, &command.limits);
    let (original, other) = (read(&command.original)?, read(&command.other)?);
    let measured = with_spinner("measuring", || measure(&original, &other));
    let quality = measured.map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => error.with_hint("get gives images back at their own size"),
        _ => error,
    })?;
    if command.json {
        return output::line(&output::quality_json(&quality).to_string());
    }
    output::line(&to_text(&quality))
}

/// Says what the pixels that are measured don't show.
fn read(file: &Path, limits: &LimitArgs) -> Result<Pixels, Failure> {
    let (bytes, name) = (latentdb::read_file(file)?, file_name(file));
    let image = with_spinner("reading", || read_image(&bytes, &name, &limits.limits()));
    let image = image.map_err(with_limit_hint)?;
    for note in &image.notes {
        eprintln!("note: {name}: {note}");
    }
    if image.pixels.alpha().is_some() {
        eprintln!("note: {name} has alpha: it was laid over white");
    }
    Ok(image.pixels)
}

fn to_text(quality: &Quality) -> String {
    let psnr = match quality.psnr {
        psnr if psnr.is_infinite() => "equal".to_owned(),
        psnr => format!("{psnr:.2} dB"),
    };
    let number = |value: Option<f64>, digits| match value {
        Some(value) => format!("{value:.digits$}"),
        None => "none".to_owned(),
    };
    let lines = [
        ("PSNR", psnr, "more is nearer; 20 to 50 is usual"),
        ("SSIM", number(quality.ssim, 4), "1 is equal, 0 is unlike"),
        (
            "MS-SSIM",
            number(quality.ms_ssim, 4),
            "the same over five scales",
        ),
        (
            "SSIMULACRA2",
            number(quality.ssimulacra2, 2),
            "100 is equal, 90 very high quality, 70 high, 50 medium, 30 low",
        ),
    ];
    let line = |(name, value, meaning)| format!("{name:<13}{value:<10}{meaning}");
    lines.map(line).join("\n")
}
