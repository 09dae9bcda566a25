//! Resizing as Pillow does it: `Image.resize(size, Image.BICUBIC)`, within 1 level.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::Limits;
use crate::error::{Error, Result};
use crate::pixels::Pixels;

/// A size to bring images to, by an antialiased bicubic filter (a = -0.5, support 2).
///
/// Without `center_crop` the image is stretched to the new aspect ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resize {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Whether to cut out the largest centred rectangle of the new aspect ratio first.
    pub center_crop: bool,
}

impl Resize {
    /// The image in the new size.
    ///
    /// # Errors
    /// `InvalidInput` if the new size has no pixels, or if it or the step in between (the new width by the old
    /// height) has more than 2^28.
    pub fn apply(&self, pixels: &Pixels) -> Result<Pixels> {
        self.check(pixels)?;
        if self.center_crop {
            let (x, y, width, height) = self.crop_box(pixels);
            stretch(&pixels.crop(x, y, width, height)?, self.width, self.height)
        } else {
            stretch(pixels, self.width, self.height)
        }
    }

    fn check(&self, pixels: &Pixels) -> Result<()> {
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        let most = width * height.max(u64::from(pixels.height()));
        let limit = Limits::default().max_pixels;
        if width == 0 || height == 0 || most > limit {
            return Err(Error::invalid(format!(
                "an image of {}x{} pixels can't be resized to {width}x{height}: a size has at least 1 pixel, and at most {limit}, also between the steps",
                pixels.width(),
                pixels.height(),
            )));
        }
        Ok(())
    }

    /// Left, top, width and height of the largest centred rectangle of the new aspect ratio; its shorter
    /// side is rounded to whole pixels, its offsets down.
    fn crop_box(&self, pixels: &Pixels) -> (u32, u32, u32, u32) {
        let (width, height) = (pixels.width(), pixels.height());
        let scaled = |side: u32, to: u32, from: u32| {
            let (side, to, from) = (u64::from(side), u64::from(to), u64::from(from));
            ((side * to + from / 2) / from).max(1)
        };
        let fit_width = scaled(height, self.width, self.height).min(width.into()) as u32;
        let fit_height = scaled(width, self.height, self.width).min(height.into()) as u32;
        let (left, top) = ((width - fit_width) / 2, (height - fit_height) / 2);
        (left, top, fit_width, fit_height)
    }
}

/// Across and then down, each on its own: at hard edges the values are clamped between the two, so that the
/// order shows, and for 8 bits `fast_image_resize` would take the other one than Pillow.
fn stretch(pixels: &Pixels, width: u32, height: u32) -> Result<Pixels> {
    convolve(&convolve(pixels, width, pixels.height())?, width, height)
}

fn convolve(pixels: &Pixels, width: u32, height: u32) -> Result<Pixels> {
    // Catmull-Rom is the bicubic convolution of a = -0.5, which is Pillow's.
    let filter = ResizeAlg::Convolution(FilterType::CatmullRom);
    let options = ResizeOptions::new().resize_alg(filter);
    let (rgb, kind) = (pixels.as_rgb(), PixelType::U8x3);
    let mut to = Image::new(width, height, kind);
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::invalid(format!("{pixels:?} can't be resized to {width}x{height}")).with_source(error)
    };
    let from = ImageRef::new(pixels.width(), pixels.height(), rgb, kind);
    let from = from.map_err(|error| failed(error.into()))?;
    let resized = Resizer::new().resize(&from, &mut to, &options);
    resized.map_err(|error| failed(error.into()))?;
    Pixels::from_rgb(width, height, to.into_vec())
}
