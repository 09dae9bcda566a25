//! How a consistency decoder makes an image out of noise: at which times the noisy image is evaluated, and what
//! becomes of the result.
//!
//! Invariant: the steps, their constants and the clamp are those of OpenAI's sampler
//! (openai/consistencydecoder); diffusers' port has the same but for the clamp.

use super::noise::Noise;
use super::session::Failure;
use crate::error::{Error, Result};

/// What a decoder that samples may be told; others have no use for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampling {
    /// Evaluations of the network, 1 to [`Sampling::MAX_STEPS`]; each takes as long as all of another decoder. OpenAI
    /// takes two.
    pub steps: u32,
    /// What the noise is made from: the same seed gives the same image.
    pub seed: String,
}

impl Sampling {
    /// The steps that the network was distilled for.
    pub const MAX_STEPS: u32 = DISTILLED as u32;

    /// Two steps, with the noise of `seed`.
    pub fn of(seed: &str) -> Self {
        Self {
            steps: DEFAULT_STEPS,
            seed: seed.to_owned(),
        }
    }
}

impl Default for Sampling {
    /// Two steps, and the noise of the empty seed.
    fn default() -> Self {
        Self::of("")
    }
}

/// Evaluations unless told.
pub(super) const DEFAULT_STEPS: u32 = 2;

/// Times that the network was trained on, and those of them that it was distilled for.
const TIMES: usize = 1024;
const DISTILLED: usize = 64;
const SIGMA_DATA: f64 = 0.5;

/// One evaluation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    /// What the network is told.
    pub(super) time: i64,
    /// Of the image so far, and of new noise, in the noisy image: roots of alpha-bar and of 1 - alpha-bar.
    signal: f32,
    noise: f32,
    /// Of the noisy image in what the network is given.
    scale_in: f32,
    /// Of the noisy image, and of what the network gives, in the image.
    skip: f32,
    scale_out: f32,
}

/// The steps of a run of `count`: step i is at `s = 1 - i / count` of the way.
///
/// # Errors
/// `InvalidInput` for none, or more than the network was distilled for.
pub(super) fn steps(count: u32) -> Result<Vec<Step>> {
    if !(1..=Sampling::MAX_STEPS).contains(&count) {
        return Err(Error::invalid(format!(
            "a consistency decoder can't work in {count} steps: 1 to {}",
            Sampling::MAX_STEPS
        )));
    }
    let alphas = alphas_cumulated();
    let step = |number| {
        let time = time(number, count);
        Step::at(time, alphas[time])
    };
    Ok((0..count).map(step).collect())
}

/// The time of a step: the next of those distilled for, and never the very last, where nothing but noise is left.
fn time(number: u32, count: u32) -> usize {
    let way = 1.0 - f64::from(number) / f64::from(count);
    let spacing = TIMES / DISTILLED;
    let index = (way * (TIMES - 1) as f64).floor() as usize;
    let time = (index / spacing + 1) * spacing;
    time.min(TIMES - spacing)
}

