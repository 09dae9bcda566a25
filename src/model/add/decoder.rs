//! How the decoder in somebody's ONNX file is used: which output is the picture, in which layout and range.
//!
//! Invariant: what is taken for the picture came out finite and twice the same, for latents of two shapes, at one
//! power of two.

use super::files::Graph;
use super::inspect;
use super::options::BYTES;
use super::sampling::Flow;
use super::trial::{self, Trial};
use super::{Found, Half, Setting, ratio};
use crate::error::{Error, Result};
use crate::model::onnx::shown;
use crate::model::session::Output;
use crate::model::spec::{Element, LatentTensor, Layout, ModelHalf, PixelTensor};

/// Columns and rows of the test latents.
const SIZES: [(u32, u32); 2] = [(8, 4), (4, 12)];

/// Dimensions of rows and columns of a latent.
const SIDES: [usize; 2] = [2, 3];

/// Channels of the decoder's latent, if the file says.
pub(super) fn declared_channels(graph: &Graph) -> Result<Option<u32>> {
    let input = inspect::input(&graph.facts, Half::Decoder)?;
    let Some(number) = input.fixed(1) else {
        return Ok(None);
    };
    let plausible = u32::try_from(number)
        .ok()
        .filter(|n| (1..=1024).contains(n));
    let channels = plausible.ok_or_else(|| {
        Error::invalid(format!(
            "its input {input} has an impossible number of channels"
        ))
    })?;
    Ok(Some(channels))
}

/// Finds out how the decoder in `graph` is used, and puts it into the model's folder.
pub(super) fn find(graph: &Graph, setting: &mut Setting<'_>) -> Result<Found> {
    let options = setting.options;
    let facts = &graph.facts;
    let input = inspect::input(facts, Half::Decoder)?;
    inspect::check_free(input, SIDES, Half::Decoder)?;
    let element = input.element().unwrap_or(Element::F32);
    let channels = setting.channels.ok_or_else(|| {
        Error::invalid(format!(
            "its input {input} doesn't say how many channels a latent has"
        ))
        .with_hint("say it with --latent-channels")
    })?;
    if let Some(declared) = declared_channels(graph)?.filter(|declared| *declared != channels) {
        return Err(Error::invalid(format!(
            "its latents have {declared} channels where {channels} are expected"
        )));
    }
    // Said before the trial where the file leaves no doubt.
    if let [output] = &facts.outputs[..]
        && matches!(output.element(), Some(Element::F16 | Element::F32))
    {
        options.float_range(output)?;
    }
    let flow = Flow::of(&graph.model, &input.name);

    let staged = graph.stage(setting.folder, Half::Decoder)?;
    let mut trial = Trial::load(setting.runtime, &staged.path, Half::Decoder)?;
    let latent =
        |(width, height)| trial::latent_input(&input.name, element, (channels, height, width));
    let outputs = trial.run(&latent(SIZES[0]))?;
    let fits = outputs
        .iter()
        .filter(|output| !flow.is_tainted(&output.name));
    let fits: Vec<_> = fits
        .filter_map(|output| picture(output, SIZES[0]))
        .collect();
    let (layout, factor, output) = match &fits[..] {
        [one] => *one,
        [] => return Err(no_picture(&outputs, SIZES[0], flow.random())),
        _ => {
            let what = "it has more than one output that may be the picture";
            return Err(
                Error::invalid(format!("{what}: {}", inspect::listed(&facts.outputs)))
                    .with_hint("export it with one output"),
            );
        }
    };
    let seen = format!("{} {:?}", shown(&output.name), output.shape);
    options.check_layout(layout, &seen)?;
    let output = output.clone();
    let name = output.name.as_str();
    trial.settled(outputs, &latent(SIZES[0]), name)?;
    let outputs = trial.run(&latent(SIZES[1]));
    let outputs = outputs.map_err(|e| inspect::runs_on_one(e, input, SIDES))?;
    let second = trial.settled(outputs, &latent(SIZES[1]), name)?;
    let found = picture(&second, SIZES[1]).map(|(layout, factor, _)| (layout, factor));
    if found != Some((layout, factor)) {
        return Err(no_picture(&[second], SIZES[1], None));
    }
    drop(trial);

    let range = match output.element {
        Element::U8 => BYTES,
        _ => options.float_range(&output.port())?,
    };
    setting.notes.push(format!(
        "the decoder takes a latent as {input} and gives {}",
        output.declared(&facts.outputs)
    ));
    Ok(Found {
        channels,
        ratio: factor,
        fingerprint: staged.fingerprint,
        half: ModelHalf {
            file: Half::Decoder.file().to_owned(),
            file_f16: None,
            parameters: Some(facts.parameters),
            gflop_512: None,
            max_batch: input.fixed(0).map(|_| 1),
            tiles: None,
            sampler: None,
            pixels: PixelTensor {
                name: output.name.clone(),
                element: output.element,
                layout,
                range,
            },
            latent: LatentTensor {
                name: input.name.clone(),
                element,
                scaled: options.scaled,
                moments: false,
            },
        },
    })
}

/// `output` as the picture of a latent of `size`, if it may be one: its layout, and pixels a cell.
fn picture(output: &Output, (width, height): (u32, u32)) -> Option<(Layout, u32, &Output)> {
    let (layout, rows, columns) = match output.shape[..] {
        [1, 3, rows, columns] => (Layout::Nchw, rows, columns),
        [1, rows, columns, 3] => (Layout::Nhwc, rows, columns),
        _ => return None,
    };
    let size = (u32::try_from(columns).ok()?, u32::try_from(rows).ok()?);
    let factor = ratio(size, (width.into(), height.into()))?;
    Some((layout, factor, output))
}

fn no_picture(outputs: &[Output], (width, height): (u32, u32), random: Option<&str>) -> Error {
    if let Some(random) = random {
        return Error::invalid(format!(
            "it draws random numbers ({random}): what is read twice would be two pictures"
        ));
    }
    Error::invalid(format!(
        "for a latent of {width}x{height} cells it gives {}, and a picture is [1, 3, H, W] or [1, H, W, 3] with sides that are one power of two times those of the latent",
        trial::listed(outputs)
    ))
}
