//! The finished model run once more, by the way it will be used.
//!
//! Invariant: nothing is installed that a database couldn't use at once.

use std::path::Path;

use half::f16;

use super::Half;
use super::trial::{ON_CPU, picture};
use crate::error::{Error, ErrorKind, Result};
use crate::latent::Latent;
use crate::metrics;
use crate::model::Runtime;
use crate::model::session::{Failure, GraphAt, Session};
use crate::model::spec::{ModelHalf, ModelSpec};
use crate::pixels::Pixels;

/// A smooth picture comes back better than this, in dB, from any autoencoder that is used as it was meant.
const LOW_PSNR: f64 = 10.0;

/// How far results of a batch may be from those of its items, relative to the largest value.
const TOLERANCE: f32 = 0.02;

/// Scaled latents are told from unscaled ones by their size only where these differ by this factor or more.
const TELLING: f64 = 2.0;

/// Encodes and decodes two pictures with the files in `folder`, alone and together, and notes what came of it.
pub(super) fn confirm(
    runtime: &Runtime,
    folder: &Path,
    spec: &mut ModelSpec,
    notes: &mut Vec<String>,
) -> Result<()> {
    let side = spec.spatial_compression_ratio.max(32);
    let first = picture(2 * side, 3 * side)?;
    let inverse = first.as_rgb().iter().map(|byte| 255 - byte).collect();
    let inverse = Pixels::from_rgb(2 * side, 3 * side, inverse)?;
    let load = |half: &ModelHalf, which: Half| {
        let at = folder.join(&half.file);
        Session::load(runtime, ON_CPU, which.name(), &GraphAt::File(&at))
    };

    let mut latents = [waves(spec, &first, 1.0)?, waves(spec, &first, -0.5)?];
    if let Some(mut half) = spec.encoder.clone() {
        let mut session = load(&half, Half::Encoder)?;
        let run = |items: &[&Pixels]| session.encode(spec, &half, items);
        let (alone, together) = alone_and_together([&first, &inverse], run)?;
        latents = alone;
        notes.extend(units_note(spec, &half, &latents[0]));
        limit(&mut half, Half::Encoder, together, notes);
        spec.encoder = Some(half);
    }
    if let Some(mut half) = spec.decoder.clone() {
        let mut session = load(&half, Half::Decoder)?;
        let run = |items: &[&Latent]| session.decode(spec, &half, items);
        let (decoded, together) = alone_and_together([&latents[0], &latents[1]], run)?;
        if spec.encoder.is_some() {
            notes.push(psnr_note(metrics::psnr(&first, &decoded[0])?));
        }
        limit(&mut half, Half::Decoder, together, notes);
        spec.decoder = Some(half);
    }
    Ok(())
}

/// A latent for a picture of the size of `like`, as large as latents of its space are.
fn waves(spec: &ModelSpec, like: &Pixels, size: f64) -> Result<Latent> {
    let shape = spec.latent_shape(like.width(), like.height());
    let value = |n: usize| (n as f64 * 0.37).sin() * size / spec.scaling_factor + spec.shift_factor;
    let values = (0..shape.values()?).map(|n| f16::from_f64(value(n)));
    Latent::new(shape, values.collect())
}

/// What `run` gives for each of two items, and whether it gives the same for both at once.
fn alone_and_together<I: Copy, O: Values>(
    items: [I; 2],
    mut run: impl FnMut(&[I]) -> Result<Vec<O>, Failure>,
) -> Result<([O; 2], bool)> {
    let mut one = |item: I| match run(&[item]) {
        Ok(mut outputs) if outputs.len() == 1 => Ok(outputs.remove(0)),
        Ok(_) => Err(Error::invalid("it gave nothing")),
        Err(Failure::Failed(error)) => Err(error),
        Err(Failure::NotFinite) => Err(Error::new(
            ErrorKind::Inference,
            "it came to values that are not finite, or too large for f16",
        )),
    };
    let alone = [one(items[0])?, one(items[1])?];
    let together = run(&items).is_ok_and(|outputs| {
        outputs.len() == 2 && outputs.iter().zip(&alone).all(|(a, b)| is_close(a, b))
    });
    Ok((alone, together))
}

/// Numbers that can be compared.
trait Values {
    fn values(&self) -> impl Iterator<Item = f32>;
}

impl Values for Latent {
    fn values(&self) -> impl Iterator<Item = f32> {
        self.as_slice().iter().map(|value| value.to_f32())
    }
}

impl Values for Pixels {
    fn values(&self) -> impl Iterator<Item = f32> {
        self.as_rgb().iter().map(|byte| f32::from(*byte))
    }
}

fn is_close<V: Values>(a: &V, b: &V) -> bool {
    let largest = b.values().fold(0f32, |most, value| most.max(value.abs()));
    let mut pairs = a.values().zip(b.values());
    pairs.all(|(a, b)| (a - b).abs() <= TOLERANCE * largest)
}

/// Keeps a graph that was written for one image from being given more at once.
fn limit(half: &mut ModelHalf, which: Half, together: bool, notes: &mut Vec<String>) {
    if half.max_batch.is_none() && !together {
        half.max_batch = Some(1);
    }
    if half.max_batch == Some(1) {
        notes.push(format!(
            "the {} takes one image at a time, which a GPU is slower at",
            which.name()
        ));
    }
}

/// That latents have the size of the other kind, where the two can be told apart.
fn units_note(spec: &ModelSpec, half: &ModelHalf, latent: &Latent) -> Option<String> {
    let (scaling, shift) = (spec.scaling_factor.abs(), spec.shift_factor);
    if scaling.max(1.0 / scaling) < TELLING {
        return None;
    }
    // Latents are scaled to a deviation of about 1.
    let squares = latent.values().map(|v| (f64::from(v) - shift).powi(2));
    let values: Vec<f64> = squares.collect();
    let found = (values.iter().sum::<f64>() / values.len() as f64).sqrt();
    let usual = 1.0 / scaling;
    let other = if half.latent.scaled {
        usual.powi(2)
    } else {
        1.0
    };
    let distance = |size: f64| (found / size).ln().abs();
    (distance(other) < distance(usual)).then(|| {
        let (given, right) = if half.latent.scaled {
            ("scaled", "without --scaled")
        } else {
            ("unscaled", "with --scaled")
        };
        format!(
            "taken as {given}, the latent of a test picture has values of about {found:.2}, and those of `{}` have about {usual:.2}: it may have to be added {right}",
            spec.latent_space
        )
    })
}

fn psnr_note(psnr: f64) -> String {
    let about = if psnr < LOW_PSNR {
        ": a wrong --input-range or --scaled, or halves of different models, would explain so little"
    } else {
        ""
    };
    format!("a smooth test picture comes back with {psnr:.1} dB{about}")
}
