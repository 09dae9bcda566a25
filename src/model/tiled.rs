//! Images and latents through half a model, whole or in tiles that are put together.
//!
//! Invariant: tiles see what lies around them in the image, and its own border as the whole image does; where norms
//! look at the whole image, all tiles are given one set of statistics.

use half::f16;

use super::attempt::Attempt;
use super::budget::Choice;
use super::hub::Hub;
use super::provider::Provider;
use super::run::{Job, Scope};
use super::session::{Failure, Session};
use super::sheet::Sheet;
use super::survey::survey;
use super::tensors::Number;
use crate::error::{Error, ErrorKind, Result};
use crate::latent::{Latent, LatentShape};
use crate::pixels::Pixels;
use crate::tile::{Line, Span};

/// What came out, and the tiles it came in.
pub(super) type Tiled<T> = (T, Option<Choice>);

/// What a tile covers of the columns and of the rows, in cells.
pub(super) type Place = (Span, Span);

impl Hub {
    /// Encodes images of one size.
    pub(super) fn encode_in(
        &self,
        job: Job<'_>,
        attempt: Attempt,
        images: &[&Pixels],
    ) -> Result<Vec<Tiled<Latent>>, Failure> {
        let size = images.first();
        let size = size.map_or((1, 1), |first| (first.width(), first.height()));
        let cell = job.spec.spatial_compression_ratio;
        let whole = || {
            let padded = images.iter().map(|image| image.pad_to_multiple(cell));
            let padded: Vec<_> = padded.collect();
            let padded: Vec<_> = padded.iter().map(|image| &**image).collect();
            self.with_session(job, Scope::Image, attempt, |session| {
                job.in_batches(attempt.provider, &padded, |batch| {
                    session.encode(job.spec, job.half, batch)
                })
            })
        };
        let run = |session: &mut Session, tile: Sheet<u8>| {
            let (width, height) = (tile.columns() as u32, tile.rows() as u32);
            let tile = Pixels::from_rgb(width, height, tile.into_values())?;
            let latents = session.encode(job.spec, job.half, &[&tile])?;
            let sheets = latents.iter().map(sheet_of_latent);
            only(sheets)
        };
        let shape = job.spec.latent_shape(size.0, size.1);
        let cells = (shape.width, shape.height);
        let tiled = |choice: &Choice, image: &&Pixels| {
            let blank = Sheet::new(shape.channels as usize, 1, 1, Vec::new());
            let blank = blank.blank(shape.width as usize, shape.height as usize);
            let cut_out = |place| tile_of_pixels(image, place, cell);
            let done = self.in_tiles((job, attempt, choice), cells, (cut_out, run), (blank, 1))?;
            Ok(Latent::new(shape, done.into_values())?)
        };
        self.whole_or_tiled(job, attempt, (size, images), whole, tiled)
    }

    /// Decodes latents of one shape to images of `size` pixels.
    pub(super) fn decode_in(
        &self,
        job: Job<'_>,
        attempt: Attempt,
        latents: &[&Latent],
        size: (u32, u32),
    ) -> Result<Vec<Tiled<Pixels>>, Failure> {
        let whole = || {
            let images = self.with_session(job, Scope::Image, attempt, |session| {
                job.in_batches(attempt.provider, latents, |batch| {
                    session.decode(job.spec, job.half, batch)
                })
            })?;
            let exact = images.into_iter().map(|image| cropped(image, size));
            Ok(exact.collect::<Result<_>>()?)
        };
        let shape = job.spec.latent_shape(size.0, size.1);
        let cells = (shape.width, shape.height);
        let run = |session: &mut Session, tile: Sheet<f16>| {
            let tile = latent_of_sheet(shape.channels, tile)?;
            let images = session.decode(job.spec, job.half, &[&tile])?;
            only(images.into_iter().map(sheet_of_pixels))
        };
        let tiled = |choice: &Choice, latent: &&Latent| {
            let blank = Sheet::new(1, 1, 3, Vec::new());
            let blank = blank.blank(size.0 as usize, size.1 as usize);
            let latent = sheet_of_latent(latent);
            let cut_out = |(x, y): Place| Ok(latent.cut_out(x.range(1), y.range(1)));
            let scale = job.spec.spatial_compression_ratio;
            let done = self.in_tiles(
                (job, attempt, choice),
                cells,
                (cut_out, run),
                (blank, scale),
            )?;
            Ok(Pixels::from_rgb(size.0, size.1, done.into_values())?)
        };
        self.whole_or_tiled(job, attempt, (size, latents), whole, tiled)
    }

