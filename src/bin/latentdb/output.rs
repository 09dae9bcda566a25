//! What goes to stdout and into files, and numbers as people read them.
//!
//! Invariant: a file appears under its name whole or not at all; a closed pipe ends quietly.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{BufWriter, ErrorKind as Io, IsTerminal, Write};
use std::path::Path;

use latentdb::backend::{Affected, Finding, Verification};
use latentdb::{Error, ErrorKind, Quality, RecordHeader};
use serde_json::{Value, json};

use crate::report::Failure;

/// Where a command's data goes.
pub(crate) enum Target<'a> {
    Stdout,
    File(&'a Path),
}

impl<'a> Target<'a> {
    /// `-o -` and no `-o` are stdout.
    pub(crate) fn new(output: Option<&'a Path>) -> Self {
        match output {
            Some(path) if path != Path::new("-") => Target::File(path),
            _ => Target::Stdout,
        }
    }

    /// Refuses to write bytes to a terminal, before any work is done for them.
    pub(crate) fn check_terminal(&self, what: &str) -> Result<(), Failure> {
        if matches!(self, Target::Stdout) && std::io::stdout().is_terminal() {
            return Err(Failure::Usage(format!(
                "{what} would go to the terminal\nhint: name a file with -o, or pipe it on"
            )));
        }
        Ok(())
    }

    /// Writes all of `bytes`.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Target::File(path) => Ok(latentdb::write_file(path, bytes)?),
            Target::Stdout => to_stdout(bytes),
        }
    }

    /// Lets `write` write as it goes.
    pub(crate) fn stream<T>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> latentdb::Result<T>,
    ) -> Result<T, Failure> {
        if let Target::File(path) = self {
            return Ok(latentdb::write_file_with(path, write)?);
        }
        let mut out = BufWriter::new(std::io::stdout().lock());
        let value = write(&mut out).map_err(|error| {
            let cause = error.source().and_then(|cause| cause.downcast_ref());
            match cause.map(std::io::Error::kind) {
                Some(Io::BrokenPipe) => Failure::ClosedPipe,
                _ => error.into(),
            }
        })?;
        out.flush().map_err(cant_write)?;
        Ok(value)
    }
}

/// One line of data on stdout.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    to_stdout(format!("{text}\n").as_bytes())
}

fn to_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(cant_write)
}

fn cant_write(error: std::io::Error) -> Failure {
    match error.kind() {
        Io::BrokenPipe => Failure::ClosedPipe,
        _ => Error::new(ErrorKind::Io, "can't write to stdout")
            .with_source(error)
            .into(),
    }
}

