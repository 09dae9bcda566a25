//! Rows and columns of values, cut apart and put together again.
//!
//! Invariant: what is laid over a place that has a value already leaves it the rest of its own weight; beyond the
//! edge nothing is laid.

use std::ops::Range;

use super::tensors::Number;

/// Planes of rows of places, each of `each` values: the three colours of a pixel, or one value of a channel.
pub(super) struct Sheet<T> {
    planes: usize,
    columns: usize,
    each: usize,
    values: Vec<T>,
}

impl<T: Number> Sheet<T> {
    /// The values of `planes` planes with rows of `columns` places.
    pub(super) fn new(planes: usize, columns: usize, each: usize, values: Vec<T>) -> Self {
        Self {
            planes,
            columns,
            each,
            values,
        }
    }

    /// All zeros, of the same planes and places as this: `columns` x `rows` of them.
    pub(super) fn blank(&self, columns: usize, rows: usize) -> Self {
        let count = self.planes * rows * columns * self.each;
        Self {
            columns,
            values: vec![T::from_f32(0.0); count],
            ..*self
        }
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / (self.planes * self.columns * self.each)
    }

    pub(super) fn into_values(self) -> Vec<T> {
        self.values
    }

    /// The places of these columns and rows.
    pub(super) fn cut_out(&self, x: Range<usize>, y: Range<usize>) -> Self {
        let mut values = Vec::with_capacity(self.planes * x.len() * y.len() * self.each);
        for plane in 0..self.planes {
            for row in y.clone() {
                let start = (plane * self.rows() + row) * self.columns;
                let span = (start + x.start) * self.each..(start + x.end) * self.each;
                values.extend_from_slice(&self.values[span]);
            }
        }
        Self::new(self.planes, x.len(), self.each, values)
    }

    /// Lays `part` with its first place at column `x` and row `y`. Its first columns weigh what `across` says and
    /// its first rows what `down` says; all others cover what was there.
    pub(super) fn lay(
        &mut self,
        part: &Self,
        (x, y): (usize, usize),
        across: &[f32],
        down: &[f32],
    ) {
        let (rows, part_rows) = (self.rows(), part.rows());
        let width = part.columns.min(self.columns.saturating_sub(x)) * self.each;
        let ramp = (across.len() * self.each).min(width);
        for plane in 0..self.planes {
            for row in 0..part_rows.min(rows.saturating_sub(y)) {
                let to = ((plane * rows + y + row) * self.columns + x) * self.each;
                let from = (plane * part_rows + row) * part.columns * self.each;
                let to = &mut self.values[to..to + width];
                let from = &part.values[from..from + width];
                let weight = down.get(row).copied().unwrap_or(1.0);
                let (to_ramp, to_rest) = to.split_at_mut(ramp);
                let (from_ramp, from_rest) = from.split_at(ramp);
                for (at, (to, from)) in to_ramp.iter_mut().zip(from_ramp).enumerate() {
                    mix(to, *from, weight * across[at / self.each]);
                }
                if weight < 1.0 {
                    let pairs = to_rest.iter_mut().zip(from_rest);
                    pairs.for_each(|(to, from)| mix(to, *from, weight));
                } else {
                    to_rest.copy_from_slice(from_rest);
                }
            }
        }
    }
}

fn mix<T: Number>(to: &mut T, from: T, weight: f32) {
    let before = to.to_f32();
    *to = T::from_f32(before + (from.to_f32() - before) * weight);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile::Line;
    use proptest::prelude::*;

    fn numbered(planes: usize, columns: usize, rows: usize, each: usize) -> Sheet<u8> {
        let count = planes * columns * rows * each;
        let values = (0..count).map(|n| (n * 37 % 251) as u8).collect();
        Sheet::new(planes, columns, each, values)
    }

    proptest! {
        #[test]
        fn tiles_of_an_image_are_put_together_to_that_image(
            columns in 1u32..50, rows in 1u32..50, size in 2u32..30, share in 0u32..=100,
            cut in 0u32..6, form in 0usize..2
        ) {
            let (planes, each) = [(1, 3), (4, 1)][form];
            let image = numbered(planes, columns as usize, rows as usize, each);
            let overlap = size * share / 200;
            let (across, down) = (Line::new(columns, size, overlap), Line::new(rows, size, overlap));
            let mut whole = image.blank(image.columns(), image.rows());
            for y in down.spans() {
                let mut strip = image.blank(image.columns(), y.length as usize);
                for x in across.spans() {
                    let tile = image.cut_out(x.range(1), y.range(1));
                    strip.lay(&tile, (x.start as usize, 0), &x.ramp(cut, 1), &[]);
                }
                whole.lay(&strip, (0, y.start as usize), &[], &y.ramp(cut, 1));
            }
            prop_assert_eq!(whole.into_values(), image.into_values());
        }
    }

    #[test]
    fn a_ramp_mixes_both_sides_by_its_weights() {
        let mut sheet = Sheet::new(1, 4, 1, vec![100u8; 4]);
        let part = Sheet::new(1, 3, 1, vec![200u8; 3]);
        sheet.lay(&part, (1, 0), &[0.25, 0.75], &[]);
        assert_eq!(sheet.into_values(), [100, 125, 175, 200]);
        let mut sheet = Sheet::new(1, 2, 2, vec![100u8; 8]);
        let part = Sheet::new(1, 2, 2, vec![200u8; 8]);
        sheet.lay(&part, (0, 0), &[0.5], &[0.5]);
        assert_eq!(
            sheet.into_values(),
            [125, 125, 150, 150, 150, 150, 200, 200]
        );
    }

    #[test]
    fn what_would_lie_beyond_the_edge_is_left_out() {
        let mut sheet = numbered(1, 2, 2, 1).blank(2, 2);
        let part = Sheet::new(1, 3, 1, vec![1u8, 2, 3, 4, 5, 6, 7, 8, 9]);
        sheet.lay(&part, (1, 1), &[], &[]);
        assert_eq!(sheet.into_values(), [0, 0, 0, 1]);
    }
}
