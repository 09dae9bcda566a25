//! The side-by-side sheet: one row an image, original left, reconstruction right.
//!
//! Invariant: both halves of a row are treated alike, and what isn't shown at its own size is said.

use latentdb::{Pixels, Resize, Result};

/// Between the halves of a row and between rows, in pixels.
const GAP: u32 = 4;
/// Larger images are shown smaller.
const MAX_SIDE: u32 = 1000;
/// What would lie further down is left out: few programs show a taller image.
const MAX_HEIGHT: u32 = 16_000;
const BACKGROUND: u8 = 255;

#[derive(Default)]
pub(crate) struct Sheet {
    rows: Vec<(Pixels, Pixels)>,
    height: u32,
    scaled: u32,
    left_out: u32,
}

impl Sheet {
    /// Adds a row below the others.
    pub(crate) fn add(&mut self, original: &Pixels, decoded: &Pixels) -> Result<()> {
        let longest = original.width().max(original.height());
        let shown = |side: u32| {
            let fitted = u64::from(side) * u64::from(MAX_SIDE) / u64::from(longest.max(MAX_SIDE));
            (fitted as u32).max(1)
        };
        let (width, height) = (shown(original.width()), shown(original.height()));
        if self.height + GAP + height > MAX_HEIGHT {
            self.left_out += 1;
            return Ok(());
        }
        let fit = |image: &Pixels| {
            if longest <= MAX_SIDE {
                return Ok(image.clone());
            }
            Resize {
                width,
                height,
                center_crop: false,
            }
            .apply(image)
        };
        self.scaled += u32::from(longest > MAX_SIDE);
        self.height += height + if self.rows.is_empty() { 0 } else { GAP };
        self.rows.push((fit(original)?, fit(decoded)?));
        Ok(())
    }

    /// What the sheet doesn't show as it is, as sentences for people.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.scaled > 0 {
            notes.push(format!(
                "Shown smaller, {MAX_SIDE} pixels at the longer side: {} of {} rows.",
                self.scaled,
                self.rows.len()
            ));
        }
        if self.left_out > 0 {
            notes.push(format!(
                "Not on the sheet, which would grow too tall: {} more images.",
                self.left_out
            ));
        }
        notes
    }

    /// The sheet as one image.
    pub(crate) fn to_pixels(&self) -> Result<Pixels> {
        let widths = self.rows.iter().map(|(left, _)| 2 * left.width() + GAP);
        let width = widths.max().unwrap_or(1);
        let height = self.height.max(1);
        let row_bytes = width as usize * 3;
        let mut bytes = vec![BACKGROUND; row_bytes * height as usize];
        let mut top = 0;
        for (left, right) in &self.rows {
            for (image, x) in [(left, 0), (right, left.width() + GAP)] {
                let line_bytes = image.width() as usize * 3;
                let lines = image.as_rgb().chunks_exact(line_bytes);
                for (line, row) in lines.zip(bytes.chunks_exact_mut(row_bytes).skip(top)) {
                    let start = x as usize * 3;
                    row[start..start + line_bytes].copy_from_slice(line);
                }
            }
            top += (left.height() + GAP) as usize;
        }
        Pixels::from_rgb(width, height, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u32, height: u32, value: u8) -> Pixels {
        let bytes = vec![value; (width * height * 3) as usize];
        Pixels::from_rgb(width, height, bytes).unwrap()
    }

    #[test]
    fn rows_lie_below_each_other_with_the_original_left() {
        let mut sheet = Sheet::default();
        sheet.add(&grey(3, 2, 10), &grey(3, 2, 20)).unwrap();
        sheet.add(&grey(1, 1, 30), &grey(1, 1, 40)).unwrap();
        let pixels = sheet.to_pixels().unwrap();
        assert_eq!(
            (pixels.width(), pixels.height()),
            (3 + GAP + 3, 2 + GAP + 1)
        );
        let at = |x, y| pixels.crop(x, y, 1, 1).unwrap().as_rgb()[0];
        assert_eq!([at(2, 1), at(3, 1), at(3 + GAP, 1)], [10, BACKGROUND, 20]);
        assert_eq!([at(0, 2 + GAP), at(1 + GAP, 2 + GAP)], [30, 40]);
        assert!(sheet.notes().is_empty());
    }

    #[test]
    fn large_images_are_shown_smaller_and_too_many_left_out_and_both_is_said() {
        let mut sheet = Sheet::default();
        let wide = grey(2 * MAX_SIDE, 3, 10);
        sheet.add(&wide, &wide).unwrap();
        let tall = grey(1, MAX_SIDE, 10);
        for _ in 0..20 {
            sheet.add(&tall, &tall).unwrap();
        }
        let pixels = sheet.to_pixels().unwrap();
        assert_eq!(pixels.width(), 2 * MAX_SIDE + GAP);
        assert!(pixels.height() <= MAX_HEIGHT);
        let notes = sheet.notes().join(" ");
        assert!(
            notes.contains("1 of 16 rows") && notes.contains("5 more images"),
            "{notes}"
        );
    }
}
