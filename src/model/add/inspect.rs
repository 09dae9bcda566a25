//! What somebody's ONNX file says of its inputs and outputs.
//!
//! Invariant: what is taken for pixels or a latent fits by rank, type and channels, and is the only one that
//! does; otherwise the answer is an error that lists what the file has.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Half;
use crate::error::{Error, Result};
use crate::model::onnx::foreign::Contents;
use crate::model::onnx::proto::{Extent, Model, ValueInfo, element};
use crate::model::onnx::{data, shown};
use crate::model::spec::{Element, Layout};

/// A longer name stands in no manifest.
const MAX_NAME: usize = 512;

/// More inputs or outputs than this are counted, not listed.
const LISTED: usize = 8;

/// The orders of dimensions that pixels come in.
pub(super) const LAYOUTS: [Layout; 2] = [Layout::Nchw, Layout::Nhwc];

/// An input or output of a graph.
#[derive(Debug, Clone)]
pub(super) struct Port {
    pub(super) name: String,
    /// `TensorProto.DataType`; 0 where it is no tensor or the file doesn't say.
    pub(super) data_type: i32,
    /// `None` where the file doesn't say.
    pub(super) dims: Option<Vec<Dim>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Dim {
    Fixed(i64),
    Named(String),
    Unknown,
}

impl Port {
    fn of(info: &ValueInfo) -> Self {
        let tensor = info.value_type.as_ref().and_then(|t| t.tensor.as_ref());
        let dim = |extent: &Option<Extent>| match extent {
            // Some exporters write -1 for a dimension that may be anything.
            Some(Extent::Value(number)) if *number >= 0 => Dim::Fixed(*number),
            Some(Extent::Parameter(name)) if !name.is_empty() => Dim::Named(name.clone()),
            _ => Dim::Unknown,
        };
        let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
        Self {
            name: info.name.clone(),
            data_type: tensor.map_or(0, |tensor| tensor.element),
            dims: shape.map(|shape| shape.dims.iter().map(|d| dim(&d.extent)).collect()),
        }
    }

    /// The type of its values, if it is one that pixels and latents come in.
    pub(super) fn element(&self) -> Option<Element> {
        match self.data_type {
            element::U8 => Some(Element::U8),
            element::F16 => Some(Element::F16),
            element::F32 => Some(Element::F32),
            _ => None,
        }
    }

    /// Whether it has or may have four dimensions.
    pub(super) fn may_be_rank_4(&self) -> bool {
        self.dims.as_ref().is_none_or(|dims| dims.len() == 4)
    }

