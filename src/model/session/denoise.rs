//! One run of a graph that is a step of a sampler: it takes a noisy image and a time beside the latent.
//!
//! Invariant: the image that comes out has the size that the latent stands for; whether its values are finite is for
//! the sampler to see.

use half::f16;
use ort::value::Tensor;

use super::{Failure, Session, failed, fill_latents, latent_shape, slice_mut, units};
use crate::latent::Latent;
use crate::model::onnx::{NOISY, TIMESTEP};
use crate::model::spec::{ModelHalf, ModelSpec};
use crate::model::tensors;

impl Session {
    /// Runs a denoiser once on `noisy`, three planes at the size of the image that `latent` stands for, and returns as
    /// many values.
    pub(in crate::model) fn denoise(
        &mut self,
        spec: &ModelSpec,
        half: &ModelHalf,
        latent: &Latent,
        (noisy, time): (&[f32], i64),
    ) -> Result<Vec<f32>, Failure> {
        let shape = latent.shape();
        let ratio = spec.spatial_compression_ratio;
        let size = (shape.width * ratio, shape.height * ratio);
        let given = latent_shape(half, 1, shape);
        let expected = tensors::pixel_shape(&half.pixels, 1, size);
        let bound = self.bind(&half.pixels.name, half.latent.element, given)?;
        fill_latents(
            units(spec, half),
            &[latent],
            slice_mut::<f16>(&mut bound.input)?,
        );
        let noisy = Tensor::from_array((expected, noisy.to_vec())).map_err(failed)?;
        let time = Tensor::from_array(([1], vec![time])).map_err(failed)?;
        // The binding keeps what it is given.
        for (name, tensor) in [(NOISY, noisy.upcast()), (TIMESTEP, time.upcast())] {
            bound.binding.bind_input(name, &tensor).map_err(failed)?;
        }
        let ends = (&*half.latent.name, &*half.pixels.name, given, expected);
        let mut planes = self.run(ends, |part: &[f32]| part.to_vec())?;
        Ok(planes.pop().unwrap_or_default())
    }
}
