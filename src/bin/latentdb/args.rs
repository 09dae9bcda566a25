//! The arguments that every command shares.

use std::num::NonZero;
use std::path::PathBuf;

use clap::{Parser, ValueHint};
use latentdb::{Precision, Provider, RecordId, TilePolicy};

use crate::commands::Command;

/// A latent image storage database.
///
/// Images go in through a VAE encoder; what is kept is the latent, compressed, under an id of your
/// choice. A decoder turns it back into an image of exactly the same size.
#[derive(Debug, Parser)]
#[command(name = "latentdb", version, propagate_version = true, after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLE: &str = "\
Examples:
  latentdb runtime install          once, if ONNX Runtime isn't there
  latentdb put cat cat.jpg
  latentdb get cat -o cat-back.png
  latentdb info cat";

const GLOBAL: &str = "Global options";

/// Flags that may stand before or after the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// The store's folder [default: `store` in the user's data folder]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "PATH", env = "LATENTDB_PATH", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub(crate) db: Option<PathBuf>,
    /// What runs the models: auto, cpu, cuda or cuda:N
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "PROVIDER", default_value = "auto", value_parser = parse_provider)]
    pub(crate) provider: Provider,
    /// What models compute in: f32, or f16 with a second run in f32 where it overflows [default: f16 on GPUs]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "f32|f16", value_parser = parse_precision)]
    pub(crate) precision: Option<Precision>,
    /// Threads that a model uses on the CPU [default: one a core]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "N")]
    pub(crate) threads: Option<NonZero<u16>>,
    /// Run models over tiles of an image: auto (where it would take more than --memory), off, N or N:OVERLAP in pixels
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "TILES", default_value = "auto", value_parser = parse_tile)]
    pub(crate) tile: TilePolicy,
    /// What running a model on the CPU may take, such as 800M or 2GiB, before images are cut into tiles [default: 4GiB]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory: Option<u64>,
    /// The folder of models [default: `models` in the user's data folder]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "PATH", env = "LATENTDB_MODELS", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub(crate) models: Option<PathBuf>,
    /// The library of ONNX Runtime, or the folder it lies in
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Leave the space of what was replaced or removed alone until `compact` is run
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) no_auto_compact: bool,
    /// Say on stderr what is done, and on which execution provider
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub(crate) verbose: bool,
}

/// Checks an id while arguments are parsed, so that a bad one is a usage error.
pub(crate) fn parse_id(text: &str) -> Result<RecordId, String> {
    RecordId::new(text).map_err(|e| e.to_string())
}

fn parse_precision(text: &str) -> Result<Precision, String> {
    text.parse().map_err(|e: latentdb::Error| e.to_string())
}

fn parse_provider(text: &str) -> Result<Provider, String> {
    text.parse().map_err(|e: latentdb::Error| e.to_string())
}

fn parse_tile(text: &str) -> Result<TilePolicy, String> {
    text.parse().map_err(|e: latentdb::Error| e.to_string())
}

/// A number of bytes, with a decimal or binary unit: `800M`, `1.5GB`, `2GiB`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let unit: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => 0,
    };
    let number = number.parse::<f64>().ok().filter(|_| unit > 0);
    let bytes = number.map(|number| number * unit as f64);
    bytes
        .filter(|bytes| (1.0..=1e18).contains(bytes))
        .map(|bytes| bytes as u64)
        .ok_or_else(|| "a number of bytes with a unit: 800M, 1.5GB, 2GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_decimal_and_binary_units() {
        for (text, bytes) in [
            ("1", 1),
            ("800M", 800_000_000),
            ("1.5GB", 1_500_000_000),
            ("2 GiB", 2 << 30),
            ("512mib", 512 << 20),
            ("3k", 3_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "G",
            "0",
            "-1",
            "1.2.3",
            "4 quarts",
            "1e9",
            "99999999999T",
        ] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
