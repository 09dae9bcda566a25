//! Somebody's graph run on a few pictures, to see what it gives before anything is promised of it.
//!
//! Invariant: only what gave finite values, twice the same, is passed on.

use std::path::Path;

use super::Half;
use super::inspect::{Dim, Port};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Runtime;
use crate::model::onnx::proto::element;
use crate::model::onnx::shown;
use crate::model::provider::Provider;
use crate::model::session::{GraphAt, Output, Session, SessionOptions};
use crate::model::spec::{Element, PixelTensor};
use crate::model::tensors::{self, Number};
use crate::pixels::Pixels;

/// Trials run where every machine can run them.
pub(super) const ON_CPU: SessionOptions = SessionOptions {
    provider: Provider::Cpu,
    threads: None,
};

/// A graph, loaded.
pub(super) struct Trial {
    session: Session,
    half: Half,
}

/// An input of a graph: what it is made of, for messages, its shape and its values.
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    pub(super) element: Element,
    pub(super) about: String,
    pub(super) shape: [i64; 4],
    pub(super) values: Vec<f32>,
}

impl Output {
    /// The same as a file would declare it.
    pub(super) fn port(&self) -> Port {
        Port {
            name: self.name.clone(),
            data_type: match self.element {
                Element::U8 => element::U8,
                Element::F16 => element::F16,
                Element::F32 => element::F32,
            },
            dims: Some(self.shape.iter().map(|side| Dim::Fixed(*side)).collect()),
        }
    }

    /// As the file declares it among `ports`, or as it came out.
    pub(super) fn declared(&self, ports: &[Port]) -> Port {
        let declared = ports.iter().find(|port| port.name == self.name);
        declared.cloned().unwrap_or_else(|| self.port())
    }
}

impl Trial {
    pub(super) fn load(runtime: &Runtime, path: &Path, half: Half) -> Result<Self> {
        let session = Session::load(runtime, ON_CPU, "the file", &GraphAt::File(path))?;
        Ok(Self { session, half })
    }

    /// Runs the graph, and returns those outputs that hold u8, f16 or f32, finite or not.
    pub(super) fn run(&mut self, input: &Input<'_>) -> Result<Vec<Output>> {
        let about = (input.name, input.element, input.shape);
        let outputs = self.session.explore(about, &input.values);
        outputs.map_err(|e| {
            let what = format!("it can't be run on {}", input.about);
            Error::new(e.kind(), what).with_source(e)
        })
    }

    /// The output called `name` among `outputs`, which `input` gave: it must be finite, and the same again.
    pub(super) fn settled(
        &mut self,
        outputs: Vec<Output>,
        input: &Input<'_>,
        name: &str,
    ) -> Result<Output> {
        let take = |outputs: Vec<Output>| {
            let found = outputs.into_iter().find(|output| output.name == name);
            found.ok_or_else(|| Error::invalid(format!("it gives no tensor {}", shown(name))))
        };
        let first = take(outputs)?;
        if let Some(value) = first.values.iter().find(|value| !value.is_finite()) {
            let what = format!("it came to {value} for {}", input.about);
            return Err(Error::new(ErrorKind::Inference, what));
        }
        let second = take(self.run(input)?)?;
        let differs = |(a, b): &(&f32, &f32)| a.to_bits() != b.to_bits();
        let difference = first.values.iter().zip(&second.values).find(differs);
        if first.shape != second.shape || difference.is_some() {
            return Err(not_the_same(self.half, difference));
        }
        Ok(first)
    }
}

fn not_the_same(half: Half, values: Option<(&f32, &f32)>) -> Error {
    let values = values.map_or_else(String::new, |(a, b)| format!(" ({a}, then {b})"));
    let error = Error::invalid(format!(
        "it gives something else each time it is run on the same input{values}"
    ));
    match half {
        Half::Encoder => error.with_hint(super::EXPORT_THE_MEAN),
        Half::Decoder => error,
    }
}

/// Names and shapes of `outputs` as a message lists them.
pub(super) fn listed(outputs: &[Output]) -> String {
    let found = outputs.iter().take(8);
    let found = found.map(|one| format!("{} {:?}", shown(&one.name), one.shape));
    found.collect::<Vec<_>>().join(", ")
}

/// A picture as the input of an encoder.
pub(super) fn picture_input<'a>(tensor: &'a PixelTensor, picture: &Pixels) -> Input<'a> {
    let size = (picture.width(), picture.height());
    let mut values = vec![0f32; picture.as_rgb().len()];
    tensors::fill_pixels(tensor, &[picture], &mut values);
    Input {
        name: &tensor.name,
        element: tensor.element,
        about: format!("{}x{} pixels", size.0, size.1),
        shape: tensors::pixel_shape(tensor, 1, size),
        values,
    }
}

/// A latent of faint waves as the input of a decoder.
pub(super) fn latent_input(
    name: &str,
    element: Element,
    (channels, height, width): (u32, u32, u32),
) -> Input<'_> {
    let count = channels * height * width;
    Input {
        name,
        element,
        about: format!("a latent of {channels}x{height}x{width}"),
        shape: [1, channels, height, width].map(i64::from),
        values: (0..count).map(|n| (n as f32 * 0.37).sin()).collect(),
    }
}

/// A smooth picture in all colours: what an autoencoder has no trouble with.
pub(super) fn picture(width: u32, height: u32) -> Result<Pixels> {
    let mut bytes = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
            let wave = (6.0 * (x + y)).sin() * 40.0;
            bytes.extend([
                u8::from_f32(30.0 + 180.0 * x + wave),
                u8::from_f32(220.0 - 180.0 * y + wave),
                u8::from_f32(60.0 + 140.0 * (x - y).abs() - wave),
            ]);
        }
    }
    Pixels::from_rgb(width, height, bytes)
}
