//! RGB pixels of 8 bits, row by row, with alpha where there is any, and the padding that lets a model see whole
//! cells.
//!
//! Invariant: `data.len() == width * height * 3`, neither side is zero, and alpha is there only if a pixel of it is
//! not opaque.

mod fill;

use std::borrow::Cow;

use crate::error::{Error, Result};

/// An RGB image: 8 bits a channel, interleaved, rows from the top, sRGB; with straight alpha of 8 bits where a pixel
/// is not opaque.
///
/// Sides are from 1 to 2^32 - 1 pixels; what is read from files is limited further by
/// [`Limits`](crate::Limits).
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    width: u32,
    height: u32,
    data: Vec<u8>,
    alpha: Option<Vec<u8>>,
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
            alpha: None,
        })
    }

    /// The same colours with `alpha`, a byte a pixel: 0 is transparent, 255 opaque. Where all are opaque there is no
    /// alpha.
    ///
    /// # Errors
    /// `InvalidInput` if the number of bytes is not `width * height`.
    pub fn with_alpha(mut self, alpha: Vec<u8>) -> Result<Self> {
        if alpha.len() * 3 != self.data.len() {
            return Err(Error::invalid(format!(
                "the alpha of {}x{} pixels can't be made of {} bytes",
                self.width,
                self.height,
                alpha.len()
            )));
        }
        let opaque = alpha.iter().all(|&alpha| alpha == 255);
        self.alpha = (!opaque).then_some(alpha);
        Ok(self)
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The alpha, a byte a pixel; `None` if every pixel is opaque.
    pub fn alpha(&self) -> Option<&[u8]> {
        self.alpha.as_deref()
    }

    /// The image laid over `background`, an RGB colour. Values are blended as they are, not as light, as browsers
    /// and image programs do.
    #[must_use]
    pub fn over(&self, background: [u8; 3]) -> Cow<'_, Self> {
        let Some(alpha) = &self.alpha else {
            return Cow::Borrowed(self);
        };
        let (colors, _) = self.data.as_chunks::<3>();
        let blended = colors.iter().zip(alpha).map(|(color, &alpha)| {
            let alpha = u16::from(alpha);
            std::array::from_fn::<u8, 3, _>(|channel| {
                let sum = u16::from(color[channel]) * alpha
                    + u16::from(background[channel]) * (255 - alpha);
                ((sum + 127) / 255) as u8
            })
        });
        Cow::Owned(Self {
            data: blended.flatten().collect(),
            alpha: None,
            ..*self
        })
    }

    /// The bytes of the colours: R, G, B of the top left pixel first, then along the row.
    pub fn as_rgb(&self) -> &[u8] {
        &self.data
    }

    /// The bytes of the colours, without a copy.
    pub fn into_rgb(self) -> Vec<u8> {
        self.data
    }

    /// Bytes of the raw image: 3 a pixel, 4 with alpha.
    pub fn byte_len(&self) -> u64 {
        let alpha = self.alpha.as_ref().map_or(0, Vec::len);
        (self.data.len() + alpha) as u64
    }

    /// The colours grown to the right and downwards to multiples of `multiple`, its last column and
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
            alpha: None,
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
        let (x, y) = (x as usize, y as usize);
        let cut = |plane: &[u8], bytes: usize| -> Vec<u8> {
            let rows = plane.chunks_exact(self.width as usize * bytes).skip(y);
            let span = x * bytes..(x + width as usize) * bytes;
            let rows = rows.take(height as usize).map(|row| &row[span.clone()]);
            rows.collect::<Vec<_>>().concat()
        };
        let cropped = Self::from_rgb(width, height, cut(&self.data, 3))?;
        match &self.alpha {
            Some(alpha) => cropped.with_alpha(cut(alpha, 1)),
            None => Ok(cropped),
        }
    }
}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.alpha.is_some() { "RGBA" } else { "RGB" };
        write!(f, "Pixels({}x{} {kind})", self.width, self.height)
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
    fn alpha_that_is_opaque_everywhere_is_no_alpha() {
        let opaque = numbered(3, 2).with_alpha(vec![255; 6]).unwrap();
        assert_eq!(opaque, numbered(3, 2));
        assert_eq!((opaque.alpha(), opaque.byte_len()), (None, 18));
        let alpha = vec![255, 255, 255, 255, 255, 254];
        let seen = numbered(3, 2).with_alpha(alpha.clone()).unwrap();
        assert_eq!((seen.alpha(), seen.byte_len()), (Some(&alpha[..]), 24));
        assert_eq!(seen.crop(0, 0, 3, 1).unwrap().alpha(), None);
        assert_eq!(
            seen.crop(1, 1, 2, 1).unwrap().alpha(),
            Some(&[255, 254][..])
        );
        assert!(numbered(3, 2).with_alpha(vec![0; 5]).is_err());
    }

    #[test]
    fn colours_are_blended_with_the_background_to_the_nearest_level() {
        let colors = vec![1, 2, 3, 0, 100, 255, 9, 9, 9];
        let pixels = Pixels::from_rgb(3, 1, colors).unwrap();
        let seen = pixels.with_alpha(vec![0, 51, 255]).unwrap();
        let over = |background| seen.over(background).as_rgb().to_vec();
        assert_eq!(over([255; 3]), [255, 255, 255, 204, 224, 255, 9, 9, 9]);
        assert_eq!(over([10, 20, 30]), [10, 20, 30, 8, 36, 75, 9, 9, 9]);
        assert_eq!(*numbered(3, 2).over([0; 3]), numbered(3, 2));
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
