//! Comparisons as a figure: images side by side, numbers under each, differences and a detail below.
//!
//! Invariant: all images of a block are treated alike; what isn't shown, or not at its own size, is said.

use latentdb::{Compared, Contender, Pixels, Resize};

use super::canvas::{Area, Canvas, Color, Font};
use super::numbers::{label, measured, shown};
use crate::output::grouped;

const GROUND: Color = [255; 3];
const INK: Color = [28, 30, 33];
const QUIET: Color = [104, 110, 118];
const RULE: Color = [222, 225, 229];
const ACCENT: Color = [214, 51, 72];

const MARGIN: u32 = 40;
/// Between columns and between rows.
const GAP: u32 = 20;
/// From a line of small text to the next.
const LINE: u32 = 26;
const TITLE_HEIGHT: u32 = 44;
/// Images are shown as wide, enlarged a whole number of times or made smaller.
const COLUMN: u32 = 512;
/// Less is too little for what is written under an image.
const MIN_COLUMN: u32 = 280;
/// Where there are so many contenders that the sheet would be wider, columns are narrower.
const MAX_WIDTH: u32 = 8192;
const MAX_SHOWN_HEIGHT: u32 = 1024;
/// What would lie further down is left out: few programs show a taller image.
const MAX_HEIGHT: u32 = 10_000;
/// Differences of a few levels can't be seen.
const AMPLIFIED: u8 = 8;

/// A detail, in pixels of the original.
pub(super) type Zoom = Area;

/// Takes `X,Y,W,H` apart.
pub(super) fn parse_zoom(text: &str) -> Result<Zoom, String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[x, y, width, height]) if width > 0 && height > 0 => Ok(Zoom {
            x,
            y,
            width,
            height,
        }),
        _ => Err("a detail is X,Y,W,H in pixels, such as 200,120,64,48".to_owned()),
    }
}

/// Blocks below each other, one an image.
pub(super) struct Figure {
    zoom: Option<Zoom>,
    blocks: Vec<Pixels>,
    height: u32,
    left_out: u64,
}

impl Figure {
    pub(super) fn new(zoom: Option<Zoom>) -> Self {
        Self {
            zoom,
            blocks: Vec::new(),
            height: MARGIN,
            left_out: 0,
        }
    }

    /// Adds a block.
    pub(super) fn add(&mut self, compared: &Compared) -> latentdb::Result<()> {
        let block = Block::of(compared, self.zoom);
        let height = block.height();
        if self.left_out > 0 || self.height + height > MAX_HEIGHT && !self.blocks.is_empty() {
            self.left_out += 1;
            return Ok(());
        }
        self.height += height;
        self.blocks.push(block.draw(compared)?);
        Ok(())
    }

    /// What the figure doesn't show, as a sentence for people.
    pub(super) fn note(&self) -> Option<String> {
        (self.left_out > 0).then(|| {
            let images = crate::output::count(self.left_out, "more image");
            format!("not in the figure, which would grow too tall: {images}")
        })
    }

    pub(super) fn to_pixels(&self) -> latentdb::Result<Pixels> {
        let widest = self.blocks.iter().map(Pixels::width).max();
        let mut sheet = Canvas::new(widest.unwrap_or(1), self.height, GROUND);
        let mut y = MARGIN;
        for block in &self.blocks {
            sheet.image(block, 0, y);
            y += block.height();
        }
        sheet.into_pixels()
    }
}

/// How one comparison is laid out.
struct Block {
    columns: u32,
    column: u32,
    /// The size at which images are shown.
    shown: (u32, u32),
    zoom: Option<Zoom>,
    /// The size at which the detail is shown.
    detail: (u32, u32),
}

/// Lines of text under an image.
const CAPTION_LINES: u32 = 5;

impl Block {
    fn of(compared: &Compared, zoom: Option<Zoom>) -> Self {
        let columns = compared.contenders.len() as u32 + 1;
        let room = MAX_WIDTH.saturating_sub(2 * MARGIN + (columns - 1) * GAP) / columns;
        let column = room.clamp(MIN_COLUMN, COLUMN);
        let size = (compared.original.width(), compared.original.height());
        let shown = fitted(size, (column, MAX_SHOWN_HEIGHT));
        let detail = zoom.map_or((0, 0), |zoom| {
            fitted((zoom.width, zoom.height), (column, MAX_SHOWN_HEIGHT))
        });
        Self {
            columns,
            column,
            shown,
            zoom,
            detail,
        }
    }

    fn left(&self, column: usize) -> u32 {
        MARGIN + column as u32 * (self.column + GAP)
    }

    fn width(&self) -> u32 {
        2 * MARGIN + self.columns * (self.column + GAP) - GAP
    }

