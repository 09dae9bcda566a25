//! Whether an image goes through half a model in tiles, and in which.
//!
//! Invariant: what was predicted for a whole image, or for a tile and what is kept beside it, fits the budget, unless
//! not even the smallest tile does.

use super::hub::{Hub, HubOptions};
use super::provider::Provider;
use super::run::Job;
use crate::error::{Error, Result};
use crate::tile::{TilePolicy, Tiling};

/// Bytes that a run takes for each pixel where nothing is known of the graph: a little more than the decoder of
/// Stable Diffusion takes, the greediest of those measured (docs/tiles.md).
const UNKNOWN_BYTES_PER_PIXEL: u64 = 4000;

/// Bytes for each pixel of the whole image that are there besides: as it is read, and as it is put together.
const IMAGE_BYTES_PER_PIXEL: u64 = 12;

/// The same of an image that is sampled: in f32, it is there noisy, scaled, as it comes out and in a tile's strip.
const SAMPLED_BYTES_PER_PIXEL: u64 = 60;

/// ONNX Runtime and everything else, in bytes.
const PROGRAM_BYTES: u64 = 80_000_000;

/// Overlap in pixels where norms see the whole image, so that no overlap makes tiles exact.
const OVERLAP: u32 = 128;

/// `auto` makes no smaller tiles than of these pixels a side, or of twice their overlap.
const SMALLEST: u32 = 256;

/// The tiles of `auto` on a GPU that ran out of memory.
const ON_GPU: u32 = 1024;

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) tiling: Tiling,
    /// What a person should know of it.
    pub(super) note: Option<String>,
}

impl Job<'_> {
    /// Bytes that a run over so many pixels is expected to take at its peak.
    fn bytes(&self, pixels: u64) -> u64 {
        let facts = self.half.tiles.as_ref();
        let each = facts.map_or(UNKNOWN_BYTES_PER_PIXEL, |facts| facts.bytes_per_pixel);
        self.base_bytes()
            .saturating_add(each.saturating_mul(pixels))
    }

    /// Bytes that don't depend on the image: the program, and the weights in f32.
    fn base_bytes(&self) -> u64 {
        let files = self.spec.files.iter().map(|file| file.bytes).sum::<u64>();
        PROGRAM_BYTES + self.half.parameters.map_or(files, |count| 4 * count)
    }

    /// Bytes for each pixel of the whole image beside what a run takes.
    fn image_bytes(&self) -> u64 {
        match self.half.sampler {
            Some(_) => SAMPLED_BYTES_PER_PIXEL,
            None => IMAGE_BYTES_PER_PIXEL,
        }
    }

    /// Pixels that neighbours share where nobody says how many.
    fn overlap(&self) -> u32 {
        let reach = self.half.tiles.as_ref().and_then(|facts| facts.reach);
        reach.map_or(OVERLAP, |reach| 2 * self.whole_cells(reach))
    }

    fn whole_cells(&self, pixels: u32) -> u32 {
        pixels.next_multiple_of(self.spec.spatial_compression_ratio)
    }

    /// Tiles of whole cells that overlap by no more than half.
    fn tiling(&self, size: u32, overlap: Option<u32>) -> Tiling {
        let ratio = self.spec.spatial_compression_ratio;
        let size = self.whole_cells(size);
        let most = size / 2 / ratio * ratio;
        let overlap = self.whole_cells(overlap.unwrap_or_else(|| self.overlap()));
        Tiling {
            size,
            overlap: overlap.min(most),
        }
    }

    /// The cells at the edge of what two tiles share that only one of them is asked for: all that the edge of the
    /// other reaches, or a quarter where that is too many.
    pub(super) fn cut(&self, overlap: u32) -> u32 {
        let ratio = self.spec.spatial_compression_ratio;
        let reach = self.half.tiles.as_ref().and_then(|facts| facts.reach);
        let reach = reach.map(|reach| reach.div_ceil(ratio));
        let cells = overlap / ratio;
        reach
            .filter(|reach| 2 * reach <= cells)
            .unwrap_or(cells / 4)
    }

    /// The largest tiles that fit a budget of `memory` bytes, if the whole image doesn't.
    fn fit(&self, (width, height): (u32, u32), memory: u64) -> Option<Choice> {
        let pixels = u64::from(width) * u64::from(height);
        let whole = self.bytes(pixels);
        if whole <= memory {
            return None;
        }
        let around = self.bytes(0) + self.image_bytes() * pixels;
        let each = (self.bytes(1) - self.bytes(0)).max(1);
        let side = (memory.saturating_sub(around) / each).isqrt();
        let least = SMALLEST.max(2 * self.overlap());
        let step = self.spec.spatial_compression_ratio;
        let side = (side.min(u64::from(u32::MAX / 2)) as u32 / step * step).max(least);
        (width.max(height) > side).then(|| {
            let tiling = self.tiling(side, None);
            let why = format!(
                "because all of it at once would take {} GB and --memory allows {} GB",
                gigabytes(whole),
                gigabytes(memory)
            );
            Choice {
                note: self.note(tiling, &why),
                tiling,
            }
        })
    }

    /// What a person should know of tiles that weren't asked for; nothing where they change nothing.
    fn note(&self, tiling: Tiling, why: &str) -> Option<String> {
        let facts = self.half.tiles.as_ref();
        if facts.is_some_and(|facts| facts.reach.is_some()) {
            return None;
        }
        let alike = if facts.is_some_and(|facts| facts.file.is_some()) {
            "tones may differ slightly from those of the whole"
        } else {
            "tones and seams may show"
        };
        Some(format!(
            "{} worked in tiles of {tiling}, {why}: {alike}",
            self.name()
        ))
    }
}

