//! A sheet of paper to draw on: pen strokes, discs and letters, all with smooth edges.
//!
//! Invariant: places are in pixels from the top left corner; what lies outside the sheet is left out.

use super::render::{Vec3, length, smoothstep, to_srgb};

pub(super) type Point = (f32, f32);

/// A stroke font: each letter's lines on a grid of 4 columns and 6 rows, a place as two digits (column and row
/// from the top), lines separated by spaces.
const LETTERS: [(char, &str); 40] = [
    ('A', "062046 1434"),
    ('B', "060030414233 033344453606"),
    ('C', "41301001051636 3645"),
    ('D', "060030414536 3606"),
    ('E', "40000646 0333"),
    ('F', "400006 0333"),
    ('G', "413010010516364543 4323"),
    ('H', "0006 4046 0343"),
    ('I', "1030 2026 1636"),
    ('J', "404536160504"),
    ('K', "0006 4003 1346"),
    ('L', "000646"),
    ('M', "0600234046"),
    ('N', "06004640"),
    ('O', "103041453616050110"),
    ('P', "06003041423303"),
    ('Q', "103041453616050110 2446"),
    ('R', "06003041423303 2346"),
    ('S', "4130100102133344453616 1605"),
    ('T', "0040 2026"),
    ('U', "000516364540"),
    ('V', "002640"),
    ('W', "0016233640"),
    ('X', "0046 4006"),
    ('Y', "002340 2326"),
    ('Z', "00400646"),
    ('0', "103041453616050110 0541"),
    ('1', "112026 1636"),
    ('2', "011030414206 0646"),
    ('3', "011030414233 13334445361605"),
    ('4', "36300444"),
    ('5', "4000033344453606"),
    ('6', "413010010516364544 443303"),
    ('7', "004016"),
    ('8', "103041423313020110 1304051636454433"),
    ('9', "43130201103041453616"),
    ('.', "2526"),
    (',', "2516"),
    ('-', "1333"),
    ('=', "0242 0444"),
];

pub(super) struct Paper {
    width: usize,
    height: usize,
    colours: Vec<Vec3>,
}

impl Paper {
    pub(super) fn new((width, height): (u32, u32), colour_at: impl Fn(f32, f32) -> Vec3) -> Self {
        let (width, height) = (width as usize, height as usize);
        let place = |at: usize| colour_at((at % width) as f32 + 0.5, (at / width) as f32 + 0.5);
        let colours = (0..width * height).map(place).collect();
        Self {
            width,
            height,
            colours,
        }
    }

    pub(super) fn into_rgb(self) -> Vec<u8> {
        self.colours.into_iter().flat_map(to_srgb).collect()
    }

    /// Lays paint over the pixels within `reach` of the box around `points`, as much as `cover` says.
    fn paint(
        &mut self,
        points: &[Point],
        reach: f32,
        colour: impl Fn(f32, f32) -> Vec3,
        cover: impl Fn(f32, f32) -> f32,
    ) {
        let side = |of: fn(&Point) -> f32, end: usize| {
            let low = points.iter().map(of).fold(f32::INFINITY, f32::min) - reach;
            let high = points.iter().map(of).fold(f32::NEG_INFINITY, f32::max) + reach;
            // Negative numbers become zero.
            (low.floor() as usize).min(end)..(high.ceil() as usize).min(end)
        };
        let (columns, rows) = (side(|p| p.0, self.width), side(|p| p.1, self.height));
        for row in rows {
            for column in columns.clone() {
                let (x, y) = (column as f32 + 0.5, row as f32 + 0.5);
                let amount = cover(x, y);
                if amount > 0.0 {
                    let pixel = &mut self.colours[row * self.width + column];
                    *pixel = pixel.mix(colour(x, y), amount);
                }
            }
        }
    }

