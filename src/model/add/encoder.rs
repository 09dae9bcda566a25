//! How the encoder in somebody's ONNX file is used: its layout, its range, its mean.
//!
//! Invariant: what is taken for the mean came out finite and twice the same, for pictures of two shapes, with the
//! channels of the latent space at one power of two.

use super::choose::{self, Chosen, Known};
use super::files::Graph;
use super::inspect::{self, Facts, Port};
use super::options::BYTES;
use super::sampling::{Flow, Mean};
use super::trial::{self, Trial};
use super::{AddOptions, EXPORT_THE_MEAN, Found, Half, Setting};
use crate::error::{Error, Result};
use crate::model::onnx::{foreign, proto, shown};
use crate::model::session::Output;
use crate::model::spec::{Element, LatentTensor, Layout, ModelHalf, PixelTensor};

/// Sides of the test pictures: multiples of this, or of the ratio if that is larger.
const UNIT: u32 = 32;

/// Finds out how the encoder in `graph` is used, and puts it into the model's folder.
pub(super) fn find(graph: &Graph, setting: &mut Setting<'_>) -> Result<Found> {
    let options = setting.options;
    let facts = &graph.facts;
    let input = inspect::input(facts, Half::Encoder)?;
    let element = input.element().unwrap_or(Element::F32);
    let range = match element {
        Element::U8 => BYTES,
        _ => options.float_range(input)?,
    };
    let tensor = |layout| PixelTensor {
        name: input.name.clone(),
        element,
        layout,
        range,
    };
    let layouts = layouts(input, options)?.into_iter();
    let candidates: Vec<_> = layouts.map(tensor).collect();
    let flow = Flow::of(&graph.model, &input.name);
    let mean = inner_mean(&flow, facts)?;

    let staged = graph.stage(setting.folder, Half::Encoder)?;
    if let Some(mean) = &mean {
        staged.append(&more_output(facts, mean, None))?;
    }
    let mut trial = Trial::load(setting.runtime, &staged.path, Half::Encoder)?;
    let unit = options.ratio.unwrap_or(UNIT).max(UNIT);
    let sizes = [(2 * unit, unit), (unit, 3 * unit)];
    let (pixels, first) = first_run(&mut trial, &candidates, sizes[0])?;
    let known = Known {
        facts,
        flow: &flow,
        mean: mean.as_ref(),
        channels: setting.channels,
        size: sizes[0],
    };
    let chosen = known.choose(&first)?;
    let name = &chosen.output.name;
    let mut again = |outputs: Option<Vec<Output>>, size: (u32, u32)| -> Result<Output> {
        let picture = trial::picture(size.0, size.1)?;
        let picture = trial::picture_input(&pixels, &picture);
        let outputs = match outputs {
            Some(outputs) => outputs,
            None => trial
                .run(&picture)
                .map_err(|e| inspect::runs_on_one(e, input, sides(pixels.layout)))?,
        };
        trial.settled(outputs, &picture, name)
    };
    again(Some(first), sizes[0])?;
    let second = again(None, sizes[1])?;
    let [rows, columns] = [sizes[1].1, sizes[1].0].map(|side| i64::from(side / chosen.ratio));
    let expected = [1, chosen.output.shape[1], rows, columns];
    if second.shape != expected {
        let wanted = format!("{expected:?}, as it was for another size");
        return Err(choose::wrong_shape(&[second], sizes[1], &wanted));
    }
    drop(trial);

    let taken = mean.as_ref().filter(|mean| mean.value == *name);
    let last = taken.map(|mean| more_output(facts, mean, Some(&chosen)));
    staged.append(&last.unwrap_or_default())?;
    setting.notes.push(format!(
        "the encoder takes pixels as {input} and gives {}",
        describe(&chosen, facts)
    ));
    setting.notes.extend(sample_note(&flow, taken));
    let scaled = options.scaled && !taken.is_some_and(|mean| mean.scaled_later);
    Ok(Found {
        channels: chosen.channels,
        ratio: chosen.ratio,
        fingerprint: staged.fingerprint,
        half: ModelHalf {
            file: Half::Encoder.file().to_owned(),
            file_f16: None,
            parameters: Some(facts.parameters),
            gflop_512: None,
            max_batch: input.fixed(0).map(|_| 1),
            tiles: None,
            sampler: None,
            pixels,
            latent: LatentTensor {
                name: name.clone(),
                element: chosen.output.element,
                scaled,
                moments: chosen.moments,
            },
        },
    })
}