    fn height(&self) -> u32 {
        let images = self.shown.1 + GAP / 2;
        let detail = match self.zoom {
            Some(_) => self.detail.1 + GAP,
            None => 0,
        };
        TITLE_HEIGHT + LINE + GAP / 2 + 2 * images + CAPTION_LINES * LINE + GAP + detail + MARGIN
    }

    fn draw(&self, compared: &Compared) -> latentdb::Result<Pixels> {
        let mut sheet = Canvas::new(self.width(), self.height(), GROUND);
        let room = self.width() - 2 * MARGIN;
        let title = Font::TITLE.fitted(&compared.name, room);
        sheet.text(&title, (MARGIN, 0), Font::TITLE, INK);
        let mut y = TITLE_HEIGHT;
        let about = Font::SMALL.fitted(&self.about(compared), room);
        sheet.text(&about, (MARGIN, y), Font::SMALL, QUIET);
        y += LINE + GAP / 2;

        let white = [255; 3];
        let original = compared.original.over(white);
        let others = compared.contenders.iter();
        let others: Vec<_> = others
            .map(|contender| contender.pixels.over(white))
            .collect();
        for (at, image) in std::iter::once(&original).chain(&others).enumerate() {
            sheet.image(&resized(image, self.shown)?, self.left(at), y);
            self.frame(&mut sheet, compared, (self.left(at), y));
        }
        y += self.shown.1 + GAP / 2;

        Self::caption(&mut sheet, (self.left(0), y), &self.original(compared));
        for (at, contender) in compared.contenders.iter().enumerate() {
            let place = (self.left(at + 1), y);
            Self::caption(&mut sheet, place, &self.lines(contender));
        }
        y += CAPTION_LINES * LINE + GAP / 2;

        let legend = [
            "difference".to_owned(),
            format!("to the original, absolute, {AMPLIFIED} times"),
        ];
        Self::caption(&mut sheet, (self.left(0), y), &legend);
        for (at, image) in others.iter().enumerate() {
            let map = difference(&original, image)?;
            sheet.image(&resized(&map, self.shown)?, self.left(at + 1), y);
        }
        y += self.shown.1 + GAP;

        if let Some(zoom) = self.zoom {
            for (at, image) in std::iter::once(&original).chain(&others).enumerate() {
                let detail = image.crop(zoom.x, zoom.y, zoom.width, zoom.height)?;
                let place = (self.left(at), y);
                sheet.image(&resized(&detail, self.detail)?, place.0, place.1);
                let (width, height) = self.detail;
                let area = Area {
                    x: place.0,
                    y: place.1,
                    width,
                    height,
                };
                sheet.outline(area, 2, ACCENT);
            }
            y += self.detail.1 + GAP;
        }
        let rule = Area {
            x: MARGIN,
            y,
            width: room,
            height: 1,
        };
        sheet.fill(rule, RULE);
        sheet.into_pixels()
    }

    fn about(&self, compared: &Compared) -> String {
        let (width, height) = (compared.original.width(), compared.original.height());
        let encoder = compared.encoder.as_deref();
        let encoder = encoder.map_or(String::new(), |name| format!(" by {name}"));
        let scaled = match self.shown.0 {
            shown if shown < width => format!("; shown at {} %", shown * 100 / width),
            shown if shown > width => format!("; shown {} times as large", shown / width),
            _ => String::new(),
        };
        let space = &compared.latent_space;
        format!("{width}x{height} pixels, a latent of {space}{encoder}{scaled}")
    }

    /// The lines under the original.
    fn original(&self, compared: &Compared) -> [String; 2] {
        let raw = u64::from(compared.original.width()) * u64::from(compared.original.height()) * 3;
        let raw = format!("{} bytes as raw RGB", grouped(raw));
        ["original", &raw].map(|line| Font::SMALL.fitted(line, self.column))
    }

    /// The lines under what a contender brought back.
    fn lines(&self, contender: &Contender) -> [String; 5] {
        let [psnr, ssim, ssimulacra2, seconds] = measured(contender);
        let bytes = grouped(contender.bytes);
        [
            label(contender),
            format!("{bytes} bytes, {:.3} bpp", contender.bits_per_pixel),
            format!("PSNR {}  SSIM {}", shown(psnr, 2), shown(ssim, 4)),
            format!("SSIMULACRA2 {}", shown(ssimulacra2, 2)),
            format!("{} s to decode", shown(seconds, 4)),
        ]
        .map(|line| Font::SMALL.fitted(&line, self.column))
    }

