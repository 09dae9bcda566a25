//! `latentdb info`: all that a record knows of its image, and what it costs.

use latentdb::{ChannelError, Entry, Exif, Position, RecordId, Tiling};
use serde_json::{Value, json};

use crate::args::parse_id;
use crate::context::Context;
use crate::output;
use crate::report::Failure;

/// Show what is known of a record
///
/// With --json one object: the keys of `ls --json`, and latent_bytes (raw f16), rgb_bytes (raw
/// RGB), ratio_to_rgb, ratio_to_source, source (name, format, bytes, blake3), the decoder that
/// quality was measured with, preparation, tiling (size, overlap), exif (taken, camera, orientation,
/// position), tags, latent_error (max_abs and rms of each channel, or null), computed, created (milliseconds since 1970 UTC).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  latentdb info cat\n  latentdb info cat --json | jq .bits_per_pixel"
)]
pub(crate) struct Info {
    /// The record's id
    #[arg(value_parser = parse_id)]
    id: RecordId,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(context: &Context, command: &Info) -> Result<(), Failure> {
    let entry = context.open_read_only()?.store().header(&command.id)?;
    if command.json {
        return output::line(&to_json(&entry).to_string());
    }
    output::line(&to_text(&entry))
}

fn rgb_bytes(entry: &Entry) -> u64 {
    3 * u64::from(entry.header.width) * u64::from(entry.header.height)
}

fn to_json(entry: &Entry) -> Value {
    let header = &entry.header;
    let stored = entry.stored_bytes;
    let source = header.source.as_ref();
    let ratio = |whole| output::ratio(whole, stored).map(|r| output::rounded(r, 3));
    let mut value = output::header_json(header, stored, entry.bits_per_pixel());
    value["latent_bytes"] = json!(header.shape.byte_len());
    value["rgb_bytes"] = json!(rgb_bytes(entry));
    value["ratio_to_rgb"] = json!(ratio(rgb_bytes(entry)));
    value["ratio_to_source"] = json!(source.map(|s| ratio(s.bytes)));
    value["source"] = json!(source.map(|s| json!({
        "name": s.name,
        "format": some_text(&s.format),
        "bytes": s.bytes,
        "blake3": output::hex(&s.blake3),
    })));
    if let Some(measured) = &header.measured {
        value["quality"]["decoder"] = json!(measured.decoder);
    }
    value["preparation"] = json!(header.preparation);
    value["tiling"] = json!(header.tiling.map(|tiling| json!({
        "size": tiling.size,
        "overlap": tiling.overlap,
    })));
    let exif = &header.exif;
    value["exif"] = json!({
        "taken": some_text(&exif.taken),
        "camera": some_text(&exif.camera),
        "orientation": (exif.orientation != 0).then_some(exif.orientation),
        "position": exif.position.map(|place| [place.latitude, place.longitude]),
    });
    let tags = header.tags.iter();
    let tags = tags.map(|(key, value)| (key.to_owned(), json!(value)));
    let errors = header.latent_error.iter();
    let errors = errors.map(|error| json!({ "max_abs": error.max_abs, "rms": error.rms }));
    let errors: Vec<_> = errors.collect();
    value["latent_error"] = json!((!errors.is_empty()).then_some(errors));
    value["tags"] = Value::Object(tags.collect());
    value["computed"] = json!(header.encoder.as_ref().map(|e| &e.computed));
    value["created"] = json!(header.created_ms);
    value
}

fn some_text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn to_text(entry: &Entry) -> String {
    let header = &entry.header;
    let stored = entry.stored_bytes;
    let times = |whole, of: &str| {
        let ratio = output::ratio(whole, stored);
        ratio
            .map(|r| format!(", {r:.1} x less than {of}"))
            .unwrap_or_default()
    };
    let mut lines = vec![
        ("id", header.id.to_string()),
        (
            "image",
            format!(
                "{}x{} pixels{}",
                header.width,
                header.height,
                if header.alpha { " with alpha" } else { "" }
            ),
        ),
        (
            "latent",
            format!(
                "{} f16 in `{}`, {} raw",
                header.shape,
                header.latent_space,
                output::bytes(header.shape.byte_len())
            ),
        ),
    ];
    if let Some(encoder) = &header.encoder {
        let computed = match encoder.computed.as_str() {
            "" => String::new(),
            computed => format!(", computed in {computed}"),
        };
        lines.push(("encoder", format!("{encoder}{computed}")));
    }
    lines.push(("coding", header.coding.to_string()));
    if !header.latent_error.is_empty() {
        let largest =
            |of: fn(&ChannelError) -> f32| header.latent_error.iter().map(of).fold(0.0, f32::max);
        let (max_abs, rms) = (largest(|error| error.max_abs), largest(|error| error.rms));
        let moved = format!("values moved by at most {max_abs:.4}, RMS {rms:.4}, in any channel");
        lines.push(("loss", moved));
    }
    lines.push((
        "stored",
        format!(
            "{}, {:.3} bits per pixel{}",
            output::bytes(stored),
            entry.bits_per_pixel(),
            times(rgb_bytes(entry), "raw RGB")
        ),
    ));
    if let Some(source) = &header.source {
        let less = times(source.bytes, "the source");
        lines.push((
            "source",
            format!(
                "{}, {}{}{less}",
                source.name,
                some_text(&source.format)
                    .map(|f| format!("{f}, "))
                    .unwrap_or_default(),
                output::bytes(source.bytes)
            ),
        ));
        lines.push(("blake3", output::hex(&source.blake3)));
    }
    if header.original {
        let what = "kept beside the latent: get gives it back unless a decoder is named";
        lines.push(("original", what.to_owned()));
    }
    if let Some(measured) = &header.measured {
        let quality = output::quality(&measured.quality);
        lines.push(("quality", format!("{quality}, by `{}`", measured.decoder)));
    }
    if !header.preparation.is_empty() {
        lines.push(("prepared", header.preparation.clone()));
    }
    if let Some(tiling) = header.tiling {
        let Tiling { size, overlap } = tiling;
        lines.push((
            "tiles",
            format!("of {size} pixels, overlapping by {overlap}"),
        ));
    }
    lines.extend(photograph(&header.exif));
    for (key, value) in header.tags.iter() {
        lines.push(("tag", format!("{key}={}", value.escape_debug())));
    }
    let line = |(name, value)| format!("{name:<9}{value}");
    lines.into_iter().map(line).collect::<Vec<_>>().join(
        "
",
    )
}

/// What the camera wrote, as far as it did.
fn photograph(exif: &Exif) -> Vec<(&'static str, String)> {
    let turned = match exif.orientation {
        0 | 1 => String::new(),
        number => format!("{number} as read, now upright"),
    };
    let place = |Position {
                     latitude,
                     longitude,
                 }| {
        let (ns, ew) = (
            if latitude < 0.0 { 'S' } else { 'N' },
            if longitude < 0.0 { 'W' } else { 'E' },
        );
        format!("{:.6} {ns}, {:.6} {ew}", latitude.abs(), longitude.abs())
    };
    let mut lines = vec![
        ("taken", exif.taken.clone()),
        ("camera", exif.camera.clone()),
        ("oriented", turned),
        ("place", exif.position.map(place).unwrap_or_default()),
    ];
    lines.retain(|(_, text)| !text.is_empty());
    lines
}
