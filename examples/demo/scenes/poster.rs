//! A printed chart: orbits, curves, rulings and lettering in ink on old paper.
//!
//! Invariant: laid out for a sheet of 512 x 512 pixels; later strokes lie over earlier ones.

use std::f32::consts::TAU;

use super::render::{Vec3, fbm, hash, length, noise, smoothstep, srgb};
use super::strokes::{Paper, Point};

const INK: u32 = 0x2a2d3e;
const RED: u32 = 0xb4472f;
const BLUE: u32 = 0x2f6080;
const GOLD: u32 = 0xc08a2e;
const GREEN: u32 = 0x567a4e;

/// Radius of the orbit, angle and radius of the planet, its colour.
const PLANETS: [(f32, f32, f32, u32); 6] = [
    (33.0, 0.7, 4.0, GOLD),
    (49.0, 2.5, 6.0, BLUE),
    (67.0, 4.4, 5.0, RED),
    (89.0, 5.6, 11.0, GOLD),
    (111.0, 1.2, 8.0, GREEN),
    (129.0, 3.3, 7.0, BLUE),
];

pub(crate) fn picture(size: (u32, u32)) -> Vec<u8> {
    let mut paper = Paper::new(size, |x, y| old_paper(x, y, size));
    let ink = srgb(INK);
    frame(&mut paper);
    paper.centred((256.0, 33.0), 22.0, 3.2, ink, "CELESTIAL CLOCK");
    paper.centred(
        (256.0, 65.0),
        8.0,
        1.2,
        srgb(RED),
        "PLATE IV. - SIX BODIES ABOUT ONE SUN",
    );
    orbits(&mut paper, (186.0, 245.0));
    legend(&mut paper, (372.0, 98.0));
    curves(&mut paper, (52.0, 408.0), (348.0, 478.0));
    small_print(&mut paper, (372.0, 318.0));
    paper.into_rgb()
}

fn old_paper(x: f32, y: f32, (width, height): (u32, u32)) -> Vec3 {
    let fibres = noise(x * 0.9, y * 0.16, 91) + noise(x * 0.14, y * 0.8, 92);
    let stains = fbm(x * 0.012, y * 0.012, 5, 93);
    let (left, top) = (x / width as f32 - 0.5, y / height as f32 - 0.5);
    let edge = smoothstep(0.4, 0.74, length(left, top));
    let base = srgb(0xf1e6cd).mix(
        srgb(0xdcc79d),
        0.7 * smoothstep(0.4, 0.8, stains) + 0.55 * edge,
    );
    base * (0.955 + 0.035 * fibres)
}

fn frame(paper: &mut Paper) {
    for (inset, width) in [(14.0, 2.4), (19.5, 0.8)] {
        let (low, high) = (inset, 512.0 - inset);
        let corners = [
            (low, low),
            (high, low),
            (high, high),
            (low, high),
            (low, low),
        ];
        paper.stroke(&corners, width, srgb(INK));
    }
}

fn arc((x, y): Point, radius: f32, from: f32, to: f32) -> Vec<Point> {
    let steps = (radius * (to - from).abs() * 0.4).max(6.0) as u16;
    let angle = |step: u16| from + (to - from) * f32::from(step) / f32::from(steps);
    let place = |turn: f32| (x + radius * turn.cos(), y - radius * turn.sin());
    (0..=steps).map(|step| place(angle(step))).collect()
}

fn on_circle(centre: Point, radius: f32, angle: f32) -> Point {
    (
        centre.0 + radius * angle.cos(),
        centre.1 - radius * angle.sin(),
    )
}

