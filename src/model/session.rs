//! An ONNX graph, loaded and ready to run on one execution provider.
//!
//! Invariant: what goes in and comes out has the shapes the manifest promises and only finite values, or it is a
//! failure.

mod denoise;

use std::path::Path;

use half::f16;
use ort::ep;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, Session as OrtSession};
use ort::value::{DynTensor, DynValue, PrimitiveTensorElementType, Tensor, TensorElementType};

use super::onnx::{CHECK, NORMS, NORMS_USED, OWN_NORMS};
use super::provider::Provider;
use super::runtime::Runtime;
use super::spec::{Element, ModelHalf, ModelSpec};
use super::tensors::{self, Number, Units};
use crate::error::{Error, ErrorKind, Result};
use crate::latent::{Latent, LatentShape};
use crate::pixels::Pixels;

/// Inputs are kept for this many shapes; a caller that mixes more pays for a new one each time.
const KEPT_SHAPES: usize = 4;

/// Why a run gave nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It came to values that are not finite.
    NotFinite,
    /// It didn't run.
    Failed(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Failed(error)
    }
}

/// Half a model, loaded.
pub(super) struct Session {
    inner: OrtSession,
    /// Page-locked memory, from which a GPU copies by itself; `None` on the CPU.
    pinned: Option<Allocator>,
    bound: Vec<Bound>,
    has_check: bool,
    /// Of a graph for tiles.
    norms: Option<Norms>,
}

/// The statistics that a graph's norms work with: means of all groups, then variances.
struct Norms {
    given: DynTensor,
    /// Whether each run takes its own instead.
    own: DynTensor,
    /// Those of the last run.
    used: Vec<f32>,
}

/// An input of one shape, and the graph bound to it.
struct Bound {
    shape: [i64; 4],
    input: DynTensor,
    binding: IoBinding,
}

/// What a graph gave under one name.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) shape: Vec<i64>,
    pub(super) values: Vec<f32>,
}

/// Where a graph is.
pub(super) enum GraphAt<'a> {
    /// The bytes of an ONNX file.
    Memory(&'a [u8]),
    /// An ONNX file, whose weights may lie beside it.
    File(&'a Path),
}

/// How sessions are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionOptions {
    /// What runs it; never `Auto`.
    pub(super) provider: Provider,
    /// Threads a run uses; `None` for one a core.
    pub(super) threads: Option<usize>,
}

fn builder(runtime: &Runtime, options: SessionOptions) -> Result<SessionBuilder> {
    let provider = options.provider;
    let unavailable = |e: ort::Error| {
        Error::new(
            ErrorKind::ProviderUnavailable,
            format!("the execution provider {provider} can't start"),
        )
        .with_source(e)
    };
    let mut builder = SessionBuilder::new(runtime.environment())
        .map_err(unavailable)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|e| unavailable(e.into()))?
        // A plan made for one size of images lays its tensors out worse than the allocator does, and is no faster:
        // in a trial with such a graph, the encoder of SD took 1726 MB at 512x512 instead of 1054.
        .with_memory_pattern(false)
        .map_err(|e| unavailable(e.into()))?;
    if let Some(threads) = options.threads {
        builder = builder
            .with_intra_threads(threads)
            .map_err(|e| unavailable(e.into()))?;
    }
    let Provider::Cuda(device) = provider else {
        return Ok(builder);
    };
    let device = cuda_device(device)?;
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

fn cuda_device(number: u32) -> Result<i32> {
    i32::try_from(number)
        .map_err(|_| Error::invalid(format!("there can't be a CUDA device {number}")))
}

