//! Planes to interleaved samples of full range: range, matrix, and chroma brought to the size of luma.
//!
//! Invariant: values are rounded once, at the end.

use super::super::raster::Samples;
use super::planes::{Cicp, Layout, Plane, Planes};

/// How a pixel of luma and chroma becomes red, green and blue (ITU-T H.273, section 8.3).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Matrix {
    /// Green, blue and red are coded themselves.
    Identity,
    YCgCo,
    /// The parts that red and blue have in luma.
    Luma {
        red: f32,
        blue: f32,
    },
}

impl Matrix {
    /// The matrix of a code point, if it is known; the unspecified one is BT.601, as in libavif.
    pub(super) fn new(code: u8) -> Option<Self> {
        let (red, blue) = match code {
            0 => return Some(Self::Identity),
            8 => return Some(Self::YCgCo),
            1 => (0.2126, 0.0722),
            2 | 5 | 6 => (0.299, 0.114),
            4 => (0.30, 0.11),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            _ => return None,
        };
        Some(Self::Luma { red, blue })
    }

    /// Red, green and blue from 0 to 1, before they are limited to that.
    fn rgb(self, luma: f32, blue: f32, red: f32) -> [f32; 3] {
        match self {
            Self::Identity => [red, luma, blue],
            Self::YCgCo => {
                let rest = luma - blue;
                [rest + red, luma + blue, rest - red]
            }
            Self::Luma { red: kr, blue: kb } => {
                let r = luma + 2.0 * (1.0 - kr) * red;
                let b = luma + 2.0 * (1.0 - kb) * blue;
                [r, (luma - kr * r - kb * b) / (1.0 - kr - kb), b]
            }
        }
    }
}

/// Where the range of samples begins, and its length.
#[derive(Clone, Copy)]
struct Range {
    zero: f32,
    scale: f32,
}

impl Range {
    fn of_luma(depth: u8, full: bool) -> Self {
        Self::new(depth, full, 16, 219, 0)
    }

    /// Chroma has its zero in the middle.
    fn of_chroma(depth: u8, full: bool) -> Self {
        Self::new(depth, full, 128, 224, 1 << (depth - 1))
    }

    /// The limited range counts in levels of 8 bits.
    fn new(depth: u8, full: bool, zero: u16, length: u16, zero_of_full: u16) -> Self {
        let (zero, length) = if full {
            (zero_of_full, (1 << depth) - 1)
        } else {
            (zero << (depth - 8), length << (depth - 8))
        };
        Self {
            zero: f32::from(zero),
            scale: 1.0 / f32::from(length),
        }
    }

    fn apply(self, value: f32) -> f32 {
        (value - self.zero) * self.scale
    }
}

/// The image as interleaved samples: grey or RGB, followed by alpha if there is any. Of 8 bits a sample where
/// the planes have 8, else of 16.
pub(super) fn interleaved(
    planes: &Planes,
    cicp: Cicp,
    matrix: Matrix,
    alpha: Option<&Alpha>,
) -> Samples {
    let converter = Converter {
        planes,
        luma: Range::of_luma(planes.depth, cicp.full_range),
        chroma: match matrix {
            Matrix::Identity => Range::of_luma(planes.depth, cicp.full_range),
            _ => Range::of_chroma(planes.depth, cicp.full_range),
        },
        matrix,
        alpha,
    };
    if planes.depth == 8 {
        Samples::U8(converter.run(|value| (value * 255.0).round_ties_even() as u8))
    } else {
        Samples::U16(converter.run(|value| (value * 65535.0).round_ties_even() as u16))
    }
}

/// The planes of an alpha item, of the size of the image.
pub(super) struct Alpha {
    pub(super) planes: Planes,
    pub(super) full_range: bool,
    /// The colours were multiplied by it.
    pub(super) premultiplied: bool,
}

struct Converter<'a> {
    planes: &'a Planes,
    luma: Range,
    chroma: Range,
    matrix: Matrix,
    alpha: Option<&'a Alpha>,
}

impl Converter<'_> {
    fn run<T>(&self, to_sample: impl Fn(f32) -> T) -> Vec<T> {
        let (width, height) = (self.planes.width as usize, self.planes.height as usize);
        let color = if self.planes.layout == Layout::Grey {
            1
        } else {
            3
        };
        let channels = color + usize::from(self.alpha.is_some());
        let mut samples = Vec::with_capacity(width * height * channels);
        let mut pixels = vec![[0.0; 4]; width];
        for y in 0..height {
            self.fill_row(y, &mut pixels);
            for [r, g, b, alpha] in &pixels {
                let rgb = [r, g, b].into_iter().take(color);
                let all = rgb.chain(self.alpha.is_some().then_some(alpha));
                samples.extend(all.map(|value| to_sample(value.clamp(0.0, 1.0))));
            }
        }
        samples
    }

    fn fill_row(&self, y: usize, pixels: &mut [[f32; 4]]) {
        let luma = self.planes.parts[0].row(y).iter();
        for (pixel, &value) in pixels.iter_mut().zip(luma) {
            pixel[0] = self.luma.apply(f32::from(value));
        }
        if let [_, blue, red] = &self.planes.parts[..] {
            let shifts = self.planes.layout.shifts();
            for (x, pixel) in pixels.iter_mut().enumerate() {
                let [blue, red] =
                    [blue, red].map(|plane| self.chroma.apply(upsampled(plane, x, y, shifts)));
                let [r, g, b] = self.matrix.rgb(pixel[0], blue, red);
                *pixel = [r, g, b, 1.0];
            }
        }
        if let Some(alpha) = self.alpha {
            let range = Range::of_luma(alpha.planes.depth, alpha.full_range);
            for (pixel, &value) in pixels.iter_mut().zip(alpha.planes.parts[0].row(y)) {
                let value = range.apply(f32::from(value));
                if alpha.premultiplied {
                    let unit = if value > 0.0 { 1.0 / value } else { 0.0 };
                    pixel[..3].iter_mut().for_each(|color| *color *= unit);
                }
                pixel[3] = value;
            }
        }
    }
}

/// The chroma at a pixel: the four samples around it, weighted by nearness. A chroma sample lies in the middle of
/// the pixels it stands for, as libavif has it, whatever the stream says.
fn upsampled(plane: &Plane, x: usize, y: usize, shifts: (u32, u32)) -> f32 {
    let (left, right) = neighbours(x, shifts.0, plane.width);
    let (near, far) = neighbours(y, shifts.1, plane.height());
    let row = |y: usize| {
        let row = plane.row(y);
        0.75 * f32::from(row[left]) + 0.25 * f32::from(row[right])
    };
    if near == far {
        row(near)
    } else {
        0.75 * row(near) + 0.25 * row(far)
    }
}

/// The chroma sample that a pixel belongs to, and the next nearest: itself at the border, or where there is one a
/// pixel.
fn neighbours(at: usize, shift: u32, length: usize) -> (usize, usize) {
    let own = at >> shift;
    let next = match (shift, at % 2) {
        (0, _) => own,
        (_, 0) => own.saturating_sub(1),
        _ => (own + 1).min(length - 1),
    };
    (own, next)
}