fn orbits(paper: &mut Paper, centre: Point) {
    let ink = srgb(INK);
    // A dial of 120 marks around it all.
    for mark in 0..120u16 {
        let angle = f32::from(mark) / 120.0 * TAU;
        let (length, width) = if mark % 10 == 0 {
            (9.0, 1.4)
        } else {
            (4.5, 0.7)
        };
        let ends = [
            on_circle(centre, 160.0, angle),
            on_circle(centre, 160.0 - length, angle),
        ];
        paper.stroke(&ends, width, ink);
    }
    paper.stroke(&arc(centre, 160.0, 0.0, TAU), 1.0, ink);
    for hour in 0..12u16 {
        let middle = on_circle(centre, 142.5, (3.0 - f32::from(hour)) / 12.0 * TAU);
        let label = if hour == 0 {
            "12".to_owned()
        } else {
            hour.to_string()
        };
        paper.disc(middle, 7.5, |_, _| srgb(0xeee2c8));
        paper.centred((middle.0, middle.1 - 3.5), 7.0, 1.1, ink, &label);
    }
    for ray in 0..48u16 {
        let angle = f32::from(ray) / 48.0 * TAU;
        let length = if ray % 2 == 0 { 25.0 } else { 20.0 };
        let ends = [
            on_circle(centre, 15.0, angle),
            on_circle(centre, length, angle),
        ];
        paper.stroke(&ends, 0.9, srgb(GOLD));
    }
    paper.glow(centre, 30.0, 0.5, srgb(0xf0c060));
    paper.disc(centre, 12.0, |x, y| {
        let shade = smoothstep(0.0, 22.0, length(x - centre.0 + 4.0, y - centre.1 + 4.0));
        srgb(0xf6d27a).mix(srgb(0xc6741d), shade)
    });
    for (index, (orbit, angle, radius, code)) in (0..).zip(PLANETS) {
        let width = if index % 2 == 0 { 1.0 } else { 0.7 };
        paper.stroke(&arc(centre, orbit, 0.0, TAU), width, ink);
        // The way it went lately.
        paper.stroke(&arc(centre, orbit, angle - 0.9, angle), 2.2, srgb(code));
        let middle = on_circle(centre, orbit, angle);
        planet(paper, middle, centre, radius, index, srgb(code));
    }
    let (tail, head) = (
        on_circle(centre, 128.0, 1.83),
        on_circle(centre, 40.0, 1.75),
    );
    for strand in 0..7u16 {
        let spread = (f32::from(strand) - 3.0) * 3.0;
        let middle = (
            (tail.0 + head.0) * 0.5 + spread + 5.0,
            (tail.1 + head.1) * 0.5,
        );
        let curve = bezier(head, middle, (tail.0 + 2.4 * spread, tail.1 + 0.6 * spread));
        paper.stroke(&curve, 0.6, srgb(BLUE));
    }
    paper.disc(head, 2.6, |_, _| srgb(BLUE));
}

fn planet(paper: &mut Paper, middle: Point, sun: Point, radius: f32, index: u32, colour: Vec3) {
    let (to_x, to_y) = (sun.0 - middle.0, sun.1 - middle.1);
    let far = length(to_x, to_y);
    paper.disc(middle, radius + 1.6, |_, _| srgb(0xeee2c8));
    paper.disc(middle, radius, |x, y| {
        let (x, y) = (x - middle.0, y - middle.1);
        let facing = (x * to_x + y * to_y) / (far * radius);
        let bands = noise(index as f32 * 7.0, y * 0.9 + 0.25 * x, 95);
        let lit = colour.mix(srgb(0xfff6e0), 0.5 * bands + 0.2);
        lit.mix(srgb(0x1b1c2a), smoothstep(0.55, -0.75, facing))
    });
    paper.stroke(&arc(middle, radius, 0.0, TAU), 0.9, srgb(INK));
    if index == 3 {
        let ring = |step: u16| {
            let (along, across) = (f32::from(step) / 40.0 * TAU).sin_cos();
            (
                middle.0 + 19.0 * across + 2.0 * along,
                middle.1 + 4.2 * along - 5.0 * across,
            )
        };
        paper.stroke(&(3..=17).map(ring).collect::<Vec<_>>(), 1.5, srgb(INK));
    }
}

fn bezier(from: Point, by: Point, to: Point) -> Vec<Point> {
    let place = |step: u16| {
        let t = f32::from(step) / 24.0;
        let blend = |a: f32, b: f32, c: f32| {
            a * (1.0 - t) * (1.0 - t) + 2.0 * b * t * (1.0 - t) + c * t * t
        };
        (blend(from.0, by.0, to.0), blend(from.1, by.1, to.1))
    };
    (0..=24).map(place).collect()
}