    /// The items whole, or one after another in tiles: as the policy says, or because a GPU is too small.
    pub(super) fn whole_or_tiled<I, T>(
        &self,
        job: Job<'_>,
        attempt: Attempt,
        (size, items): ((u32, u32), &[I]),
        whole: impl FnOnce() -> Result<Vec<T>, Failure>,
        tiled: impl Fn(&Choice, &I) -> Result<T, Failure>,
    ) -> Result<Vec<Tiled<T>>, Failure> {
        let choice = match self.tiling(job, attempt.provider, size)? {
            Some(choice) => choice,
            None => match (whole(), self.smaller(job, size)) {
                (Err(failure), Some(choice)) if is_full_gpu(&failure, attempt.provider) => choice,
                (done, _) => return Ok(done?.into_iter().map(|value| (value, None)).collect()),
            },
        };
        let one = |item| Ok((tiled(&choice, item)?, Some(choice.clone())));
        items.iter().map(one).collect()
    }

    /// Runs `job` over the tiles of one image of so many cells and puts what comes out together on `sheet`, where a
    /// cell is `scale` places. `cut_out` makes a tile and `run` runs it.
    pub(super) fn in_tiles<I, O: Number>(
        &self,
        (job, attempt, choice): (Job<'_>, Attempt, &Choice),
        (columns, rows): (u32, u32),
        (cut_out, run): (
            impl Fn(Place) -> Result<I>,
            impl Fn(&mut Session, I) -> Result<Sheet<O>, Failure>,
        ),
        (mut sheet, scale): (Sheet<O>, u32),
    ) -> Result<Sheet<O>, Failure> {
        let ratio = job.spec.spatial_compression_ratio;
        let (size, overlap) = (choice.tiling.size / ratio, choice.tiling.overlap / ratio);
        let line = |length| Line::new(length, size, overlap);
        let (across, down) = (line(columns), line(rows));
        let cut = job.cut(choice.tiling.overlap);
        let normed = job
            .half
            .tiles
            .as_ref()
            .is_some_and(|facts| facts.file.is_some());
        let scope = if normed { Scope::Tile } else { Scope::Image };
        self.with_session(job, scope, attempt, |session| {
            if normed {
                let places = down
                    .spans()
                    .flat_map(|y| across.spans().map(move |x| (x, y)));
                survey(session, places, &cut_out, &run)?;
            }
            for y in down.spans() {
                let mut strip = sheet.blank(sheet.columns(), (y.length * scale) as usize);
                for x in across.spans() {
                    let tile = run(session, cut_out((x, y))?)?;
                    let ramp = x.ramp(cut, scale);
                    strip.lay(&tile, ((x.start * scale) as usize, 0), &ramp, &[]);
                }
                let ramp = y.ramp(cut, scale);
                sheet.lay(&strip, (0, (y.start * scale) as usize), &[], &ramp);
            }
            Ok(())
        })?;
        Ok(sheet)
    }
}

fn only<T>(mut sheets: impl Iterator<Item = Sheet<T>>) -> Result<Sheet<T>, Failure> {
    let nothing = || Error::new(ErrorKind::Inference, "the model gave nothing for a tile");
    Ok(sheets.next().ok_or_else(nothing)?)
}

/// Whether a GPU had no room for it.
fn is_full_gpu(failure: &Failure, provider: Provider) -> bool {
    match failure {
        Failure::Failed(error) if provider != Provider::Cpu => {
            let text = format!("{error:#}").to_lowercase();
            ["out of memory", "failed to allocate memory"]
                .iter()
                .any(|words| text.contains(words))
        }
        _ => false,
    }
}

/// A tile of `image`, where a cell is `cell` pixels a side; at the right and the bottom padded to whole cells.
fn tile_of_pixels(image: &Pixels, (x, y): Place, cell: u32) -> Result<Sheet<u8>> {
    let (left, top) = (x.start * cell, y.start * cell);
    let width = (x.length * cell).min(image.width() - left);
    let height = (y.length * cell).min(image.height() - top);
    let tile = image.crop(left, top, width, height)?;
    Ok(sheet_of_pixels(tile.pad_to_multiple(cell).into_owned()))
}

fn sheet_of_pixels(image: Pixels) -> Sheet<u8> {
    Sheet::new(1, image.width() as usize, 3, image.into_rgb())
}

pub(super) fn sheet_of_latent(latent: &Latent) -> Sheet<f16> {
    let shape = latent.shape();
    let values = latent.as_slice().to_vec();
    Sheet::new(shape.channels as usize, shape.width as usize, 1, values)
}

pub(super) fn latent_of_sheet(channels: u32, sheet: Sheet<f16>) -> Result<Latent> {
    let shape = LatentShape {
        channels,
        height: sheet.rows() as u32,
        width: sheet.columns() as u32,
    };
    Latent::new(shape, sheet.into_values())
}

/// The image without what whole cells have beyond its `size`.
pub(super) fn cropped(image: Pixels, size: (u32, u32)) -> Result<Pixels> {
    if (image.width(), image.height()) == size {
        return Ok(image);
    }
    image.crop(0, 0, size.0, size.1)
}
