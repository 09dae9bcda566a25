//! Where tiles lie in an image and how they meet; geometry alone.
//!
//! Invariant: tiles of a line have one length, cover it, and overlap by no less than was asked; every cell is
//! one tile's own; beside its neighbours a tile's cells weigh what theirs leave of 1.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Tiles as they were cut: `size` pixels along a side at the most, and no more than it takes to cover the image
/// with as few of them and `overlap` shared with each neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tiling {
    /// The longest side that a tile may have, in pixels: `tile_size`.
    pub size: u32,
    /// Pixels that neighbours share at least: `tile_overlap`.
    pub overlap: u32,
}

impl fmt::Display for Tiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.size, self.overlap)
    }
}

/// Whether images go through a model in tiles. Written as `auto`, `off`, `N` or `N:OVERLAP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TilePolicy {
    /// Where a run on the whole image would take more memory than it may, or more than a GPU has.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Wherever the image is larger than a tile.
    Fixed {
        /// Side of a tile in pixels, rounded up to whole cells of the latent.
        size: u32,
        /// Pixels that neighbours share, rounded up likewise; `None` for what suits the model.
        overlap: Option<u32>,
    },
}

impl FromStr for TilePolicy {
    type Err = Error;

    /// # Errors
    /// `InvalidInput` for anything else, tiles of no pixels, and an overlap of more than half a tile.
    fn from_str(text: &str) -> Result<Self> {
        let (size, overlap) = match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => match text.split_once(':') {
                Some((size, overlap)) => (size, Some(overlap)),
                None => (text, None),
            },
        };
        let number = |part: &str| part.parse::<u32>().ok().filter(|n| *n <= MOST_SIZE);
        let parsed = number(size)
            .filter(|size| *size > 0)
            .zip(overlap.map_or(Some(None), |part| number(part).map(Some)));
        let Some((size, overlap)) = parsed else {
            return Err(Error::invalid(format!(
                "`{}` says nothing of tiles: auto, off, N or N:OVERLAP in pixels, up to {MOST_SIZE}",
                text.escape_debug()
            )));
        };
        if let Some(overlap) = overlap.filter(|overlap| *overlap > size / 2) {
            return Err(Error::invalid(format!(
                "tiles of {size} pixels can't overlap by {overlap}: half a tile, {} pixels, is the most",
                size / 2
            )));
        }
        Ok(Self::Fixed { size, overlap })
    }
}

/// Larger tiles than any image that is read.
const MOST_SIZE: u32 = 1 << 20;

/// Tiles along one side, in cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    size: u32,
    starts: Vec<u32>,
}

/// What one tile covers of a line, in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) length: u32,
    /// Cells that the tile before covers too.
    pub(crate) shared: u32,
}

impl Line {
    /// As few tiles as can be of at most `size` cells that share at least `overlap`, and none longer than that
    /// takes. `overlap` is at most half of `size`.
    pub(crate) fn new(length: u32, size: u32, overlap: u32) -> Self {
        let size = size.clamp(1, length.max(1));
        let overlap = overlap.min(size / 2);
        let gaps = (length - size.min(length)).div_ceil((size - overlap).max(1));
        let enough = (length + gaps * overlap).div_ceil(gaps + 1);
        let size = enough.max(2 * overlap).min(size);
        let room = u64::from(length - size.min(length));
        let start = |n: u32| (u64::from(n) * room / u64::from(gaps.max(1))) as u32;
        Self {
            size,
            starts: (0..=gaps).map(start).collect(),
        }
    }

    /// The tiles from the first to the last.
    pub(crate) fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        self.starts.iter().enumerate().map(|(n, start)| Span {
            start: *start,
            length: self.size,
            shared: match n {
                0 => 0,
                _ => self.starts[n - 1] + self.size - start,
            },
        })
    }
}

impl Span {
    /// The places it covers, where a cell is `scale` of them.
    pub(crate) fn range(self, scale: u32) -> Range<usize> {
        let end = self.start + self.length;
        (self.start * scale) as usize..(end * scale) as usize
    }

