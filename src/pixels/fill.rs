//! Colours for pixels that are fully transparent, so that an encoder sees no edge where a reader sees none.
//!
//! Invariant: pixels that can be seen keep their colours, and what lies under the others doesn't depend on what was
//! there before.

use std::borrow::Cow;

use super::Pixels;

/// The colour of an image of which nothing can be seen.
const NOTHING: [u8; 3] = [128; 3];

/// A colour times its weight, and the weight.
type Cell = [f32; 4];

/// Cells of 2x2 pixels, or of 2x2 cells of the level before.
struct Level {
    width: usize,
    height: usize,
    cells: Vec<Cell>,
}

impl Pixels {
    /// The colours alone; those of fully transparent pixels are made from what can be seen around them, smoothly.
    ///
    /// A VAE spreads what it sees over some tens of pixels: black or random colours under transparent pixels would
    /// show as a fringe along every edge. (The pull-push algorithm of Gortler et al., "The Lumigraph", 1996: averages
    /// over ever larger squares, weighted by alpha, then the gaps of each level are filled from the next larger one.)
    pub(crate) fn without_hidden_colors(&self) -> Cow<'_, Self> {
        let Some(alpha) = &self.alpha else {
            return Cow::Borrowed(self);
        };
        let mut filled = Self {
            data: self.data.clone(),
            alpha: None,
            ..*self
        };
        if !alpha.contains(&0) {
            return Cow::Owned(filled);
        }
        let width = self.width as usize;
        let surroundings = self.surroundings(alpha);
        let (colors, _) = filled.data.as_chunks_mut::<3>();
        for (at, (color, _)) in
            (colors.iter_mut().zip(alpha).enumerate()).filter(|(_, (_, a))| **a == 0)
        {
            let [r, g, b, weight] = surroundings.between(at % width, at / width);
            *color = if weight > 0.0 {
                [r, g, b].map(|sum| (sum / weight).round_ties_even() as u8)
            } else {
                NOTHING
            };
        }
        Cow::Owned(filled)
    }

    /// The colours that can be seen, at half the size and without gaps.
    fn surroundings(&self, alpha: &[u8]) -> Level {
        let (colors, _) = self.data.as_chunks::<3>();
        let pixel = |at: usize| {
            let weight = f32::from(alpha[at]) / 255.0;
            let [r, g, b] = colors[at].map(|value| f32::from(value) * weight);
            [r, g, b, weight]
        };
        let mut levels = vec![Level::halving(
            self.width as usize,
            self.height as usize,
            pixel,
        )];
        while let Some(last) = levels.last()
            && last.cells.len() > 1
        {
            let next = Level::halving(last.width, last.height, |at| last.cells[at]);
            levels.push(next);
        }
        let fill = |larger: Level, mut level: Level| {
            let width = level.width;
            for (at, cell) in level.cells.iter_mut().enumerate() {
                let missing = 1.0 - cell[3];
                for (sum, value) in cell.iter_mut().zip(larger.between(at % width, at / width)) {
                    *sum += missing * value;
                }
            }
            level
        };
        let filled = levels.into_iter().rev().reduce(fill);
        filled.expect("there is a first level")
    }
}

impl Level {
    /// Sums of 2x2 of `width` x `height` cells, with weights of at most 1.
    fn halving(width: usize, height: usize, cell: impl Fn(usize) -> Cell) -> Self {
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        let mut cells = vec![[0.0; 4]; half_width * half_height];
        for at in 0..width * height {
            let sum = &mut cells[at / width / 2 * half_width + at % width / 2];
            for (sum, value) in sum.iter_mut().zip(cell(at)) {
                *sum += value;
            }
        }
        for cell in &mut cells {
            let weight = cell[3].max(1.0);
            *cell = cell.map(|value| value / weight);
        }
        Self {
            width: half_width,
            height: half_height,
            cells,
        }
    }

    /// What this level has at the cell (`x`, `y`) of the level that is twice as large: bilinear.
    fn between(&self, x: usize, y: usize) -> Cell {
        // The middle of an even cell lies a quarter before the middle of the cell it is part of.
        let near = |at: usize, length: usize| {
            let other = if at.is_multiple_of(2) {
                (at / 2).saturating_sub(1)
            } else {
                (at / 2 + 1).min(length - 1)
            };
            [(at / 2, 0.75), (other, 0.25)]
        };
        let mut sum = [0.0; 4];
        for (row, down) in near(y, self.height) {
            for (column, across) in near(x, self.width) {
                let cell = &self.cells[row * self.width + column];
                for (sum, value) in sum.iter_mut().zip(cell) {
                    *sum += across * down * value;
                }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square of `side`, red inside a disc of radius `radius` around its middle, black and transparent outside.
    fn disc(side: u32, radius: f64) -> Pixels {
        let middle = f64::from(side) / 2.0 - 0.5;
        let inside = |at: u32| {
            let (x, y) = (f64::from(at % side) - middle, f64::from(at / side) - middle);
            x.hypot(y) <= radius
        };
        let all = 0..side * side;
        let colors = all
            .clone()
            .flat_map(|at| if inside(at) { [200, 30, 10] } else { [0; 3] });
        let alpha = all.map(|at| u8::from(inside(at)) * 255);
        let colors = Pixels::from_rgb(side, side, colors.collect()).unwrap();
        colors.with_alpha(alpha.collect()).unwrap()
    }

    #[test]
    fn hidden_colours_become_those_that_can_be_seen_nearby() {
        let filled = disc(37, 9.0).without_hidden_colors().into_owned();
        assert_eq!(filled.alpha(), None);
        assert!(
            filled
                .as_rgb()
                .chunks(3)
                .all(|color| color == [200, 30, 10])
        );
    }

    #[test]
    fn seen_colours_stay_and_hidden_ones_do_not_matter() {
        let colors = |hidden: u8| vec![10, 20, 30, hidden, hidden, hidden, 50, 60, 71, 1, 1, 1];
        let filled = |hidden| {
            let pixels = Pixels::from_rgb(4, 1, colors(hidden)).unwrap();
            let seen = pixels.with_alpha(vec![255, 0, 85, 1]).unwrap();
            seen.without_hidden_colors().into_owned()
        };
        assert_eq!(filled(0), filled(255));
        let colors = filled(9);
        let (colors, _) = colors.as_rgb().as_chunks::<3>();
        let hidden = colors[1];
        assert_eq!(
            [colors[0], colors[2], colors[3]],
            [[10, 20, 30], [50, 60, 71], [1; 3]]
        );
        // Nearer to its neighbour on the left, whose square of 2x2 it is in.
        assert!((10..30).contains(&hidden[0]), "{hidden:?}");
    }

    #[test]
    fn neighbours_weigh_as_much_as_can_be_seen_of_them() {
        let pixels = Pixels::from_rgb(2, 2, [[0; 3], [9; 3], [9; 3], [200; 3]].concat()).unwrap();
        let seen = pixels.with_alpha(vec![50, 0, 0, 150]).unwrap();
        let filled = seen.without_hidden_colors();
        assert_eq!(
            filled.as_rgb(),
            [[0; 3], [150; 3], [150; 3], [200; 3]].concat()
        );
    }

    #[test]
    fn an_image_of_which_nothing_can_be_seen_is_grey() {
        let pixels = Pixels::from_rgb(5, 3, (0..45).collect()).unwrap();
        let hidden = pixels.with_alpha(vec![0; 15]).unwrap();
        assert_eq!(hidden.without_hidden_colors().as_rgb(), [128; 45]);
    }
}
