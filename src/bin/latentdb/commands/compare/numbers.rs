//! The numbers of a comparison as text, as JSON and as CSV.
//!
//! Invariant: one number is shown to the same digits wherever people read it; JSON and CSV aren't rounded, but for times.

use latentdb::{Compared, Contender, Distribution, Kind, Quality, Summarized};
use serde_json::{Value, json};

use crate::output;

/// The first line of the CSV.
pub(super) const CSV_HEADER: &str = "image,width,height,encoder,latent_space,contender,kind,quality,\
bytes,bits_per_pixel,psnr,ssim,ms_ssim,ssimulacra2,seconds\r\n";

/// A contender's name as people write it.
pub(super) fn title(name: &str, codec: bool) -> &str {
    match name {
        "jpeg" if codec => "JPEG",
        "webp" if codec => "WebP",
        "avif" if codec => "AVIF",
        name => name,
    }
}

/// The name of a contender, with the quality of a codec's file.
pub(super) fn label(contender: &Contender) -> String {
    match contender.kind {
        Kind::Codec { quality } => format!("{} quality {quality}", title(&contender.name, true)),
        Kind::Decoder { .. } => contender.name.clone(),
    }
}

/// PSNR, SSIM, SSIMULACRA2 and seconds: their headings.
pub(super) const MEASURED: [&str; 4] = ["PSNR dB", "SSIM", "SSIMULACRA2", "seconds"];

/// Digits after the point of each of [`MEASURED`].
pub(super) const DIGITS: [usize; 4] = [2, 4, 2, 4];

/// The values of [`MEASURED`]; `None` where one doesn't apply.
pub(super) fn measured(contender: &Contender) -> [Option<f64>; 4] {
    let Quality {
        psnr,
        ssim,
        ssimulacra2,
        ..
    } = contender.quality;
    let seconds = contender.time.as_secs_f64();
    [Some(psnr), ssim, ssimulacra2, Some(seconds)]
}

/// The spreads of [`MEASURED`].
pub(super) fn spreads(row: &Summarized) -> [Option<&Distribution>; 4] {
    [&row.psnr, &row.ssim, &row.ssimulacra2, &row.seconds].map(Option::as_ref)
}

/// A value to some digits.
pub(super) fn shown(value: Option<f64>, digits: usize) -> String {
    match value {
        Some(value) if value.is_infinite() => "equal".to_owned(),
        Some(value) => format!("{value:.digits$}"),
        None => "none".to_owned(),
    }
}

/// Mean and deviation to some digits.
pub(super) fn spread(spread: Option<&Distribution>, digits: usize) -> String {
    match spread {
        Some(spread) => format!("{:.digits$} ±{:.digits$}", spread.mean, spread.deviation),
        None => "none".to_owned(),
    }
}

/// One comparison as JSON.
pub(super) fn json(compared: &Compared) -> Value {
    let contenders: Vec<_> = compared.contenders.iter().map(contender_json).collect();
    json!({
        "name": compared.name,
        "width": compared.original.width(),
        "height": compared.original.height(),
        "encoder": compared.encoder,
        "latent_space": compared.latent_space,
        "bytes": compared.stored_bytes,
        "bits_per_pixel": compared.bits_per_pixel(compared.stored_bytes),
        "contenders": contenders,
        "notes": compared.notes,
    })
}

fn contender_json(contender: &Contender) -> Value {
    let mut value = json!({ "name": contender.name });
    match &contender.kind {
        Kind::Decoder { computed } => {
            value["kind"] = json!("decoder");
            value["computed"] = json!(computed);
        }
        Kind::Codec { quality } => {
            value["kind"] = json!("codec");
            value["quality"] = json!(quality);
        }
    }
    value["bytes"] = json!(contender.bytes);
    value["bits_per_pixel"] = json!(contender.bits_per_pixel);
    if let (Value::Object(value), Value::Object(quality)) =
        (&mut value, output::quality_json(&contender.quality))
    {
        value.extend(quality);
    }
    value["seconds"] = output::rounded(contender.time.as_secs_f64(), 6);
    value["notes"] = json!(contender.notes);
    value
}

/// One contender over all images as JSON.
pub(super) fn summary_json(row: &Summarized) -> Value {
    let spread = |spread: &Option<Distribution>| {
        let spread = spread.as_ref();
        json!(spread.map(|spread| json!({ "mean": spread.mean, "deviation": spread.deviation })))
    };
    let mut value = json!({
        "name": row.name,
        "kind": if row.codec { "codec" } else { "decoder" },
        "images": row.images,
        "bytes": spread(&row.bytes),
        "bits_per_pixel": spread(&row.bits_per_pixel),
        "psnr": spread(&row.psnr),
        "ssim": spread(&row.ssim),
        "ms_ssim": spread(&row.ms_ssim),
        "ssimulacra2": spread(&row.ssimulacra2),
        "seconds": spread(&row.seconds),
    });
    if row.codec {
        value["quality"] = spread(&row.setting);
    }
    value
}

/// The lines of one comparison: one a contender. What doesn't apply is empty, and the PSNR of equal images `inf`.
pub(super) fn csv(compared: &Compared) -> String {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let line = |contender: &Contender| {
        let quality = &contender.quality;
        let (kind, setting) = match contender.kind {
            Kind::Decoder { .. } => ("decoder", String::new()),
            Kind::Codec { quality } => ("codec", quality.to_string()),
        };
        let cells = [
            compared.name.clone(),
            compared.original.width().to_string(),
            compared.original.height().to_string(),
            compared.encoder.clone().unwrap_or_default(),
            compared.latent_space.clone(),
            contender.name.clone(),
            kind.to_owned(),
            setting,
            contender.bytes.to_string(),
            contender.bits_per_pixel.to_string(),
            quality.psnr.to_string(),
            number(quality.ssim),
            number(quality.ms_ssim),
            number(quality.ssimulacra2),
            format!("{:.6}", contender.time.as_secs_f64()),
        ];
        cells.map(|cell| quoted(&cell)).join(",") + "\r\n"
    };
    compared.contenders.iter().map(line).collect()
}

/// A cell as RFC 4180 has it.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_quotes_and_line_breaks_are_quoted() {
        for (cell, written) in [
            ("cat", "cat"),
            ("", ""),
            ("cats, two", "\"cats, two\""),
            ("the \"cat\"", "\"the \"\"cat\"\"\""),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(quoted(cell), written);
        }
    }

    #[test]
    fn what_does_not_apply_is_none_and_equal_images_are_said_to_be() {
        assert_eq!(shown(Some(23.456), 2), "23.46");
        assert_eq!(shown(Some(f64::INFINITY), 2), "equal");
        assert_eq!(shown(None, 2), "none");
    }
}