/// What of an image is left at each time: the cosine schedule of Nichol and Dhariwal (2021), its betas at most 0.999.
fn alphas_cumulated() -> Vec<f64> {
    let left = |time: usize| {
        let way = time as f64 / TIMES as f64;
        ((way + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2)
            .cos()
            .powi(2)
    };
    let alphas = (0..TIMES).scan(1.0, |product, time| {
        let beta = (1.0 - left(time + 1) / left(time)).min(0.999);
        *product *= 1.0 - beta;
        Some(*product)
    });
    alphas.collect()
}

impl Step {
    /// Where `alpha` of the image's power is left.
    fn at(time: usize, alpha: f64) -> Self {
        let variance = 1.0 / alpha - 1.0;
        let both = variance + SIGMA_DATA.powi(2);
        let unscale = (1.0 / alpha).sqrt();
        Self {
            time: time.cast_signed() as i64,
            signal: alpha.sqrt() as f32,
            noise: (1.0 - alpha).sqrt() as f32,
            scale_in: (unscale / both.sqrt()) as f32,
            skip: (unscale * SIGMA_DATA.powi(2) / both) as f32,
            scale_out: (variance.sqrt() * SIGMA_DATA / both.sqrt()) as f32,
        }
    }
}

/// The image that `steps` make, from -1 to 1, three planes of `size`. `evaluate` is the network: of a scaled noisy
/// image and a time it makes as many values.
pub(super) fn sample(
    steps: &[Step],
    noise_of: impl Fn(u32) -> Vec<f32>,
    mut evaluate: impl FnMut(&[f32], i64) -> Result<Vec<f32>, Failure>,
) -> Result<Vec<f32>, Failure> {
    let mut image: Vec<f32> = Vec::new();
    for (number, step) in (0..).zip(steps) {
        let mut noisy = noise_of(number);
        for value in &mut noisy {
            *value *= step.noise;
        }
        // Before the first step there is no image, which is all zeros.
        for (value, before) in noisy.iter_mut().zip(&image) {
            *value += step.signal * before;
        }
        let given: Vec<f32> = noisy.iter().map(|value| value * step.scale_in).collect();
        image = evaluate(&given, step.time)?;
        for (value, noisy) in image.iter_mut().zip(&noisy) {
            let made = step.scale_out * *value + step.skip * noisy;
            // A comparison with what is no number would clamp it away.
            if !made.is_finite() {
                return Err(Failure::NotFinite);
            }
            *value = made.clamp(-1.0, 1.0);
        }
    }
    Ok(image)
}

/// The noise of a run's steps, by the number of the step.
pub(super) fn noise(sampling: &Sampling, size: (u32, u32)) -> impl Fn(u32) -> Vec<f32> {
    let noise = Noise::of(&sampling.seed);
    move |step| noise.planes(step, size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(count: u32) -> Vec<i64> {
        steps(count).unwrap().iter().map(|step| step.time).collect()
    }

    /// The times are those that OpenAI's `round_timesteps` gives for the schedules [1.0], [1.0, 0.5] and so on.
    #[test]
    fn steps_are_at_the_times_that_the_network_was_distilled_for() {
        assert_eq!(times(1), [1008]);
        assert_eq!(times(2), [1008, 512]);
        assert_eq!(times(4), [1008, 768, 512, 256]);
        assert_eq!(times(3), [1008, 688, 352]);
        let all = times(64);
        assert_eq!((all[0], all[63]), (1008, 16));
        assert!(all.iter().all(|time| time % 16 == 0));
    }

    #[test]
    fn no_steps_and_too_many_are_refused() {
        for count in [0, 65, u32::MAX] {
            let error = steps(count).unwrap_err();
            assert!(error.to_string().contains(&count.to_string()), "{error}");
        }
    }

    /// The values were computed from OpenAI's code, whose products are of f32.
    #[test]
    fn the_constants_are_those_of_openai_at_both_of_its_times() {
        let steps = steps(2).unwrap();
        let close = |found: f32, expected: f32| {
            assert!((found - expected).abs() < 2e-6, "{found} {expected}");
        };
        let [first, second] = &steps[..] else {
            panic!("{steps:?}");
        };
        close(first.noise, 0.999_739_47);
        close(first.skip, 0.005_708_95);
        close(first.scale_out, 0.499_967_43);
        close(first.scale_in, 1.000_195_4);
        close(second.signal, 0.701_656_5);
        close(second.noise, 0.712_515_35);
        close(second.skip, 0.278_100_28);
        close(second.scale_out, 0.448_572_5);
        close(second.scale_in, 1.259_123_7);
    }

    #[test]
    fn the_image_is_clamped_after_every_step_and_given_to_the_next() {
        let steps = steps(2).unwrap();
        let mut given = Vec::new();
        let image = sample(
            &steps,
            |_| vec![0.5, 0.0],
            |noisy, time| {
                given.push((noisy.to_vec(), time));
                Ok(vec![9.0, -0.2])
            },
        );
        let image = image.unwrap();
        let [first, second] = &steps[..] else {
            panic!("{steps:?}");
        };
        let begun = first.scale_in * first.noise * 0.5;
        assert!((given[0].0[0] - begun).abs() < 1e-6 && given[0].1 == 1008);
        // 9 is beyond white: the second step begins from 1.
        let noisy = second.signal + second.noise * 0.5;
        assert!((given[1].0[0] - second.scale_in * noisy).abs() < 1e-6);
        let before = first.scale_out * -0.2;
        let expected = second.scale_out * -0.2 + second.skip * second.signal * before;
        assert!((image[0] - 1.0).abs() < 1e-6 && (image[1] - expected).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_finite_is_no_image() {
        let steps = steps(1).unwrap();
        for value in [f32::NAN, f32::INFINITY] {
            let image = sample(&steps, |_| vec![0.0], |_, _| Ok(vec![value]));
            assert!(matches!(image, Err(Failure::NotFinite)));
        }
    }
}