impl Session {
    /// Loads the graph `at`, which messages call `name`.
    pub(super) fn load(
        runtime: &Runtime,
        options: SessionOptions,
        name: &str,
        at: &GraphAt<'_>,
    ) -> Result<Self> {
        let mut builder = builder(runtime, options)?;
        let loaded = match at {
            GraphAt::Memory(bytes) => builder.commit_from_memory(bytes),
            GraphAt::File(path) => builder.commit_from_file(path),
        };
        let failed = |e| {
            let what = format!("{name} can't be loaded on {}", options.provider);
            Error::new(ErrorKind::Inference, what).with_source(e)
        };
        let inner: OrtSession = loaded.map_err(failed)?;
        let pinned = match options.provider {
            Provider::Cuda(device) => {
                let place = MemoryInfo::new(
                    AllocationDevice::CUDA_PINNED,
                    cuda_device(device)?,
                    AllocatorType::Device,
                    MemoryType::CPUInput,
                );
                let allocator = place.and_then(|place| Allocator::new(&inner, place));
                Some(allocator.map_err(failed)?)
            }
            _ => None,
        };
        let has_check = inner.outputs().iter().any(|output| output.name() == CHECK);
        let wants_norms = inner.inputs().iter().any(|input| input.name() == NORMS);
        Ok(Self {
            inner,
            pinned,
            bound: Vec::new(),
            has_check,
            norms: wants_norms.then(Norms::none).transpose()?,
        })
    }

    /// From now on, norms take the statistics of what is run.
    pub(super) fn use_own_norms(&mut self) -> Result<()> {
        self.norms = Some(Norms::none()?);
        Ok(())
    }

    /// From now on, norms take these statistics, as [`norms`](Self::norms) returns them.
    pub(super) fn give_norms(&mut self, statistics: &[f32]) -> Result<()> {
        self.norms = Some(Norms::of(statistics, false)?);
        Ok(())
    }

    /// The statistics that the norms of the last run took: means, then variances.
    pub(super) fn norms(&self) -> &[f32] {
        self.norms.as_ref().map_or(&[], |norms| &norms.used)
    }

    /// Encodes images of one size, whose sides are multiples of the compression ratio.
    pub(super) fn encode(
        &mut self,
        spec: &ModelSpec,
        half: &ModelHalf,
        images: &[&Pixels],
    ) -> Result<Vec<Latent>, Failure> {
        let Some(first) = images.first() else {
            return Ok(Vec::new());
        };
        let size = (first.width(), first.height());
        let given = tensors::pixel_shape(&half.pixels, images.len(), size);
        let shape = spec.latent_shape(size.0, size.1);
        let expected = latent_shape(half, images.len(), shape);
        let (from, to) = (&half.pixels, &half.latent);
        let bound = self.bind(&to.name, from.element, given)?;
        let input = &mut bound.input;
        match from.element {
            Element::U8 => tensors::fill_pixels(from, images, slice_mut::<u8>(input)?),
            Element::F16 => tensors::fill_pixels(from, images, slice_mut::<f16>(input)?),
            Element::F32 => tensors::fill_pixels(from, images, slice_mut::<f32>(input)?),
        }
        let ends = (&*from.name, &*to.name, given, expected);
        let units = units(spec, half);
        let latents = if to.element == Element::F16 {
            self.run(ends, |part: &[f16]| units.take(part, shape))
        } else {
            self.run(ends, |part: &[f32]| units.take(part, shape))
        }?;
        let finite = |values: &Vec<f16>| values.iter().all(|value| value.is_finite());
        if !latents.iter().all(finite) {
            return Err(Failure::NotFinite);
        }
        let latents = latents.into_iter().map(|values| Latent::new(shape, values));
        Ok(latents.collect::<Result<_>>()?)
    }