/// The dimensions of rows and columns.
fn sides(layout: Layout) -> [usize; 2] {
    match layout {
        Layout::Nchw => [2, 3],
        Layout::Nhwc => [1, 2],
    }
}

/// The orders of dimensions that the input may have.
fn layouts(input: &Port, options: &AddOptions) -> Result<Vec<Layout>> {
    let mut layouts = inspect::LAYOUTS.to_vec();
    layouts.retain(|layout| input.may_be(*layout));
    if let [only] = layouts[..] {
        options.check_layout(only, &input.to_string())?;
    }
    layouts.retain(|layout| options.layout.is_none_or(|said| said == *layout));
    let mut refused = None;
    layouts.retain(|layout| {
        let free = inspect::check_free(input, sides(*layout), Half::Encoder);
        let fine = free.is_ok();
        refused = refused.take().or(free.err());
        fine
    });
    match refused.filter(|_| layouts.is_empty()) {
        Some(error) => Err(error),
        None => Ok(layouts),
    }
}

/// The mean inside a graph whose outputs are drawn, if it can be followed.
///
/// # Errors
/// `InvalidInput` with the reason if it can't be, and no output is left that isn't drawn.
fn inner_mean(flow: &Flow<'_>, facts: &Facts) -> Result<Option<Mean>> {
    let Some(random) = flow.random() else {
        return Ok(None);
    };
    let floats = |output: &&Port| {
        output.may_be_rank_4() && matches!(output.element(), Some(Element::F16 | Element::F32))
    };
    let (drawn, settled): (Vec<_>, Vec<_>) = facts
        .outputs
        .iter()
        .filter(floats)
        .partition(|output| flow.is_tainted(&output.name));
    let mut reason = None;
    for output in drawn {
        match flow.mean_of(&output.name) {
            Ok(mean) => {
                inspect::check_name(&mean.value)?;
                return Ok(Some(mean));
            }
            Err(error) => reason = Some(error),
        }
    }
    match reason {
        Some(reason) if settled.is_empty() => Err(Error::invalid(format!(
            "it draws a sample ({random}), another one each time, and {reason}"
        ))
        .with_hint(EXPORT_THE_MEAN)),
        _ => Ok(None),
    }
}

/// What makes `mean` an output, described where it was seen; nothing if it is one.
fn more_output(facts: &Facts, mean: &Mean, seen: Option<&Chosen>) -> Vec<u8> {
    if facts.outputs.iter().any(|output| output.name == mean.value) {
        return Vec::new();
    }
    let described = seen.map(|chosen| match chosen.output.element {
        Element::F16 => (proto::element::F16, chosen.channels),
        _ => (proto::element::F32, chosen.channels),
    });
    foreign::more_output(&mean.value, described)
}

/// Runs the graph in each layout that it may have; only one may work.
fn first_run(
    trial: &mut Trial,
    candidates: &[PixelTensor],
    size: (u32, u32),
) -> Result<(PixelTensor, Vec<Output>)> {
    let picture = trial::picture(size.0, size.1)?;
    let mut worked = Vec::new();
    let mut failed = None;
    for pixels in candidates {
        match trial.run(&trial::picture_input(pixels, &picture)) {
            Ok(outputs) => worked.push((pixels.clone(), outputs)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match (worked.pop(), worked.is_empty(), failed) {
        (Some(one), true, _) => Ok(one),
        (None, _, Some(error)) => Err(error),
        _ => Err(
            Error::invalid("its input takes pixels in either order of dimensions")
                .with_hint("say which it is with --layout nchw or --layout nhwc"),
        ),
    }
}

fn describe(chosen: &Chosen, facts: &Facts) -> String {
    let port = chosen.output.declared(&facts.outputs);
    if chosen.moments {
        format!("{port}, mean and log-variance, of which the mean is kept")
    } else {
        port.to_string()
    }
}

fn sample_note(flow: &Flow<'_>, taken: Option<&Mean>) -> Option<String> {
    let random = flow.random()?;
    let taken = match taken {
        Some(mean) if mean.scaled_later => format!(
            "the mean inside the graph, {}, is kept instead, which is not scaled, unlike the sample",
            shown(&mean.value)
        ),
        Some(mean) => format!(
            "the mean inside the graph, {}, is kept instead",
            shown(&mean.value)
        ),
        None => "an output that doesn't depend on it is kept instead".to_owned(),
    };
    Some(format!("the encoder draws a sample ({random}): {taken}"))
}
