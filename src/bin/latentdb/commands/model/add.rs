//! `latentdb model add`: ONNX files that were exported elsewhere become a model.

use std::path::PathBuf;

use clap::ValueHint;
use latentdb::{AddOptions, Layout};

use super::import::{About, said};
use crate::context::Context;
use crate::progress::with_spinner;
use crate::report::Failure;

/// Make a model of ONNX files that were exported elsewhere
///
/// Inputs and outputs are read from the files, and tried on small pictures; what a file can't tell
/// is asked for. An encoder that draws a sample gives its mean instead, where its graph has it.
/// What was read, seen and taken for granted is said on stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb model add --name mine --latent-space sd-v1 --encoder e.onnx --decoder d.onnx --input-range -1,1
  latentdb model add --name reader --latent-space sdxl --decoder taesdxl_decoder.onnx --input-range 0,1 --scaled")]
pub(crate) struct Add {
    /// The model's name
    #[arg(long)]
    name: String,
    /// The latent space: sd-v1, sdxl, sd3, flux1, flux2 or a name of your own
    #[arg(long, value_name = "NAME")]
    latent_space: String,
    /// The graph that turns pixels into latents
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present = "decoder")]
    encoder: Option<PathBuf>,
    /// The graph that turns latents into pixels
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    decoder: Option<PathBuf>,
    /// What black and white are, where pixels are floats: -1,1 for Stable Diffusion, 0,1 for TAESD
    #[arg(long, value_name = "LOW,HIGH", value_parser = parse_range, allow_hyphen_values = true)]
    input_range: Option<[f32; 2]>,
    /// The order of dimensions of pixels, where it isn't clear: nchw or nhwc
    #[arg(long, value_parser = parse_layout)]
    layout: Option<Layout>,
    /// The graphs' latents are (latent - shift) * scaling
    #[arg(long)]
    scaled: bool,
    /// Channels of the latent, for a latent space that isn't widely known
    #[arg(long, value_name = "N")]
    latent_channels: Option<u32>,
    /// Pixels a latent cell covers along each side [default: what a trial shows]
    #[arg(long, value_name = "N")]
    ratio: Option<u32>,
    #[command(flatten)]
    about: About,
}

fn parse_range(text: &str) -> Result<[f32; 2], String> {
    match text
        .split_once(',')
        .map(|(low, high)| (low.trim().parse(), high.trim().parse()))
    {
        Some((Ok(low), Ok(high))) => Ok([low, high]),
        _ => Err("a range is LOW,HIGH, such as -1,1".into()),
    }
}

fn parse_layout(text: &str) -> Result<Layout, String> {
    text.parse().map_err(|e: latentdb::Error| e.to_string())
}

pub(crate) fn run(context: &Context, command: &Add) -> Result<(), Failure> {
    let options = AddOptions {
        name: command.name.clone(),
        latent_space: command.latent_space.clone(),
        encoder: command.encoder.clone(),
        decoder: command.decoder.clone(),
        latent_channels: command.latent_channels,
        ratio: command.ratio,
        input_range: command.input_range,
        layout: command.layout,
        scaled: command.scaled,
        factors: command.about.factors(),
        license: command.about.license.clone(),
        source: command.about.source.clone(),
        replace: command.about.replace,
    };
    let (models, runtime) = (context.models()?, context.hub.runtime()?);
    let added = with_spinner("trying the graphs", || models.add(runtime, &options))?;
    for note in &added.notes {
        eprintln!("note: {note}");
    }
    said("added", &added.spec);
    Ok(())
}