    /// A line through all `points`, with round ends.
    pub(super) fn stroke(&mut self, points: &[Point], width: f32, colour: Vec3) {
        let reach = width * 0.5 + 1.0;
        // In short runs, so that a pixel is compared with few lines; the run before is looked at too, so that
        // no place is painted twice.
        let mut drawn: &[Point] = &[];
        for at in (0..points.len().saturating_sub(1)).step_by(8) {
            let run = &points[at..points.len().min(at + 9)];
            let cover = |line: &[Point], x, y| {
                let near = line
                    .windows(2)
                    .map(|ends| distance((x, y), ends[0], ends[1]));
                (width * 0.5 + 0.5 - near.fold(f32::INFINITY, f32::min)).clamp(0.0, 1.0)
                    * width.min(1.0)
            };
            let more = |x, y| {
                let before = cover(drawn, x, y);
                (cover(run, x, y) - before).max(0.0) / (1.0 - before).max(1e-3)
            };
            self.paint(run, reach, |_, _| colour, more);
            drawn = run;
        }
    }

    pub(super) fn disc(&mut self, centre: Point, radius: f32, colour: impl Fn(f32, f32) -> Vec3) {
        let cover =
            |x: f32, y: f32| (radius + 0.5 - length(x - centre.0, y - centre.1)).clamp(0.0, 1.0);
        self.paint(&[centre], radius + 1.0, colour, cover);
    }

    /// A disc without an edge, for glows.
    pub(super) fn glow(&mut self, centre: Point, radius: f32, strength: f32, colour: Vec3) {
        let cover =
            |x: f32, y: f32| strength * smoothstep(radius, 0.0, length(x - centre.0, y - centre.1));
        self.paint(&[centre], radius, |_, _| colour, cover);
    }

    pub(super) fn rectangle(&mut self, from: Point, to: Point, colour: Vec3) {
        let cover = |x: f32, y: f32| {
            let inside = |at: f32, low: f32, high: f32| (at - low).min(high - at) + 0.5;
            let across = inside(x, from.0, to.0).clamp(0.0, 1.0);
            across * inside(y, from.1, to.1).clamp(0.0, 1.0)
        };
        self.paint(&[from, to], 1.0, |_, _| colour, cover);
    }

    /// Letters `height` pixels high, the first one's top left corner at `at`.
    pub(super) fn text(&mut self, at: Point, height: f32, pen: f32, colour: Vec3, text: &str) {
        let unit = height / 6.0;
        for (index, letter) in text.chars().enumerate() {
            let left = at.0 + index as f32 * advance(height);
            let shape = LETTERS.iter().find(|(known, _)| *known == letter);
            for line in lines_of(shape.map_or("", |(_, shape)| shape)) {
                let place = |(x, y): Point| (left + x * unit * 0.9, at.1 + y * unit);
                let line: Vec<_> = line.into_iter().map(place).collect();
                self.stroke(&line, pen, colour);
            }
        }
    }

    /// Letters whose middle is at `centre`.
    pub(super) fn centred(
        &mut self,
        centre: Point,
        height: f32,
        pen: f32,
        colour: Vec3,
        text: &str,
    ) {
        let width = (text.len() as f32 - 1.0) * advance(height) + 0.6 * height;
        self.text(
            (centre.0 - width * 0.5, centre.1),
            height,
            pen,
            colour,
            text,
        );
    }
}

fn advance(height: f32) -> f32 {
    height * 0.93
}

fn lines_of(shape: &str) -> Vec<Vec<Point>> {
    let number = |digit: u8| f32::from(digit.saturating_sub(b'0'));
    let place = |pair: &[u8]| (number(pair[0]), number(pair[1]));
    let lines = shape
        .split(' ')
        .map(|line| line.as_bytes().chunks_exact(2).map(place).collect());
    lines.collect()
}

/// From a point to the nearest place of the line between two others.
fn distance(point: Point, from: Point, to: Point) -> f32 {
    let (line_x, line_y) = (to.0 - from.0, to.1 - from.1);
    let (x, y) = (point.0 - from.0, point.1 - from.1);
    let squared = (line_x * line_x + line_y * line_y).max(1e-9);
    let along = ((x * line_x + y * line_y) / squared).clamp(0.0, 1.0);
    length(x - line_x * along, y - line_y * along)
}
