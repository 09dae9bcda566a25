//! Latents to measure with, and records of them.

use std::path::Path;

use latentdb::backend::MemoryBackend;
use latentdb::half::f16;
use latentdb::{Database, ForeignLatent, Latent, LatentShape, Record, RecordId, Store};

use crate::Result;
use crate::data::mix;

/// The shape of the latent of a 512x512 image.
pub const SHAPE: LatentShape = LatentShape {
    channels: 4,
    height: 64,
    width: 64,
};

/// `count` latents of [`SHAPE`], and a sentence that says what they are.
///
/// With a folder of `.npy` latents of at least 64x64 cells: windows of them, mirrored and transposed, no two
/// alike. Without one: smooth fields with noise, which compress about as real ones do.
pub fn realistic(folder: Option<&Path>, count: usize) -> Result<(Vec<Latent>, String)> {
    let Some(folder) = folder else {
        let fields = (0..count).map(|seed| field(SHAPE, seed as u64));
        let text = "synthetic smooth fields with noise".into();
        return Ok((fields.collect::<Result<_>>()?, text));
    };
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.extension().is_some_and(|ending| ending == "npy"));
    names.sort();
    let read = |name: &std::path::PathBuf| -> Result<Latent> {
        let file = latentdb::read_latent(&std::fs::read(name)?, &name.to_string_lossy())?;
        Ok(file.latent)
    };
    let sources = names.iter().map(read).collect::<Result<Vec<_>>>()?;
    let windows = windows(&sources);
    if windows.len() < count {
        return Err(format!(
            "{} holds {} different windows, and {count} are wanted",
            folder.display(),
            windows.len()
        )
        .into());
    }
    // Evenly spread, so that every source has its share.
    let step = windows.len() as f64 / count as f64;
    let chosen = (0..count).map(|at| windows[(at as f64 * step) as usize].cut(&sources));
    let text = format!(
        "windows of {} latents of photographs, mirrored and transposed",
        sources.len()
    );
    Ok((chosen.collect::<Result<_>>()?, text))
}

/// A part of a source in one of its eight orientations.
#[derive(Clone, Copy)]
struct Window {
    source: usize,
    top: usize,
    left: usize,
    orientation: u8,
}

fn windows(sources: &[Latent]) -> Vec<Window> {
    let mut windows = Vec::new();
    for (source, latent) in sources.iter().enumerate() {
        let shape = latent.shape();
        if shape.channels != SHAPE.channels {
            continue;
        }
        let room = |size: u32, wanted: u32| (size + 1).saturating_sub(wanted) as usize;
        for top in 0..room(shape.height, SHAPE.height) {
            for left in 0..room(shape.width, SHAPE.width) {
                windows.extend((0..8).map(|orientation| Window {
                    source,
                    top,
                    left,
                    orientation,
                }));
            }
        }
    }
    windows
}

impl Window {
    fn cut(self, sources: &[Latent]) -> Result<Latent> {
        let source = sources[self.source].as_array();
        let (height, width) = (SHAPE.height as usize, SHAPE.width as usize);
        let mut values = Vec::with_capacity(SHAPE.values()?);
        for channel in 0..SHAPE.channels as usize {
            for y in 0..height {
                for x in 0..width {
                    let (mut row, mut column) = (y, x);
                    if self.orientation & 1 != 0 {
                        row = height - 1 - row;
                    }
                    if self.orientation & 2 != 0 {
                        column = width - 1 - column;
                    }
                    if self.orientation & 4 != 0 {
                        std::mem::swap(&mut row, &mut column);
                    }
                    values.push(source[[channel, self.top + row, self.left + column]]);
                }
            }
        }
        Ok(Latent::new(SHAPE, values)?)
    }
}

/// A smooth field with noise: another one for each seed.
pub fn field(shape: LatentShape, seed: u64) -> Result<Latent> {
    let mut values = Vec::with_capacity(shape.values()?);
    let noise = |at: u64| mix(seed << 24 ^ at) as f64 / u64::MAX as f64 - 0.5;
    for channel in 0..u64::from(shape.channels) {
        let wave = |at| 0.05 + 0.2 * (noise(1 + channel * 4 + at) + 0.5);
        let (across, down, phase) = (wave(0), wave(1), 40.0 * wave(2));
        for y in 0..shape.height {
            for x in 0..shape.width {
                let smooth = (f64::from(x) * across + phase).sin() + (f64::from(y) * down).cos();
                // Three uniform numbers make nearly a normal one.
                let at = (channel << 20 | u64::from(y) << 10 | u64::from(x)) * 3 + 1000;
                let grain: f64 = (at..at + 3).map(noise).sum();
                values.push(f16::from_f64(3.0 * smooth + 3.0 * grain));
            }
        }
    }
    Ok(Latent::new(shape, values)?)
}

/// A record of `latent` as a put of a latent that was made elsewhere makes it. Copies of it under other ids, with
/// other values of the same shape, are records too.
pub fn record(id: &str, latent: Latent) -> Result<Record> {
    let shape = latent.shape();
    let db = Database::over(Store::new(MemoryBackend::new()));
    let size = (shape.width * 8, shape.height * 8);
    let latent = ForeignLatent {
        encoder: Some("sd-vae-ft-mse".into()),
        ..ForeignLatent::new(latent, "sd-v1", size)
    };
    db.put_latent(id, latent, false)?;
    Ok(db.store().get(&RecordId::new(id)?)?)
}