fn legend(paper: &mut Paper, (left, top): Point) {
    let ink = srgb(INK);
    paper.text((left, top), 9.0, 1.5, ink, "BODIES");
    paper.stroke(&[(left, top + 15.0), (486.0, top + 15.0)], 0.8, ink);
    let names = ["AURIS", "BELNA", "CORAX", "DOMUS", "ELARA", "FENRI"];
    for (row, (name, (orbit, _, radius, code))) in (0u16..).zip(names.into_iter().zip(PLANETS)) {
        let y = top + 27.0 + f32::from(row) * 29.0;
        let middle = (left + 11.0, y + 4.0);
        planet(
            paper,
            middle,
            (left - 40.0, y - 30.0),
            radius.min(8.0),
            u32::from(row) + 10,
            srgb(code),
        );
        paper.text((left + 28.0, y - 2.0), 7.0, 1.1, ink, name);
        paper.text(
            (left + 28.0, y + 8.0),
            5.0,
            0.8,
            srgb(BLUE),
            &format!("R = {orbit:.0}.{row}"),
        );
        let bar = left + 76.0;
        paper.rectangle((bar, y - 1.0), (bar + orbit * 0.25, y + 5.0), srgb(code));
        paper.stroke(&[(bar, y - 3.0), (bar, y + 8.0)], 0.8, ink);
    }
    paper.stroke(&[(left, top + 203.0), (486.0, top + 203.0)], 0.8, ink);
}

/// The distances of three bodies over the time.
fn curves(paper: &mut Paper, (left, top): Point, (right, bottom): Point) {
    let ink = srgb(INK);
    paper.rectangle((left, top), (right, bottom), srgb(0xf4ecd8));
    for column in 0..=37u16 {
        let x = left + f32::from(column) * 8.0;
        let width = if column % 5 == 0 { 0.6 } else { 0.22 };
        paper.stroke(&[(x, top), (x, bottom)], width, srgb(BLUE));
    }
    for row in 0..=7u16 {
        let y = top + f32::from(row) * 10.0;
        paper.stroke(&[(left, y), (right, y)], 0.3, srgb(BLUE));
    }
    let middle = (top + bottom) * 0.5;
    for (code, speed, phase, height) in [
        (RED, 9.0, 0.3, 26.0),
        (BLUE, 14.5, 1.9, 17.0),
        (GREEN, 5.2, 4.0, 31.0),
    ] {
        let place = |x: u16| {
            let t = f32::from(x) / 296.0;
            let swell = 0.65 + 0.35 * (t * 11.0 + phase).cos();
            (
                left + f32::from(x),
                middle - height * swell * (t * speed * 2.0 + phase).sin(),
            )
        };
        paper.stroke(&(0..=296).map(place).collect::<Vec<_>>(), 1.5, srgb(code));
        for x in (10..=290).step_by(40) {
            paper.disc(place(x), 2.3, |_, _| srgb(0xf4ecd8));
            paper.stroke(&arc(place(x), 2.3, 0.0, TAU), 0.8, ink);
        }
    }
    paper.stroke(
        &[(left, top - 6.0), (left, bottom), (right + 6.0, bottom)],
        1.4,
        ink,
    );
    for (index, x) in (0u16..=7).map(|index| (index, left + f32::from(index) * 40.0)) {
        paper.stroke(&[(x, bottom), (x, bottom + 4.0)], 1.0, ink);
        paper.centred((x, bottom + 6.5), 5.0, 0.8, ink, &(index * 30).to_string());
    }
}

/// Too small to read, as in every photograph of a page.
fn small_print(paper: &mut Paper, (left, top): Point) {
    let ink = srgb(INK);
    paper.text((left, top), 7.0, 1.2, srgb(RED), "NOTES");
    for line in 0..15i32 {
        let y = top + 16.0 + line as f32 * 8.2;
        let mut x = left;
        let mut word = 0;
        while x < 462.0 && !(line % 5 == 4 && word > 3) {
            let letters = 2 + (hash(line, word, 97) * 6.0) as i32;
            for letter in 0..letters {
                let code = hash(line * 40 + word, letter, 98) * 26.0;
                let glyph = char::from(b'A' + code as u8).to_string();
                paper.text((x, y), 3.6, 0.62, ink, &glyph);
                x += 3.5;
            }
            x += 2.6;
            word += 1;
        }
    }
    for stripe in 0..10u16 {
        let x = left + f32::from(stripe) * 11.4;
        let shade = f32::from(stripe) / 9.0;
        paper.rectangle(
            (x, 464.0),
            (x + 10.4, 478.0),
            srgb(0xf4ecd8).mix(ink, shade),
        );
    }
    paper.stroke(&[(left, 461.0), (left + 113.4, 461.0)], 0.6, ink);
}
