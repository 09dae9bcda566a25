//! Latents through a decoder that samples: steps around evaluations of its network, each of these whole or in tiles.
//!
//! Invariant: a step works on the whole image, put together from its tiles, so that tiles begin every step from one
//! image and from the noise of their own places.

use half::f16;

use super::attempt::Attempt;
use super::budget::Choice;
use super::hub::Hub;
use super::run::{Job, Scope};
use super::sampler::{self, Sampling};
use super::session::{Failure, Session};
use super::sheet::Sheet;
use super::tensors;
use super::tiled::{Place, Tiled, cropped, latent_of_sheet, sheet_of_latent};
use crate::latent::Latent;
use crate::pixels::Pixels;

/// A tile of a latent, and of the noisy image over it.
struct Tile {
    latent: Sheet<f16>,
    noisy: Sheet<f32>,
}

impl Hub {
    /// Decodes latents of one shape to images of `size` pixels, each with its own noise.
    pub(super) fn sample_in(
        &self,
        job: Job<'_>,
        attempt: Attempt,
        items: &[(&Latent, &Sampling)],
        size: (u32, u32),
    ) -> Result<Vec<Tiled<Pixels>>, Failure> {
        let whole = || {
            let one = |(latent, sampling): &(&Latent, &Sampling)| {
                sample(job, sampling, size, |noisy, time| {
                    self.with_session(job, Scope::Image, attempt, |session| {
                        session.denoise(job.spec, job.half, latent, (noisy, time))
                    })
                })
            };
            items.iter().map(one).collect()
        };
        let tiled = |choice: &Choice, (latent, sampling): &(&Latent, &Sampling)| {
            let sheet = sheet_of_latent(latent);
            sample(job, sampling, size, |noisy, time| {
                self.denoise_in_tiles((job, attempt, choice), &sheet, noisy, time)
            })
        };
        self.whole_or_tiled(job, attempt, (size, items), whole, tiled)
    }

    /// One evaluation over all of an image.
    fn denoise_in_tiles(
        &self,
        (job, attempt, choice): (Job<'_>, Attempt, &Choice),
        latent: &Sheet<f16>,
        noisy: &[f32],
        time: i64,
    ) -> Result<Vec<f32>, Failure> {
        let scale = job.spec.spatial_compression_ratio;
        let (columns, rows) = (latent.columns(), latent.rows());
        let width = columns * scale as usize;
        let noisy = Sheet::new(3, width, 1, noisy.to_vec());
        let cut_out = |(x, y): Place| {
            Ok(Tile {
                latent: latent.cut_out(x.range(1), y.range(1)),
                noisy: noisy.cut_out(x.range(scale), y.range(scale)),
            })
        };
        let channels = job.spec.latent_channels;
        let run = |session: &mut Session, tile: Tile| {
            let width = tile.noisy.columns();
            let latent = latent_of_sheet(channels, tile.latent)?;
            let noisy = tile.noisy.into_values();
            let output = session.denoise(job.spec, job.half, &latent, (&noisy, time))?;
            Ok(Sheet::new(3, width, 1, output))
        };
        let blank = noisy.blank(width, noisy.rows());
        let cells = (columns as u32, rows as u32);
        let sheet = self.in_tiles(
            (job, attempt, choice),
            cells,
            (cut_out, run),
            (blank, scale),
        )?;
        Ok(sheet.into_values())
    }
}

/// The image of `size` pixels that a network makes in the steps of `sampling`.
fn sample(
    job: Job<'_>,
    sampling: &Sampling,
    size: (u32, u32),
    evaluate: impl FnMut(&[f32], i64) -> Result<Vec<f32>, Failure>,
) -> Result<Pixels, Failure> {
    let cell = job.spec.spatial_compression_ratio;
    let padded = (size.0.next_multiple_of(cell), size.1.next_multiple_of(cell));
    let steps = sampler::steps(sampling.steps)?;
    let image = sampler::sample(&steps, sampler::noise(sampling, padded), evaluate)?;
    let bytes = tensors::take_pixels(&job.half.pixels, &image);
    let image = Pixels::from_rgb(padded.0, padded.1, bytes)?;
    Ok(cropped(image, size)?)
}
