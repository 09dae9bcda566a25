//! An ONNX graph, loaded and ready to run on one execution provider.
//!
//! Invariant: what goes in and comes out has the shapes the manifest promises, or it is an error.

use std::sync::{Mutex, PoisonError};

use half::f16;
use ort::ep;
use ort::session::Session as OrtSession;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::TensorRef;

use super::provider::Provider;
use super::runtime::Runtime;
use crate::error::{Error, ErrorKind, Result};
use crate::latent::{Latent, LatentShape};
use crate::pixels::Pixels;

/// Half a model, loaded. Threads take turns.
pub(super) struct Session {
    inner: Mutex<OrtSession>,
    /// What really runs it: never `Auto`.
    pub(super) provider: Provider,
}

/// Session options for `provider`, which must start: `Auto` is not for this function.
fn options(runtime: &Runtime, provider: Provider) -> Result<SessionBuilder> {
    let unavailable = |e: ort::Error| {
        Error::new(
            ErrorKind::ProviderUnavailable,
            format!("the execution provider {provider} can't start"),
        )
        .with_source(e)
    };
    let builder = SessionBuilder::new(runtime.environment()).map_err(unavailable)?;
    let builder = builder
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|e| unavailable(e.into()))?;
    let Provider::Cuda(device) = provider else {
        return Ok(builder);
    };
    let no_device = || Error::invalid(format!("there can't be a CUDA device {device}"));
    let device = i32::try_from(device).map_err(|_| no_device())?;
    runtime.preload_cuda();
    // Each new shape costs a search for the best convolution: measured on the exhaustive search,
    // 634 ms a shape; on the heuristic one, 2 ms.
    let cuda = ep::CUDA::default()
        .with_device_id(device)
        .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
        .build()
        .error_on_failure();
    builder
        .with_execution_providers([cuda])
        .map_err(|e| unavailable(e.into()))
}

impl Session {
    /// Loads `graph`, the bytes of an ONNX file. `Auto` tries CUDA, then the CPU.
    pub(super) fn load(
        runtime: &Runtime,
        provider: Provider,
        name: &str,
        graph: &[u8],
    ) -> Result<Self> {
        if provider == Provider::Auto {
            let cuda = Self::load(runtime, Provider::Cuda(0), name, graph);
            return cuda.or_else(|_| Self::load(runtime, Provider::Cpu, name, graph));
        }
        let inner = options(runtime, provider)?
            .commit_from_memory(graph)
            .map_err(|e| {
                Error::new(
                    ErrorKind::Inference,
                    format!("{name} can't be loaded on {provider}"),
                )
                .with_source(e)
            })?;
        Ok(Self {
            inner: Mutex::new(inner),
            provider,
        })
    }

    /// Encodes pixels whose sides are multiples of the compression ratio.
    pub(super) fn encode(&self, pixels: &Pixels, shape: LatentShape) -> Result<Latent> {
        let size = [1, i64::from(pixels.height()), i64::from(pixels.width()), 3];
        let input = TensorRef::from_array_view((size, pixels.as_rgb())).map_err(failed)?;
        let mut session = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(ort::inputs![input]).map_err(failed)?;
        let (found, values) = outputs[0].try_extract_tensor::<f16>().map_err(failed)?;
        let LatentShape {
            channels,
            height,
            width,
        } = shape;
        let expected = [1, channels, height, width].map(i64::from);
        if **found != expected {
            return Err(wrong_shape(&expected, found));
        }
        Latent::new(shape, values.to_vec()).map_err(|e| {
            Error::new(
                ErrorKind::Inference,
                "the encoder made a latent that can't be kept",
            )
            .with_source(e)
        })
    }

    /// Decodes a latent to pixels of whole cells.
    pub(super) fn decode(&self, latent: &Latent, ratio: u32) -> Result<Pixels> {
        let LatentShape {
            channels,
            height,
            width,
        } = latent.shape();
        let size = [1, channels, height, width].map(i64::from);
        let input = TensorRef::from_array_view((size, latent.as_slice())).map_err(failed)?;
        let mut session = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(ort::inputs![input]).map_err(failed)?;
        let (found, bytes) = outputs[0].try_extract_tensor::<u8>().map_err(failed)?;
        let sides = [height, width].map(|cells| i64::from(cells) * i64::from(ratio));
        let expected = [1, sides[0], sides[1], 3];
        if **found != expected {
            return Err(wrong_shape(&expected, found));
        }
        Pixels::from_rgb(sides[1] as u32, sides[0] as u32, bytes.to_vec())
    }
}

fn failed(error: ort::Error) -> Error {
    Error::new(ErrorKind::Inference, "the model failed to run").with_source(error)
}

fn wrong_shape(expected: &[i64], found: &[i64]) -> Error {
    Error::new(
        ErrorKind::Inference,
        format!("the model returned the shape {found:?} where {expected:?} was expected"),
    )
}