    /// How much the tile's first places weigh against the tile before, which has the rest of 1: nothing over
    /// the first `cut` cells that they share, all over the last `cut`, and a ramp between. A cell is `scale`
    /// places.
    pub(crate) fn ramp(self, cut: u32, scale: u32) -> Vec<f32> {
        let shared = (self.shared * scale) as f32;
        let cut = (cut.min(self.shared / 2) * scale) as f32;
        let width = shared - 2.0 * cut;
        let weight = |place: u32| {
            let middle = place as f32 + 0.5;
            if width > 0.0 {
                ((middle - cut) / width).clamp(0.0, 1.0)
            } else {
                f32::from(u8::from(middle > cut))
            }
        };
        (0..self.shared * scale).map(weight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn policies_are_read_as_they_are_written() {
        let fixed = |size, overlap| TilePolicy::Fixed { size, overlap };
        for (text, policy) in [
            ("auto", TilePolicy::Auto),
            ("off", TilePolicy::Off),
            ("512", fixed(512, None)),
            ("512:64", fixed(512, Some(64))),
            ("512:0", fixed(512, Some(0))),
            ("512:256", fixed(512, Some(256))),
        ] {
            assert_eq!(text.parse::<TilePolicy>().unwrap(), policy);
        }
        let tiling = Tiling {
            size: 512,
            overlap: 64,
        };
        assert_eq!(tiling.to_string(), "512:64");
    }

    #[test]
    fn what_is_no_policy_is_refused_by_its_words() {
        for bad in [
            "",
            "0",
            "-1",
            "many",
            "512:",
            ":64",
            "512:x",
            "512:64:8",
            "4294967295",
        ] {
            let error = bad.parse::<TilePolicy>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
        let error = "512:300".parse::<TilePolicy>().unwrap_err().to_string();
        assert!(error.contains("512") && error.contains("300") && error.contains("256"));
    }

    #[test]
    fn an_image_no_larger_than_a_tile_is_one_tile() {
        for length in [1, 7, 64] {
            let spans: Vec<_> = Line::new(length, 64, 16).spans().collect();
            assert_eq!(spans.len(), 1);
            assert_eq!(spans[0].range(1), 0..length as usize);
        }
    }

    proptest! {
        #[test]
        fn tiles_cover_a_line_in_order_and_overlap_enough(
            length in 1u32..3000, size in 1u32..400, share in 0u32..=100
        ) {
            let overlap = size * share / 200;
            let spans: Vec<_> = Line::new(length, size, overlap).spans().collect();
            prop_assert_eq!(spans[0].start, 0);
            prop_assert_eq!(spans[spans.len() - 1].range(1).end, length as usize);
            let least = if spans.len() > 1 { overlap } else { 0 };
            for pair in spans.windows(2) {
                prop_assert_eq!(pair[0].length, pair[1].length);
                prop_assert!(pair[0].start < pair[1].start);
                prop_assert_eq!(pair[0].range(1).end - pair[1].range(1).start, pair[1].shared as usize);
                prop_assert!(pair[1].shared >= least);
            }
            // One tile less would not do.
            let fewer = spans.len() as u32 - 1;
            if fewer > 0 {
                prop_assert!(fewer * (size - overlap) + overlap < length);
            }
        }

        #[test]
        fn ramps_rise_and_are_their_own_mirror(
            shared in 0u32..60, cut in 0u32..40, scale in 1u32..9
        ) {
            let span = Span { start: 5, length: 100, shared };
            let ramp = span.ramp(cut, scale);
            prop_assert_eq!(ramp.len() as u32, shared * scale);
            for (up, down) in ramp.iter().zip(ramp.iter().rev()) {
                prop_assert!((up + down - 1.0).abs() < 1e-5, "{:?}", ramp);
            }
            prop_assert!(ramp.is_sorted());
            let cut = (cut.min(shared / 2) * scale) as usize;
            prop_assert!(ramp.iter().take(cut).all(|weight| *weight <= 0.0));
        }
    }
}