    /// Decodes latents of one shape to pixels of whole cells.
    pub(super) fn decode(
        &mut self,
        spec: &ModelSpec,
        half: &ModelHalf,
        latents: &[&Latent],
    ) -> Result<Vec<Pixels>, Failure> {
        let Some(first) = latents.first() else {
            return Ok(Vec::new());
        };
        let shape = first.shape();
        let given = latent_shape(half, latents.len(), shape);
        let ratio = spec.spatial_compression_ratio;
        let (width, height) = (shape.width * ratio, shape.height * ratio);
        let expected = tensors::pixel_shape(&half.pixels, latents.len(), (width, height));
        let (from, to) = (&half.latent, &half.pixels);
        let units = units(spec, half);
        let bound = self.bind(&to.name, from.element, given)?;
        if from.element == Element::F16 {
            fill_latents(units, latents, slice_mut::<f16>(&mut bound.input)?);
        } else {
            fill_latents(units, latents, slice_mut::<f32>(&mut bound.input)?);
        }
        let ends = (&*from.name, &*to.name, given, expected);
        let images = match to.element {
            Element::U8 => self.run(ends, |part: &[u8]| Some(tensors::take_pixels(to, part))),
            Element::F16 => self.run(ends, |part: &[f16]| {
                finite(part).then(|| tensors::take_pixels(to, part))
            }),
            Element::F32 => self.run(ends, |part: &[f32]| {
                finite(part).then(|| tensors::take_pixels(to, part))
            }),
        }?;
        let images: Option<Vec<_>> = images.into_iter().collect();
        let images = images.ok_or(Failure::NotFinite)?.into_iter();
        let images = images.map(|bytes| Pixels::from_rgb(width, height, bytes));
        Ok(images.collect::<Result<_>>()?)
    }

    /// Runs a graph of which nothing is known yet on its input `name`, and returns the outputs that
    /// hold u8, f16 or f32.
    pub(super) fn explore(
        &mut self,
        (name, element, shape): (&str, Element, [i64; 4]),
        values: &[f32],
    ) -> Result<Vec<Output>> {
        let input = match element {
            Element::U8 => tensor::<u8>(shape, values),
            Element::F16 => tensor::<f16>(shape, values),
            Element::F32 => tensor::<f32>(shape, values),
        }?;
        let outputs = self.inner.run(ort::inputs![name => input]);
        let outputs = outputs.map_err(failed)?;
        let outputs = outputs.iter().filter_map(|(name, value)| {
            let found = extract::<f32>(&value, Element::F32);
            let found = found.or_else(|| extract::<f16>(&value, Element::F16));
            let (element, shape, values) = found.or_else(|| extract::<u8>(&value, Element::U8))?;
            Some(Output {
                name: name.to_owned(),
                element,
                shape,
                values,
            })
        });
        Ok(outputs.collect())
    }

    /// The input of `shape`, made or found again, with the graph bound to it.
    fn bind(&mut self, to: &str, element: Element, shape: [i64; 4]) -> Result<&mut Bound> {
        if let Some(at) = self.bound.iter().position(|bound| bound.shape == shape) {
            return Ok(&mut self.bound[at]);
        }
        let default = Allocator::default();
        let allocator = self.pinned.as_ref().unwrap_or(&default);
        let element = match element {
            Element::U8 => TensorElementType::Uint8,
            Element::F16 => TensorElementType::Float16,
            Element::F32 => TensorElementType::Float32,
        };
        let input = DynTensor::new(allocator, element, shape).map_err(failed)?;
        let mut binding = self.inner.create_binding().map_err(failed)?;
        let host = MemoryInfo::new(
            AllocationDevice::CPU,
            0,
            AllocatorType::Device,
            MemoryType::Default,
        );
        let host = host.map_err(failed)?;
        let check = self.has_check.then_some(CHECK);
        let norms = self.norms.is_some().then_some(NORMS_USED);
        for output in [Some(to), check, norms].into_iter().flatten() {
            binding
                .bind_output_to_device(output, &host)
                .map_err(failed)?;
        }
        if self.bound.len() == KEPT_SHAPES {
            self.bound.remove(0);
        }
        self.bound.push(Bound {
            shape,
            input,
            binding,
        });
        let last = self.bound.len() - 1;
        Ok(&mut self.bound[last])
    }

