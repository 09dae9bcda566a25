//! What people say of ONNX files: what can't be read from them, and what is checked against them.
//!
//! Invariant: what is said never overrules what a file shows; where the two disagree, both are named.

use std::path::PathBuf;

use super::inspect::Port;
use crate::error::{Error, Result};
use crate::model::import::space;
use crate::model::spec::{Element, Layout, ModelSpec};
use crate::record::check_name;
use crate::spaces;

/// What black and white are where pixels are bytes.
pub(super) const BYTES: [f32; 2] = [0.0, 255.0];

/// What can't be known from ONNX files, or is to be checked against them.
#[derive(Debug, Clone, Default)]
pub struct AddOptions {
    /// The model's name.
    pub name: String,
    /// Its latent space.
    pub latent_space: String,
    /// The ONNX file that turns pixels into latents.
    pub encoder: Option<PathBuf>,
    /// The ONNX file that turns latents into pixels.
    pub decoder: Option<PathBuf>,
    /// Channels of the latent; `None` for those of a widely known space, or of the decoder's input.
    pub latent_channels: Option<u32>,
    /// Pixels a latent cell covers along each side; `None` for what a trial shows.
    pub ratio: Option<u32>,
    /// What black and white are to graphs whose pixels are floats; for bytes it is always 0 and 255.
    pub input_range: Option<[f32; 2]>,
    /// The order of dimensions of pixels; `None` for what the files and a trial show.
    pub layout: Option<Layout>,
    /// Whether latents are `(latent - shift_factor) * scaling_factor` in the files.
    pub scaled: bool,
    /// `scaling_factor` and `shift_factor` of a latent space that isn't widely known.
    pub factors: Option<(f64, f64)>,
    /// Licence of the weights.
    pub license: Option<String>,
    /// Where the files come from; `None` for their paths.
    pub source: Option<String>,
    /// Whether a model of the same name may be replaced.
    pub replace: bool,
}

impl AddOptions {
    /// Refuses what can't be whatever the files are, and returns the channels of a latent, if they are known.
    pub(super) fn check(&self) -> Result<Option<u32>> {
        check_name("latent space", &self.latent_space)?;
        if self.encoder.is_none() && self.decoder.is_none() {
            return Err(Error::invalid("a model needs an encoder or a decoder")
                .with_hint("name the ONNX files with --encoder and --decoder"));
        }
        if let Some(ratio) = self.ratio.filter(|n| !n.is_power_of_two() || *n > 256) {
            return Err(Error::invalid(format!(
                "the ratio {ratio} is no power of two up to 256"
            )));
        }
        if let Some(channels) = self.latent_channels.filter(|n| !(1..=1024).contains(n)) {
            return Err(Error::invalid(format!(
                "a latent of {channels} channels can't be: 1 to 1024"
            )));
        }
        if let Some([low, high]) = self.input_range {
            let span = high - low;
            if !low.is_finite() || !high.is_finite() || !span.is_normal() {
                return Err(Error::invalid(format!(
                    "{low} and {high} can't be black and white"
                )));
            }
        }
        let known = spaces::known(&self.latent_space).map(|space| space.channels);
        let channels = self.latent_channels.or(known);
        // Fails now rather than after the trial where name, channels and factors contradict each other.
        let shape = (
            u64::from(channels.unwrap_or(1)),
            self.ratio.map_or(spaces::RATIO, u64::from),
        );
        space::choose(shape, None, Some(&self.latent_space), self.factors)?;
        Ok(channels)
    }

    /// What black and white are to `port`, which holds floats.
    pub(super) fn float_range(&self, port: &Port) -> Result<[f32; 2]> {
        self.input_range.ok_or_else(|| {
            Error::invalid(format!(
                "what black and white are to {port} can't be known from the file"
            ))
            .with_hint("say it with --input-range: -1,1 for exports of Stable Diffusion, SDXL, SD3 and FLUX from diffusers; 0,1 for TAESD and its kin")
        })
    }

    /// Refuses the `layout` that a graph's `seen` input or output has, if another was said.
    pub(super) fn check_layout(&self, layout: Layout, seen: &str) -> Result<()> {
        match self.layout {
            Some(said) if said != layout => Err(Error::invalid(format!(
                "it has pixels as {layout}, in {seen}, and --layout says {said}"
            ))),
            _ => Ok(()),
        }
    }

    /// The one number of channels and the one ratio that both halves have.
    pub(super) fn agree(&self, halves: &[(u32, u32)]) -> Result<(u32, u32)> {
        let said = |(channels, ratio): (u32, u32)| format!("{channels} channels at f{ratio}");
        let [first, rest @ ..] = halves else {
            return Err(Error::invalid("a model needs an encoder or a decoder"));
        };
        if let Some(other) = rest.iter().find(|other| *other != first) {
            return Err(Error::invalid(format!(
                "the encoder's latents have {}, and the decoder's have {}",
                said(*first),
                said(*other)
            )));
        }
        match self.ratio {
            Some(said) if said != first.1 => Err(Error::invalid(format!(
                "its latents are f{}, and --ratio says {said}",
                first.1
            ))),
            _ => Ok(*first),
        }
    }

    /// Refuses a range that is said of pixels that are bytes.
    pub(super) fn check_range(&self, spec: &ModelSpec) -> Result<()> {
        let halves = [&spec.encoder, &spec.decoder].into_iter().flatten();
        let mut bytes = halves.map(|half| half.pixels.element == Element::U8);
        let is_byte = |range: [f32; 2]| range.map(f32::to_bits) == BYTES.map(f32::to_bits);
        match self.input_range.filter(|range| !is_byte(*range)) {
            Some([low, high]) if bytes.all(|bytes| bytes) => Err(Error::invalid(format!(
                "pixels are bytes, from 0 to 255, and --input-range says {low} to {high}"
            ))),
            _ => Ok(()),
        }
    }

    /// What `spec` says only because these options do.
    pub(super) fn assumed(&self, spec: &ModelSpec) -> Vec<String> {
        let mut notes = vec![format!(
            "its latents, {} channels at f{}, are those of `{}`, as --latent-space says: a file can't tell",
            spec.latent_channels, spec.spatial_compression_ratio, spec.latent_space
        )];
        let halves = [&spec.encoder, &spec.decoder].into_iter().flatten();
        let floats = halves.map(|half| &half.pixels);
        if let Some(pixels) = { floats }.find(|pixels| pixels.element != Element::U8) {
            let [low, high] = pixels.range;
            notes.push(format!(
                "black is {low} and white {high}, as --input-range says: a file can't tell"
            ));
        }
        let scaled = if self.scaled {
            "latents are taken as scaled, as --scaled says: a file can't tell"
        } else {
            "latents are taken as unscaled, which a file can't tell: --scaled says that they are (latent - shift) * scaling"
        };
        notes.push(scaled.to_owned());
        notes
    }

    /// Where the files are.
    pub(super) fn paths(&self) -> String {
        let paths = [&self.encoder, &self.decoder].into_iter().flatten();
        let paths: Vec<_> = paths.map(|path| path.display().to_string()).collect();
        paths.join(", ")
    }
}