impl Hub {
    /// The tiles in which an image of so many pixels goes through `job` on `provider`; `None` for the whole.
    ///
    /// # Errors
    /// `InvalidInput` for tiles that were asked for and are smaller than two cells.
    pub(super) fn tiling(
        &self,
        job: Job<'_>,
        provider: Provider,
        size: (u32, u32),
    ) -> Result<Option<Choice>> {
        match self.options.tile {
            TilePolicy::Off => Ok(None),
            TilePolicy::Fixed {
                size: longest,
                overlap,
            } => {
                let cell = job.spec.spatial_compression_ratio;
                if longest < 2 * cell {
                    return Err(Error::invalid(format!(
                        "tiles of {longest} pixels are too small for `{}`: a cell of its latents is {cell} pixels, and a tile at least two",
                        job.spec.name
                    )));
                }
                let tiling = job.tiling(longest, overlap);
                let larger = size.0.max(size.1) > tiling.size;
                Ok(larger.then_some(Choice { tiling, note: None }))
            }
            // What memory a GPU has isn't known; it says when it is full.
            TilePolicy::Auto if provider != Provider::Cpu => Ok(None),
            TilePolicy::Auto => {
                let memory = self.options.memory.unwrap_or(HubOptions::DEFAULT_MEMORY);
                let each = memory / self.options.sessions.max(1) as u64;
                Ok(job.fit(size, each))
            }
        }
    }