    /// Lines of small text, the first of them bold.
    fn caption(sheet: &mut Canvas, (x, y): (u32, u32), lines: &[String]) {
        for (line, at) in lines.iter().zip(0..) {
            let (font, color) = match at {
                0 => (Font::SMALL_BOLD, INK),
                _ => (Font::SMALL, QUIET),
            };
            sheet.text(line, (x, y + at * LINE), font, color);
        }
    }

    /// Shows in an image where the detail lies.
    fn frame(&self, sheet: &mut Canvas, compared: &Compared, (x, y): (u32, u32)) {
        let Some(zoom) = self.zoom else { return };
        let across = |length: u32| scaled(length, self.shown.0, compared.original.width());
        let down = |length: u32| scaled(length, self.shown.1, compared.original.height());
        let area = Area {
            x: x + across(zoom.x),
            y: y + down(zoom.y),
            width: across(zoom.width).max(4),
            height: down(zoom.height).max(4),
        };
        sheet.outline(area, 2, ACCENT);
    }
}

/// `length` times `part` over `whole`.
fn scaled(length: u32, part: u32, whole: u32) -> u32 {
    let scaled = u64::from(length) * u64::from(part) / u64::from(whole.max(1));
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// The size at which an image of `size` is shown in `room`: a whole number of times as large, or smaller if it doesn't
/// fit.
fn fitted((width, height): (u32, u32), room: (u32, u32)) -> (u32, u32) {
    let times = (room.0 / width).min(room.1 / height);
    if times > 0 {
        return (width * times, height * times);
    }
    let by_width = (room.0, scaled(height, room.0, width).max(1));
    if by_width.1 <= room.1 {
        return by_width;
    }
    (scaled(width, room.1, height).max(1), room.1)
}

/// An image at another size: larger ones by repeating pixels, smaller ones by the library's filter.
fn resized(image: &Pixels, (width, height): (u32, u32)) -> latentdb::Result<Pixels> {
    if width < image.width() || height < image.height() {
        let resize = Resize {
            width,
            height,
            center_crop: false,
        };
        return resize.apply(image);
    }
    let times = (width / image.width()) as usize;
    let mut data = Vec::with_capacity(width as usize * height as usize * 3);
    for row in image.as_rgb().chunks_exact(image.width() as usize * 3) {
        let pixels = row.as_chunks::<3>().0.iter();
        let row: Vec<u8> = pixels.flat_map(|pixel| pixel.repeat(times)).collect();
        for _ in 0..times {
            data.extend_from_slice(&row);
        }
    }
    Pixels::from_rgb(width, height, data)
}

/// The absolute difference of two images, amplified.
fn difference(a: &Pixels, b: &Pixels) -> latentdb::Result<Pixels> {
    let pairs = a.as_rgb().iter().zip(b.as_rgb());
    let data = pairs.map(|(a, b)| a.abs_diff(*b).saturating_mul(AMPLIFIED));
    Pixels::from_rgb(a.width(), a.height(), data.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_images_are_enlarged_a_whole_number_of_times_and_large_ones_fitted() {
        let room = (768, 2048);
        for (size, shown) in [
            ((64, 48), (768, 576)),
            ((100, 1000), (200, 2000)),
            ((500, 100), (500, 100)),
            ((768, 512), (768, 512)),
            ((1536, 1000), (768, 500)),
            ((100, 4096), (50, 2048)),
            ((1, 2048), (1, 2048)),
            ((100_000, 1), (768, 1)),
        ] {
            assert_eq!(fitted(size, room), shown, "{size:?}");
        }
    }

    #[test]
    fn enlarging_repeats_pixels_and_differences_are_amplified() {
        let a = Pixels::from_rgb(2, 1, vec![0, 10, 20, 30, 40, 250]).unwrap();
        let twice = resized(&a, (4, 2)).unwrap();
        assert_eq!(
            twice.as_rgb()[..12],
            [0, 10, 20, 0, 10, 20, 30, 40, 250, 30, 40, 250]
        );
        assert_eq!(twice.as_rgb()[..12], twice.as_rgb()[12..]);
        let b = Pixels::from_rgb(2, 1, vec![3, 10, 19, 30, 40, 1]).unwrap();
        let found = difference(&a, &b).unwrap();
        assert_eq!(found.as_rgb(), [24, 0, 8, 0, 0, 255]);
    }

    #[test]
    fn a_detail_is_four_numbers_and_not_empty() {
        let zoom = parse_zoom("1,2,30,40").unwrap();
        assert_eq!((zoom.x, zoom.y, zoom.width, zoom.height), (1, 2, 30, 40));
        for bad in ["", "1,2,3", "1,2,0,4", "1,2,3,4,5", "-1,2,3,4", "a,b,c,d"] {
            assert!(parse_zoom(bad).is_err(), "{bad}");
        }
    }
}