    /// The number in dimension `at`, if it is fixed.
    pub(super) fn fixed(&self, at: usize) -> Option<i64> {
        match self.dims.as_ref()?.get(at)? {
            Dim::Fixed(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether it may hold pixels in this order: three channels where they belong, as far as is known.
    pub(super) fn may_be(&self, layout: Layout) -> bool {
        let (second, last) = (self.fixed(1), self.fixed(3));
        match layout {
            Layout::Nchw => second == Some(3) || second.is_none() && last != Some(3),
            Layout::Nhwc => last == Some(3) || second.is_none() && last.is_none(),
        }
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ", shown(&self.name), type_name(self.data_type))?;
        let Some(dims) = &self.dims else {
            return f.write_str("of any rank");
        };
        let text = dims.iter().take(LISTED).map(|dim| match dim {
            Dim::Fixed(number) => number.to_string(),
            Dim::Named(name) => shown(name).trim_matches('`').to_owned(),
            Dim::Unknown => "?".into(),
        });
        let more = if dims.len() > LISTED { ", ..." } else { "" };
        write!(f, "[{}{more}]", text.collect::<Vec<_>>().join(", "))
    }
}

fn type_name(data_type: i32) -> String {
    const NAMES: [&str; 17] = [
        "of no tensor type",
        "f32",
        "u8",
        "i8",
        "u16",
        "i16",
        "i32",
        "i64",
        "string",
        "bool",
        "f16",
        "f64",
        "u32",
        "u64",
        "c64",
        "c128",
        "bf16",
    ];
    let name = usize::try_from(data_type).ok().and_then(|n| NAMES.get(n));
    name.map_or_else(|| format!("type {data_type}"), |name| (*name).to_owned())
}

/// Inputs and outputs as a message lists them.
pub(super) fn listed(ports: &[Port]) -> String {
    let mut text: Vec<_> = ports.iter().take(LISTED).map(Port::to_string).collect();
    match ports.len() {
        0 => text.push("none".into()),
        n if n > LISTED => text.push(format!("and {} more", n - LISTED)),
        _ => {}
    }
    text.join(", ")
}

/// What a file says of itself.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    /// Number of weights.
    pub(super) parameters: u64,
    /// Whether most weights are 16-bit floats.
    pub(super) is_f16: bool,
    /// Who wrote the file and for which operators, for the manifest.
    pub(super) config: Value,
}

/// What `model` says of itself.
pub(super) fn facts(model: &Model, contents: &Contents<'_>) -> Result<Facts> {
    let graph = model.graph.as_ref();
    let initializers: HashSet<&str> = graph
        .iter()
        .flat_map(|graph| &graph.initializers)
        .map(|tensor| tensor.name.as_str())
        .collect();
    // Older files list weights among the inputs, as values that a caller may replace.
    let inputs = graph.iter().flat_map(|graph| &graph.inputs);
    let inputs: Vec<_> = inputs
        .filter(|input| !initializers.contains(input.name.as_str()))
        .map(Port::of)
        .collect();
    let outputs = graph.iter().flat_map(|graph| &graph.outputs);
    let outputs: Vec<_> = outputs.map(Port::of).collect();
    for port in inputs.iter().chain(&outputs) {
        check_name(&port.name)?;
    }
    let weights = |f16: bool| -> u64 {
        let tensors = contents.tensors.iter();
        let wanted = tensors.filter(|tensor| !f16 || tensor.data_type == element::F16);
        wanted.filter_map(|tensor| data::parameters(tensor)).sum()
    };
    let opset = model.opset_import.iter();
    let opset = opset.filter(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
    Ok(Facts {
        inputs,
        outputs,
        parameters: weights(false),
        is_f16: weights(true) > weights(false) / 2,
        config: json!({
            "producer": producer(model),
            "ir_version": model.ir_version,
            "opset": opset.map(|set| set.version).max(),
        }),
    })
}

fn producer(model: &Model) -> String {
    let text = format!("{} {}", model.producer_name, model.producer_version);
    let plain = text.chars().filter(|c| !c.is_control()).take(100);
    plain.collect::<String>().trim().to_owned()
}

/// Refuses a name that a manifest can't hold or ONNX Runtime can't be asked for.
pub(super) fn check_name(name: &str) -> Result<()> {
    if (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "it has an input or output of the unusable name {}: 1 to {MAX_NAME} bytes without control characters are read",
        shown(name)
    )))
}

/// The one input of a half: pixels of an encoder, a latent of a decoder.
pub(super) fn input(facts: &Facts, half: Half) -> Result<&Port> {
    let fits = |port: &Port| {
        let fits = match half {
            Half::Encoder => {
                port.element().is_some() && LAYOUTS.iter().any(|layout| port.may_be(*layout))
            }
            Half::Decoder => matches!(port.element(), Some(Element::F16 | Element::F32)),
        };
        fits && port.may_be_rank_4()
    };
    let wanted = match half {
        Half::Encoder => {
            "pixels: u8, f16 or f32 of four dimensions, the second or the last of which is 3"
        }
        Half::Decoder => "a latent: f16 or f32 of four dimensions",
    };
    match &facts.inputs[..] {
        [one] if fits(one) => Ok(one),
        [_] => Err(Error::invalid(format!(
            "its input isn't {wanted}; it has {}",
            listed(&facts.inputs)
        ))),
        [] => Err(Error::invalid("it has no input")),
        many => {
            let what = format!(
                "it has {} inputs, and only {wanted} can be given; it has {}",
                many.len(),
                listed(many)
            );
            Err(Error::invalid(what))
        }
    }
}

/// Refuses a file that takes one size only; `input` is its input, rows and columns are its dimensions `sides`.
pub(super) fn check_free(input: &Port, sides: [usize; 2], half: Half) -> Result<()> {
    if let Some(batch) = input.fixed(0).filter(|batch| *batch != 1) {
        return Err(Error::invalid(format!(
            "it takes {batch} at a time: its input is {input}, and images come one by one"
        ))
        .with_hint(how_to_export(input, sides)));
    }
    let [rows, columns] = sides.map(|at| input.fixed(at));
    let what = match (rows, columns) {
        (None, None) => return Ok(()),
        (Some(rows), Some(columns)) => format!("{columns}x{rows}"),
        (Some(rows), None) => format!("{rows} rows"),
        (None, Some(columns)) => format!("{columns} columns"),
    };
    let unit = match half {
        Half::Encoder => "pixels",
        Half::Decoder => "latent cells",
    };
    Err(Error::invalid(format!(
        "it takes one size only, {what} {unit}: its input is {input}, and images of any size must fit"
    ))
    .with_hint(how_to_export(input, sides)))
}

/// That a graph ran on one size and failed on another with `error`.
pub(super) fn runs_on_one(error: Error, input: &Port, sides: [usize; 2]) -> Error {
    Error::new(error.kind(), "it runs on one size and not on another")
        .with_hint(how_to_export(input, sides))
        .with_source(error)
}

/// How an export takes any size.
fn how_to_export(input: &Port, [rows, columns]: [usize; 2]) -> String {
    format!(
        "export it with dynamic axes: torch.onnx.export(..., dynamo=False, dynamic_axes={{'{}': {{0: 'batch', {rows}: 'height', {columns}: 'width'}}}})",
        shown(&input.name).trim_matches('`')
    )
}
