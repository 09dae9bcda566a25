//! `latentdb stats`: what the store holds in all.

use latentdb::{Bin, Qualities};
use serde_json::json;

use crate::context::Context;
use crate::output::{self, bytes};
use crate::progress::with_spinner;
use crate::report::Failure;

/// Show what the store holds in all
///
/// Of images that were measured when they were stored (put and ingest --measure) it shows how near they
/// come back, and how many come back how near.
///
/// With --json one object: records, pixels, rgb_bytes, latent_bytes, source_bytes, stored_bytes,
/// disk_bytes, encoders, latent_spaces, codings, originals, quality (psnr, ssim, ms_ssim, ssimulacra2: each null,
/// or records, infinite, mean, deviation, min, p5, median, p95, max, bins), path.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb stats")]
pub(crate) struct Stats {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Stats) -> Result<(), Failure> {
    let database = context.open_read_only()?;
    let stats = with_spinner("counting", || database.store().stats())?;
    let path = context.db_path()?;
    if command.json {
        let mut value = json!(stats);
        value["path"] = json!(path.to_string_lossy());
        return output::line(&value.to_string());
    }
    let less = |whole, of: &str| {
        let ratio = output::ratio(whole, stats.stored_bytes);
        ratio
            .map(|r| format!(", {r:.1} x less than {of}"))
            .unwrap_or_default()
    };
    output::line(&format!("store    {}", path.display()))?;
    output::line(&format!("records  {}", stats.records))?;
    output::line(&format!(
        "stored   {}{}",
        bytes(stats.stored_bytes),
        less(
            stats.rgb_bytes,
            &format!("{} of raw RGB", bytes(stats.rgb_bytes))
        )
    ))?;
    if stats.source_bytes > 0 {
        let of = format!("{} of source files", bytes(stats.source_bytes));
        output::line(&format!(
            "sources  {}",
            less(stats.source_bytes, &of).trim_start_matches(", ")
        ))?;
    }
    output::line(&format!("on disk  {}", bytes(stats.disk_bytes)))?;
    for (name, count) in &stats.encoders {
        output::line(&format!("encoder  {name}: {count}"))?;
    }
    for (name, count) in &stats.latent_spaces {
        output::line(&format!("space    {name}: {count}"))?;
    }
    for (name, count) in &stats.codings {
        output::line(&format!("coding   {name}: {count}"))?;
    }
    if stats.originals > 0 {
        let originals = output::count(stats.originals, "original");
        output::line(&format!("kept     {originals} beside their latents"))?;
    }
    quality(&stats.quality)
}

/// How near images came back: a table of metrics, and how many came back at which PSNR.
fn quality(quality: &Qualities) -> Result<(), Failure> {
    let Some(psnr) = &quality.psnr else {
        return Ok(());
    };
    let columns = ["mean", "least", "5 %", "median", "95 %", "most"];
    let columns = columns.map(|name| format!("{name:>9}")).concat();
    output::line(&format!("\nmeasured   {columns}"))?;
    for (name, metric, digits) in [
        ("PSNR, dB", &quality.psnr, 2),
        ("SSIM", &quality.ssim, 4),
        ("MS-SSIM", &quality.ms_ssim, 4),
        ("SSIMULACRA2", &quality.ssimulacra2, 1),
    ] {
        let Some(all) = metric else { continue };
        let numbers = [all.mean, all.min, all.p5, all.median, all.p95, all.max];
        let numbers = numbers
            .map(|number| format!("{number:>9.digits$}"))
            .concat();
        output::line(&format!("{name:<11}{numbers}"))?;
    }
    output::line("\nPSNR from  images")?;
    let most = psnr.bins.iter().map(|bin| bin.records).max().unwrap_or(1);
    for bin in &psnr.bins {
        let bar = bar(bin.records, most);
        let line = format!("{:>6} dB  {:>8}  {bar}", edge(bin), bin.records);
        output::line(line.trim_end())?;
    }
    if psnr.infinite > 0 {
        output::line(&format!("    equal  {:>8}", psnr.infinite))?;
    }
    Ok(())
}

/// Characters of the longest bar.
const BAR: usize = 40;

/// A bar of blocks, in eighths of one.
fn bar(records: u64, most: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (8.0 * BAR as f64 * records as f64 / most.max(1) as f64).round() as usize;
    // What is there is seen.
    let eighths = eighths.max(usize::from(records > 0));
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Where a bin begins, with as many digits as tell it from the next.
fn edge(bin: &Bin) -> String {
    let digits = (-(bin.to - bin.from).log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{:.digits$}", bin.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share_and_never_vanish() {
        assert_eq!(bar(0, 10), "");
        assert_eq!(bar(10, 10), "█".repeat(BAR));
        assert_eq!(bar(5, 10), "█".repeat(BAR / 2));
        assert_eq!(bar(1, 1_000_000), "▏");
    }

    #[test]
    fn edges_have_the_digits_that_tell_bins_apart() {
        let bin = |from, to| Bin {
            from,
            to,
            records: 0,
        };
        assert_eq!(edge(&bin(20.0, 22.0)), "20");
        assert_eq!(edge(&bin(20.2, 20.4)), "20.2");
        assert_eq!(edge(&bin(20.0, 30.0)), "20");
    }
}