    /// Runs the graph on the input of shape `given`, and hands each image's part of the output,
    /// whose shape must be `expected`, to `take`.
    fn run<T: PrimitiveTensorElementType + Copy, R>(
        &mut self,
        (from, to, given, expected): (&str, &str, [i64; 4], [i64; 4]),
        take: impl FnMut(&[T]) -> R,
    ) -> Result<Vec<R>, Failure> {
        let bound = self.bound.iter_mut().find(|bound| bound.shape == given);
        let bound = bound.ok_or_else(|| Error::invalid("nothing is bound to that shape"))?;
        // Binding an input is what copies it to the device.
        bound
            .binding
            .bind_input(from, &bound.input)
            .map_err(failed)?;
        if let Some(norms) = &self.norms {
            for (name, value) in [(NORMS, &norms.given), (OWN_NORMS, &norms.own)] {
                bound.binding.bind_input(name, value).map_err(failed)?;
            }
        }
        let outputs = self.inner.run_binding(&bound.binding).map_err(failed)?;
        if let Some(norms) = &mut self.norms {
            let used = outputs[NORMS_USED].try_extract_tensor::<f32>();
            norms.used = used.map_err(failed)?.1.to_vec();
        }
        if self.has_check {
            let (_, check) = outputs[CHECK].try_extract_tensor::<f32>().map_err(failed)?;
            if !check.iter().all(|value| value.is_finite()) {
                return Err(Failure::NotFinite);
            }
        }
        let (found, values) = outputs[to].try_extract_tensor::<T>().map_err(failed)?;
        if **found != expected {
            return Err(wrong_shape(&expected, found).into());
        }
        let part = values.len() / given[0] as usize;
        Ok(values.chunks_exact(part).map(take).collect())
    }
}

impl Norms {
    /// None are given: each run takes its own.
    fn none() -> Result<Self> {
        Self::of(&[0.0, 0.0], true)
    }

    fn of(statistics: &[f32], own: bool) -> Result<Self> {
        let groups = statistics.len() / 2;
        let given = Tensor::from_array(([2, groups], statistics.to_vec())).map_err(failed)?;
        let own = Tensor::from_array(([1], vec![own])).map_err(failed)?;
        Ok(Self {
            given: given.upcast(),
            own: own.upcast(),
            used: Vec::new(),
        })
    }
}

fn fill_latents<T: Number>(units: Units, latents: &[&Latent], out: &mut [T]) {
    let parts = out.chunks_exact_mut(latents.first().map_or(1, |one| one.as_slice().len()));
    for (part, latent) in parts.zip(latents) {
        units.fill(latent.as_slice(), part);
    }
}

fn finite<T: Number>(values: &[T]) -> bool {
    values.iter().all(|value| value.to_f32().is_finite())
}

fn latent_shape(half: &ModelHalf, batch: usize, shape: LatentShape) -> [i64; 4] {
    let channels = shape.channels * if half.latent.moments { 2 } else { 1 };
    [batch as u32, channels, shape.height, shape.width].map(i64::from)
}

fn units(spec: &ModelSpec, half: &ModelHalf) -> Units {
    if half.latent.scaled {
        Units::scaled(spec.scaling_factor, spec.shift_factor)
    } else {
        Units::STORED
    }
}

/// A tensor of `values` as another type.
fn tensor<T>(shape: [i64; 4], values: &[f32]) -> Result<DynTensor>
where
    T: Number + PrimitiveTensorElementType + std::fmt::Debug + 'static,
{
    let values: Vec<T> = values.iter().map(|value| T::from_f32(*value)).collect();
    let tensor = Tensor::from_array((shape, values)).map_err(failed)?;
    Ok(tensor.upcast())
}

/// Type, shape and values of a tensor, if it holds `T`.
fn extract<T: Number + PrimitiveTensorElementType>(
    value: &DynValue,
    element: Element,
) -> Option<(Element, Vec<i64>, Vec<f32>)> {
    let (shape, values) = value.try_extract_tensor::<T>().ok()?;
    let values = values.iter().map(|value| value.to_f32()).collect();
    Some((element, shape.to_vec(), values))
}

fn slice_mut<T: PrimitiveTensorElementType>(tensor: &mut DynTensor) -> Result<&mut [T]> {
    let (_, values) = tensor.try_extract_tensor_mut::<T>().map_err(failed)?;
    Ok(values)
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