/// Bytes as people read them: `12.3 KB` is 12,300 bytes.
pub(crate) fn bytes(count: u64) -> String {
    let units = ["KB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (count as f64 / 1000.0, 0);
    if value < 1.0 {
        return format!("{count} B");
    }
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// `1 record`, `12,345 records`.
pub(crate) fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// A number with a comma between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many times `whole` is as large as `part`; `None` where there is nothing to compare.
pub(crate) fn ratio(whole: u64, part: u64) -> Option<f64> {
    (whole > 0 && part > 0).then(|| whole as f64 / part as f64)
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing into a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A number to `digits` decimals in JSON; more would be noise.
pub(crate) fn rounded(value: f64, digits: i32) -> Value {
    let scale = 10f64.powi(digits);
    json!((value * scale).round() / scale)
}

/// A quality in a few words.
pub(crate) fn quality(quality: &Quality) -> String {
    let mut parts = vec![format!("PSNR {:.2} dB", quality.psnr)];
    for (name, metric, digits) in [
        ("SSIM", quality.ssim, 4),
        ("MS-SSIM", quality.ms_ssim, 4),
        ("SSIMULACRA2", quality.ssimulacra2, 1),
    ] {
        parts.extend(metric.map(|value| format!("{name} {value:.digits$}")));
    }
    parts.join(", ")
}

/// A quality as JSON, which has no infinity: `psnr` is null of an image that is equal to its original.
pub(crate) fn quality_json(quality: &Quality) -> Value {
    json!({
        "psnr": Some(quality.psnr).filter(|psnr| psnr.is_finite()),
        "ssim": quality.ssim,
        "ms_ssim": quality.ms_ssim,
        "ssimulacra2": quality.ssimulacra2,
        "identical": quality.psnr.is_infinite(),
    })
}

/// What was found wrong, as JSON.
pub(crate) fn finding_json(finding: &Finding) -> Value {
    let affected = |affected: &Affected| {
        json!({
            "id": String::from_utf8_lossy(&affected.key),
            "operation": affected.operation,
            "standing": affected.standing.name(),
        })
    };
    let records: Vec<_> = finding.affected.iter().map(affected).collect();
    json!({
        "damage": finding.damage.name(),
        "file": finding.file.to_string_lossy(),
        "bytes": finding.bytes.as_ref().map(|range| [range.start, range.end]),
        "records": records,
        "unnamed_operations": finding.unnamed.as_ref().map(|range| [range.start(), range.end()]),
        "what": finding.what,
    })
}

/// What a verification found, as JSON.
pub(crate) fn verification_json(path: &Path, verification: &Verification) -> Value {
    let findings: Vec<_> = verification.findings.iter().map(finding_json).collect();
    json!({
        "path": path.to_string_lossy(),
        "sound": verification.is_sound(),
        "segments": verification.segments,
        "frames": verification.frames,
        "records": verification.records,
        "damaged_records": verification.damaged_records,
        "bytes": verification.bytes,
        "findings": findings,
        "notes": verification.notes,
    })
}

/// One line a finding, and one that sums up.
pub(crate) fn verification(verification: &Verification) -> Result<(), Failure> {
    for finding in &verification.findings {
        line(&finding.to_string())?;
    }
    let state = match (verification.is_sound(), verification.damaged_records) {
        (true, _) => "sound".to_owned(),
        (false, 0) => format!(
            "{}, no record damaged as far as can be told",
            count(verification.findings.len() as u64, "finding")
        ),
        (false, damaged) => count(damaged, "damaged record"),
    };
    line(&format!(
        "{} in {}, {} read: {state}",
        count(verification.records, "record"),
        count(verification.segments, "segment"),
        bytes(verification.bytes)
    ))
}

/// The part of a record's JSON that both `ls` and `info` show.
pub(crate) fn header_json(header: &RecordHeader, stored_bytes: u64, bits_per_pixel: f64) -> Value {
    let shape = header.shape;
    let encoder = header.encoder.as_ref();
    json!({
        "id": header.id.as_str(),
        "width": header.width,
        "height": header.height,
        "alpha": header.alpha,
        "latent_shape": [shape.channels, shape.height, shape.width],
        "latent_space": header.latent_space,
        "encoder": encoder.map(|e| &e.name),
        "fingerprint": encoder.and_then(|e| e.fingerprint).map(|f| hex(&f)),
        "coding": header.coding.to_string(),
        "bytes_stored": stored_bytes,
        "bits_per_pixel": rounded(bits_per_pixel, 4),
        "source_bytes": header.source.as_ref().map(|s| s.bytes),
        "original": header.original,
        "quality": header.measured.as_ref().map(|measured| quality_json(&measured.quality)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_shown_with_a_comma_between_thousands() {
        for (number, shown) in [
            (0, "0 records"),
            (1, "1 record"),
            (999, "999 records"),
            (12_345, "12,345 records"),
            (1_000_000, "1,000,000 records"),
        ] {
            assert_eq!(count(number, "record"), shown);
        }
    }

    #[test]
    fn bytes_are_shown_with_one_decimal_and_a_decimal_unit() {
        for (count, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KB"),
            (999_949, "999.9 KB"),
            (999_999, "1.0 MB"),
            (u64::MAX, "18446.7 PB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
    }
}
