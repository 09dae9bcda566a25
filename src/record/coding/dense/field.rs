//! Planes of a latent with a border, so that every value has neighbours.
//!
//! Invariant: a border holds what is known before the row below it is decoded: above the first row `start`, left of
//! a row the first value of the row above, right of it its last value, below the last row a copy of it.

use crate::latent::LatentShape;

/// Values beyond either end of a row.
const MARGIN: usize = 2;
/// Rows above the first one, and below the last.
const ABOVE: usize = 2;
const BELOW: usize = 1;

pub(super) struct Field<T> {
    pub(super) height: usize,
    pub(super) width: usize,
    stride: usize,
    cells: Vec<T>,
}

impl<T: Copy> Field<T> {
    /// With what the rows above the first one of each channel hold.
    pub(super) fn new(shape: LatentShape, starts: impl Iterator<Item = T>) -> Self {
        let (height, width) = (shape.height as usize, shape.width as usize);
        let stride = width + 2 * MARGIN;
        let plane = stride * (ABOVE + height + BELOW);
        let cells = starts
            .flat_map(|start| std::iter::repeat_n(start, plane))
            .collect();
        Self {
            height,
            width,
            stride,
            cells,
        }
    }

    /// The neighbours of row `y`: `down` rows down, -2 to 1, and `right` columns right, -2 to 2.
    #[inline]
    pub(super) fn moved(&self, channel: usize, y: usize, (down, right): (isize, isize)) -> &[T] {
        let row = self.offset(channel, y.wrapping_add_signed(down));
        let from = (row + MARGIN).wrapping_add_signed(right);
        &self.cells[from..from + self.width]
    }

    /// What stands left of row `y`, while it isn't known.
    pub(super) fn left_of(&self, channel: usize, y: usize) -> T {
        self.cells[self.offset(channel, y.wrapping_sub(1)) + MARGIN]
    }

    /// Takes row `y`, once the rows above it are there.
    pub(super) fn set_row(&mut self, channel: usize, y: usize, values: &[T]) {
        let left = self.left_of(channel, y);
        let from = self.offset(channel, y);
        let row = &mut self.cells[from..from + self.stride];
        row[..MARGIN].fill(left);
        row[MARGIN..MARGIN + values.len()].copy_from_slice(values);
        row[MARGIN + values.len()..].fill(values[values.len() - 1]);
        if y + 1 == self.height {
            self.cells
                .copy_within(from..from + self.stride, from + self.stride);
        }
    }

    /// Where row `y` begins with its margin; `y` may be as if wrapped below 0.
    fn offset(&self, channel: usize, y: usize) -> usize {
        let rows = self.height + ABOVE + BELOW;
        (channel * rows + y.wrapping_add(ABOVE)) * self.stride
    }
}