    /// The tiles to try after a GPU ran out of memory over an image of `size`, if tiles may be chosen.
    pub(super) fn smaller(&self, job: Job<'_>, (width, height): (u32, u32)) -> Option<Choice> {
        let may = self.options.tile == TilePolicy::Auto && width.max(height) > ON_GPU;
        may.then(|| {
            let tiling = job.tiling(ON_GPU, None);
            Choice {
                note: job.note(tiling, "because the GPU ran out of memory"),
                tiling,
            }
        })
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::builtin;
    use crate::model::run::Side;
    use crate::model::spec::{ModelSpec, TileFacts};

    const GB: u64 = 1_000_000_000;

    /// A model whose decoder takes so many bytes a pixel; its norms see the whole image, unless it has a reach.
    fn model(bytes_per_pixel: u64, reach: Option<u32>) -> ModelSpec {
        let mut spec = builtin::tiny();
        if let Some(half) = &mut spec.decoder {
            half.parameters = Some(50_000_000);
            half.tiles = Some(TileFacts {
                bytes_per_pixel,
                reach,
                file: None,
                file_f16: None,
            });
        }
        spec
    }

    fn hub(tile: TilePolicy, memory: u64, sessions: usize) -> Hub {
        Hub::new(HubOptions {
            tile,
            memory: Some(memory),
            sessions,
            ..HubOptions::default()
        })
    }

    fn choose(spec: &ModelSpec, hub: &Hub, size: (u32, u32)) -> Result<Option<Choice>> {
        hub.tiling(Job::of(spec, Side::Decoder)?, Provider::Cpu, size)
    }

    #[test]
    fn auto_cuts_only_what_does_not_fit_and_cuts_it_so_that_it_does() {
        let spec = model(3000, None);
        let job = Job::of(&spec, Side::Decoder).unwrap();
        for memory in [GB, 2 * GB, 4 * GB, 16 * GB] {
            let hub = hub(TilePolicy::Auto, memory, 0);
            for side in [64, 512, 1024, 2048, 4096] {
                let choice = choose(&spec, &hub, (side, side)).unwrap();
                let pixels = u64::from(side) * u64::from(side);
                let Some(choice) = choice else {
                    assert!(job.bytes(pixels) <= memory, "{side} in {memory}");
                    continue;
                };
                assert!(job.bytes(pixels) > memory, "{side} in {memory}");
                let tile = u64::from(choice.tiling.size).pow(2);
                assert!(job.bytes(tile) + 12 * pixels <= memory, "{choice:?}");
                assert!(choice.note.unwrap().contains("--memory"));
            }
        }
    }

    #[test]
    fn concurrent_runs_share_the_memory() {
        let spec = model(3000, None);
        let size = (1000, 1000);
        let alone = hub(TilePolicy::Auto, 4 * GB, 1);
        assert_eq!(choose(&spec, &alone, size).unwrap(), None);
        let two = hub(TilePolicy::Auto, 4 * GB, 2);
        assert!(choose(&spec, &two, size).unwrap().is_some());
    }

    #[test]
    fn a_budget_that_nothing_fits_gets_the_smallest_tiles() {
        let spec = model(3000, Some(132));
        let choice = choose(&spec, &hub(TilePolicy::Auto, 1, 0), (4000, 3000));
        let choice = choice.unwrap().unwrap();
        assert_eq!(choice.tiling.to_string(), "544:272");
        assert_eq!(choice.note, None, "tiles of this model change nothing");
    }

    #[test]
    fn tiles_are_whole_cells_and_overlap_as_the_model_needs() {
        let spec = model(3000, Some(132));
        for (text, size, tiling) in [
            ("600", (601, 8), Some("600:272")),
            ("600", (600, 600), None),
            ("601:1", (700, 700), Some("608:8")),
            ("256", (700, 700), Some("256:128")),
            ("off", (70_000, 70_000), None),
        ] {
            let hub = hub(text.parse().unwrap(), 1, 0);
            let choice = choose(&spec, &hub, size).unwrap();
            let found = choice.map(|choice| choice.tiling.to_string());
            assert_eq!(found.as_deref(), tiling, "{text}");
        }
        let unknown = model(3000, None);
        let choice = choose(&unknown, &hub("512".parse().unwrap(), 1, 0), (600, 600));
        assert_eq!(choice.unwrap().unwrap().tiling.overlap, OVERLAP);
        let too_small = choose(&spec, &hub("15".parse().unwrap(), 1, 0), (600, 600));
        assert!(too_small.unwrap_err().to_string().contains("15 pixels"));
    }

    #[test]
    fn a_gpu_is_asked_for_the_whole_first_and_for_tiles_only_where_they_may_be_chosen() {
        let spec = model(3000, None);
        let job = Job::of(&spec, Side::Decoder).unwrap();
        let (cuda, size) = (Provider::Cuda(0), (4000, 3000));
        let auto = hub(TilePolicy::Auto, 1, 0);
        assert_eq!(auto.tiling(job, cuda, size).unwrap(), None);
        assert_eq!(auto.smaller(job, size).unwrap().tiling.size, 1024);
        assert_eq!(auto.smaller(job, (1000, 1000)), None);
        assert_eq!(hub(TilePolicy::Off, 1, 0).smaller(job, size), None);
    }
}
