//! A sheet of pixels to draw on: rectangles, images, lines of text.
//!
//! Invariant: what lies outside of the sheet is cut off, never an error.

use latentdb::Pixels;
use noto_sans_mono_bitmap::{
    FontWeight, RasterHeight, RasterizedChar, get_raster, get_raster_width,
};

/// An RGB colour.
pub(super) type Color = [u8; 3];

/// A place and a size, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A kind of letters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Font {
    weight: FontWeight,
    height: RasterHeight,
}

impl Font {
    pub(super) const SMALL: Self = Self {
        weight: FontWeight::Regular,
        height: RasterHeight::Size20,
    };
    pub(super) const SMALL_BOLD: Self = Self {
        weight: FontWeight::Bold,
        height: RasterHeight::Size20,
    };
    pub(super) const TITLE: Self = Self {
        weight: FontWeight::Bold,
        height: RasterHeight::Size32,
    };

    /// How many pixels a letter is wide; all are alike.
    const fn advance(self) -> u32 {
        get_raster_width(self.weight, self.height) as u32
    }

    /// `text`, cut where it would be wider than `width` pixels.
    pub(super) fn fitted(self, text: &str, width: u32) -> String {
        let most = (width / self.advance()) as usize;
        if text.chars().count() <= most {
            return text.to_owned();
        }
        let kept: String = text.chars().take(most.saturating_sub(3)).collect();
        kept + "..."
    }
}

/// The sheet.
pub(super) struct Canvas {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32, ground: Color) -> Self {
        let pixels = width as usize * height as usize;
        Self {
            width,
            height,
            data: ground.repeat(pixels),
        }
    }

    /// The bytes of a pixel, if it is on the sheet.
    fn pixel(&mut self, x: u32, y: u32) -> Option<&mut [u8; 3]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let at = y as usize * self.width as usize + x as usize;
        self.data.as_chunks_mut::<3>().0.get_mut(at)
    }

    /// A rectangle of one colour.
    pub(super) fn fill(&mut self, area: Area, color: Color) {
        for y in area.y..area.y.saturating_add(area.height).min(self.height) {
            for x in area.x..area.x.saturating_add(area.width).min(self.width) {
                if let Some(pixel) = self.pixel(x, y) {
                    *pixel = color;
                }
            }
        }
    }

    /// The outline of a rectangle: `thickness` pixels inwards.
    pub(super) fn outline(&mut self, area: Area, thickness: u32, color: Color) {
        let Area {
            x,
            y,
            width,
            height,
        } = area;
        let (down, right) = (
            height.saturating_sub(thickness),
            width.saturating_sub(thickness),
        );
        let across = Area {
            height: thickness.min(height),
            ..area
        };
        let along = Area {
            width: thickness.min(width),
            ..area
        };
        self.fill(across, color);
        self.fill(along, color);
        self.fill(
            Area {
                y: y + down,
                ..across
            },
            color,
        );
        self.fill(
            Area {
                x: x + right,
                ..along
            },
            color,
        );
    }

    /// An image, its top left corner at (`x`, `y`).
    pub(super) fn image(&mut self, image: &Pixels, x: u32, y: u32) {
        let row = image.width() as usize * 3;
        for (line, y) in image.as_rgb().chunks_exact(row).zip(y..self.height) {
            let start = (y as usize * self.width as usize + x as usize) * 3;
            let room = self.width.saturating_sub(x) as usize * 3;
            let length = row.min(room);
            self.data[start..start + length].copy_from_slice(&line[..length]);
        }
    }

    /// A line of text, the top of its letters at `y`. A letter that the font lacks is a question mark.
    pub(super) fn text(&mut self, text: &str, (x, y): (u32, u32), font: Font, color: Color) {
        let letters = text.chars().zip((x..).step_by(font.advance() as usize));
        for (letter, left) in letters {
            let found = get_raster(letter, font.weight, font.height)
                .or_else(|| get_raster('?', font.weight, font.height));
            for (row, y) in found.iter().flat_map(RasterizedChar::rows).zip(y..) {
                for (&ink, x) in row.iter().zip(left..) {
                    if let Some(pixel) = self.pixel(x, y) {
                        *pixel = blended(*pixel, color, ink);
                    }
                }
            }
        }
    }

    /// The sheet as an image.
    pub(super) fn into_pixels(self) -> latentdb::Result<Pixels> {
        Pixels::from_rgb(self.width, self.height, self.data)
    }
}

/// As much of `color` over `ground` as there is ink, of 255.
fn blended(ground: Color, color: Color, ink: u8) -> Color {
    let ink = u16::from(ink);
    std::array::from_fn(|channel| {
        let sum = u16::from(color[channel]) * ink + u16::from(ground[channel]) * (255 - ink);
        ((sum + 127) / 255) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Color = [255; 3];
    const BLACK: Color = [0; 3];

    fn ink(canvas: Canvas) -> usize {
        let pixels = canvas.into_pixels().unwrap();
        pixels.as_rgb().iter().filter(|&&byte| byte < 128).count()
    }

    #[test]
    fn what_lies_outside_is_cut_off() {
        let mut canvas = Canvas::new(10, 6, WHITE);
        let area = Area {
            x: 8,
            y: 4,
            width: 9,
            height: 9,
        };
        canvas.fill(area, BLACK);
        canvas.text("wide", (7, 5), Font::TITLE, WHITE);
        let image = Pixels::from_rgb(4, 4, vec![0; 48]).unwrap();
        canvas.image(&image, 9, 0);
        assert_eq!(ink(canvas), (4 + 4) * 3);
    }

    #[test]
    fn an_outline_leaves_the_inside_alone() {
        let mut canvas = Canvas::new(9, 9, WHITE);
        let area = Area {
            x: 1,
            y: 1,
            width: 7,
            height: 6,
        };
        canvas.outline(area, 2, BLACK);
        assert_eq!(ink(canvas), (7 * 6 - 3 * 2) * 3);
    }

    #[test]
    fn text_is_drawn_and_cut_to_fit() {
        let mut canvas = Canvas::new(200, 30, WHITE);
        canvas.text("latent", (2, 2), Font::SMALL, BLACK);
        assert!(ink(canvas) > 100);
        let wide = Font::SMALL.fitted(&"x".repeat(100), 80);
        assert!(wide.ends_with("..."), "{wide}");
        assert_eq!(Font::SMALL.fitted("short", 80), "short");
    }
}
