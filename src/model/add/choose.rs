//! Which of an encoder's outputs is the posterior mean.
//!
//! Invariant: where shapes, names and the graph leave a choice, the answer is an error that lists it.

use super::inspect::{self, Facts};
use super::sampling::{Flow, Mean};
use super::trial;
use super::{EXPORT_THE_MEAN, ratio};
use crate::error::{Error, Result};
use crate::model::onnx::shown;
use crate::model::session::Output;
use crate::model::spec::Element;

/// Words in the names of outputs that hold the mean; the mode of a normal distribution is its mean.
const MEANS: [&str; 3] = ["mean", "mode", "mu"];

/// Words in the names of outputs that hold no mean, though they have its shape.
const SPREADS: [&str; 5] = ["logvar", "sigma", "std", "var", "variance"];

/// The value that is taken for the mean.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) output: Output,
    /// Channels of the latent.
    pub(super) channels: u32,
    /// Whether the output has twice as many: means, then the logarithms of the variances.
    pub(super) moments: bool,
    pub(super) ratio: u32,
}

/// What is known before the choice.
pub(super) struct Known<'a> {
    pub(super) facts: &'a Facts,
    pub(super) flow: &'a Flow<'a>,
    /// Inside the graph.
    pub(super) mean: Option<&'a Mean>,
    /// Channels of the latent.
    pub(super) channels: Option<u32>,
    /// Width and height of the picture that was encoded.
    pub(super) size: (u32, u32),
}

impl Known<'_> {
    /// The mean among what a run gave.
    pub(super) fn choose(&self, outputs: &[Output]) -> Result<Chosen> {
        let fits: Vec<Chosen> = outputs.iter().filter_map(|one| self.fit(one)).collect();
        let only = |test: &dyn Fn(&Chosen) -> bool| {
            let mut found = fits.iter().filter(|chosen| test(chosen));
            found.next().filter(|_| found.next().is_none())
        };
        let settled = self.flow.random().is_none();
        let chosen = only(&|_| settled)
            .or_else(|| only(&|one| one.moments))
            .or_else(|| only(&|one| says(&one.output.name, &MEANS)))
            .or_else(|| only(&|one| settled && !says(&one.output.name, &SPREADS)))
            .or_else(|| only(&|one| self.is_inner(&one.output.name)));
        let Some(chosen) = chosen else {
            return Err(self.none_of(outputs, &fits));
        };
        // A mean that noise is added to has the channels of what comes out.
        let ambiguous = self.channels.is_none() && !self.is_inner(&chosen.output.name);
        if ambiguous && chosen.channels.is_multiple_of(2) {
            return Err(half_or_whole(chosen));
        }
        Ok(chosen.clone())
    }

    fn is_inner(&self, name: &str) -> bool {
        self.mean.is_some_and(|mean| mean.value == name)
    }

    /// `output` as a latent, if it may be one.
    fn fit(&self, output: &Output) -> Option<Chosen> {
        if output.element == Element::U8 || self.flow.is_tainted(&output.name) {
            return None;
        }
        let [1, found, rows, columns] = output.shape[..] else {
            return None;
        };
        let ratio = ratio(self.size, (columns, rows))?;
        let found = u32::try_from(found).ok().filter(|found| *found > 0)?;
        let is = |times| {
            self.channels
                .is_none_or(|channels| found == times * channels)
        };
        let moments = self.channels.is_some() && is(2);
        (moments || is(1)).then(|| Chosen {
            output: output.clone(),
            channels: if moments { found / 2 } else { found },
            moments,
            ratio,
        })
    }

    fn none_of(&self, outputs: &[Output], fits: &[Chosen]) -> Error {
        if fits.is_empty() {
            let channels = match self.channels {
                Some(channels) => format!("{channels} or {}", 2 * channels),
                None => "C".to_owned(),
            };
            let wanted = format!("[1, {channels}, H/f, W/f] with a power of two f");
            return wrong_shape(outputs, self.size, &wanted);
        }
        let what = format!(
            "which of its outputs is the posterior mean can't be told: it has {}",
            inspect::listed(&self.facts.outputs)
        );
        Error::invalid(what).with_hint(EXPORT_THE_MEAN)
    }
}

fn half_or_whole(chosen: &Chosen) -> Error {
    let (whole, half) = (chosen.channels, chosen.channels / 2);
    Error::invalid(format!(
        "its output {} has {whole} channels: whether that is a latent, or mean and variance of one of {half}, can't be known",
        shown(&chosen.output.name)
    ))
    .with_hint(format!(
        "say it with --latent-channels {whole} or --latent-channels {half}"
    ))
}

/// Whether one of `words` is a word of `name`: "mode" is none of "model".
fn says(name: &str, words: &[&str]) -> bool {
    let name = name.to_lowercase();
    let mut parts = name.split(|c: char| !c.is_alphanumeric());
    parts.any(|part| words.contains(&part))
}

/// What an encoder gave that is no latent.
pub(super) fn wrong_shape(outputs: &[Output], (width, height): (u32, u32), wanted: &str) -> Error {
    Error::invalid(format!(
        "for {width}x{height} pixels it gives {}, and a latent is {wanted}",
        trial::listed(outputs)
    ))
}
