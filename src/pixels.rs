//! RGB pixels of 8 bits, row by row, and the padding that lets a model see whole cells.
//!
//! Invariant: `data.len() == width * height * 3`, and neither side is zero.

use std::borrow::Cow;

use crate::error::{Error, Result};

/// An RGB image: 8 bits a channel, interleaved, rows from the top, sRGB.
///
/// Sides are from 1 to 2^32 - 1 pixels; what is read from files is limited further by
/// [`Limits`](crate::Limits).
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl Pixels {
    /// Pixels from interleaved RGB bytes: `width * height * 3` of them.
    ///
    /// # Errors
    /// `InvalidInput` if a side is zero or the number of bytes is another.
    pub fn from_rgb(width: u32, height: u32, data: Vec<u8>) -> Result<Self> {
        let wanted = (width as usize)
            .checked_mul(height as usize)
            .and_then(|n| n.checked_mul(3));
        if width == 0 || height == 0 || wanted != Some(data.len()) {
            return Err(Error::invalid(format!(
                "{width}x{height} RGB pixels can't be made of {} bytes",
                data.len()
            )));
        }
        Ok(Self {
            width,
            height,
            data,
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes: R, G, B of the top left pixel first, then along the row.
    pub fn as_rgb(&self) -> &[u8] {
        &self.data
    }

    /// The bytes, without a copy.
    pub fn into_rgb(self) -> Vec<u8> {
        self.data
    }

    /// Bytes of the raw image: 3 a pixel.
    pub fn byte_len(&self) -> u64 {
        self.data.len() as u64
    }

    /// The image grown to the right and downwards to multiples of `multiple`, its last column and
    /// row repeated. [`crop`](Self::crop) takes the margin away again.
    pub(crate) fn pad_to_multiple(&self, multiple: u32) -> Cow<'_, Self> {
        let width = self.width.next_multiple_of(multiple);
        let height = self.height.next_multiple_of(multiple);
        if (width, height) == (self.width, self.height) {
            return Cow::Borrowed(self);
        }
        let (row, padded_row) = (self.width as usize * 3, width as usize * 3);
        let mut data = Vec::with_capacity(padded_row * height as usize);
        for line in self.data.chunks_exact(row) {
            data.extend_from_slice(line);
            for _ in self.width..width {
                data.extend_from_slice(&line[row - 3..]);
            }
        }
        let last = data.len() - padded_row;
        for _ in self.height..height {
            data.extend_from_within(last..last + padded_row);
        }
        Cow::Owned(Self {
            width,
            height,
            data,
        })
    }

    /// The rectangle of `width` x `height` pixels whose top left corner is (`x`, `y`).
    ///
    /// # Errors
    /// `InvalidInput` if the rectangle is empty or leaves the image.
    pub fn crop(&self, x: u32, y: u32, width: u32, height: u32) -> Result<Self> {
        let fits = |start: u32, length: u32, side: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
        };
        if !fits(x, width, self.width) || !fits(y, height, self.height) {
            return Err(Error::invalid(format!(
                "a crop of {width}x{height} at {x},{y} leaves the image of {}x{}",
                self.width, self.height
            )));
        }
        let row = self.width as usize * 3;
        let span = x as usize * 3..(x + width) as usize * 3;
        let mut data = Vec::with_capacity(width as usize * 3 * height as usize);
        for line in self
            .data
            .chunks_exact(row)
            .skip(y as usize)
            .take(height as usize)
        {
            data.extend_from_slice(&line[span.clone()]);
        }
        Ok(Self {
            width,
            height,
            data,
        })
    }
}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pixels({}x{} RGB)", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbered(width: u32, height: u32) -> Pixels {
        let bytes = (0..width * height * 3).map(|i| (i * 7 % 251) as u8);
        Pixels::from_rgb(width, height, bytes.collect()).unwrap()
    }

    #[test]
    fn a_wrong_number_of_bytes_is_refused() {
        assert!(Pixels::from_rgb(2, 2, vec![0; 11]).is_err());
        assert!(Pixels::from_rgb(0, 2, vec![]).is_err());
        assert!(Pixels::from_rgb(u32::MAX, u32::MAX, vec![]).is_err());
    }

    #[test]
    fn padding_repeats_the_last_column_and_row() {
        let one = Pixels::from_rgb(1, 1, vec![9, 8, 7]).unwrap();
        let padded = one.pad_to_multiple(8);
        assert_eq!((padded.width(), padded.height()), (8, 8));
        assert!(padded.as_rgb().chunks(3).all(|p| p == [9, 8, 7]));

        let small = numbered(3, 2);
        let padded = small.pad_to_multiple(4);
        let part = |x, y, width| padded.crop(x, y, width, 1).unwrap();
        assert_eq!(part(2, 1, 1), part(3, 3, 1));
        assert_eq!(part(0, 1, 3), part(0, 3, 3));
    }

    #[test]
    fn a_crop_that_leaves_the_image_is_refused() {
        for (x, y, w, h) in [
            (0, 0, 4, 1),
            (3, 0, 1, 1),
            (0, 0, 0, 1),
            (u32::MAX, 0, 2, 1),
        ] {
            assert!(numbered(3, 2).crop(x, y, w, h).is_err());
        }
    }

    proptest! {
        #[test]
        fn cropping_undoes_padding(width in 1u32..40, height in 1u32..40, multiple in 1u32..17) {
            let pixels = numbered(width, height);
            let padded = pixels.pad_to_multiple(multiple);
            prop_assert_eq!(padded.width() % multiple, 0);
            prop_assert_eq!(padded.height() % multiple, 0);
            prop_assert_eq!(padded.crop(0, 0, width, height).unwrap(), pixels.clone());
        }
    }
}
