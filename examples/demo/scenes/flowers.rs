//! A flower close by and sharp, a meadow far behind it out of focus.
//!
//! Invariant: painted from the front to the back; the first thing that covers a place decides its colour.

use std::f32::consts::{PI, TAU};

use super::render::{Vec3, fbm, filmic, hash, length, noise, render, smoothstep, srgb, vec3};

/// Middle of the flower, and how much its tilt flattens it.
const FLOWER: (f32, f32) = (0.34, 0.12);
const TILT: f32 = 0.88;
/// Where the light comes from, across the picture.
const LIGHT: (f32, f32) = (-0.6, 0.8);

/// Petals of each ring, front ring first: how many, their length and width, and where the first points.
const RINGS: [(u16, f32, f32, f32); 3] = [
    (13, 0.5, 0.105, 0.1),
    (14, 0.6, 0.118, 0.33),
    (15, 0.665, 0.12, 0.05),
];

pub(crate) fn picture(size: (u32, u32)) -> Vec<u8> {
    let lights = far_lights();
    render(size, 3, |x, y| {
        let colour = flower(x, y).or_else(|| leaves(x, y)).or_else(|| stem(x, y));
        let colour = colour.unwrap_or_else(|| meadow(x, y, &lights));
        let vignette = 1.0 - 0.13 * (0.5 * x * x + y * y);
        filmic(colour * (0.85 * vignette))
    })
}

/// A long, rounded shape seen flat: a petal or a leaf.
struct Blade {
    root: (f32, f32),
    angle: f32,
    length: f32,
    width: f32,
    bend: f32,
}

/// A place on a blade.
struct Spot {
    /// 0 at the root, 1 at the tip.
    along: f32,
    /// -1 and 1 at the edges.
    across: f32,
    /// Negative inside, about the distance to the edge.
    outside: f32,
}

impl Blade {
    fn spot(&self, x: f32, y: f32) -> Spot {
        let (sine, cosine) = self.angle.sin_cos();
        let (x, y) = (x - self.root.0, y - self.root.1);
        let along = (x * cosine + y * sine) / self.length;
        let curve = self.bend * along * along;
        let across = y * cosine - x * sine - curve;
        let clamped = along.clamp(0.02, 0.995);
        let half = self.width * (PI * clamped.powf(1.25)).sin().powf(0.62);
        let past = (along - 0.99).max(0.02 - along).max(0.0) * self.length;
        let beside = across.abs() - half;
        let outside = length(beside.max(0.0), past) + beside.min(0.0);
        Spot {
            along,
            across: across / half,
            outside,
        }
    }
}

fn flower(x: f32, y: f32) -> Option<Vec3> {
    let (x, y) = (x - FLOWER.0, (y - FLOWER.1) / TILT);
    if length(x, y) > 0.8 {
        return None;
    }
    if let Some(colour) = florets(x, y) {
        return Some(colour);
    }
    let near_heart = smoothstep(0.34, 0.17, length(x, y));
    let mut shadow = 0.75 * near_heart;
    let mut number = 0;
    for (ring, (count, length, width, start)) in (0u16..).zip(RINGS) {
        for index in 0..count {
            number += 1;
            let chance = |seed| hash(number, i32::from(ring), seed) - 0.5;
            let petal = Blade {
                root: (0.0, 0.0),
                angle: start + (f32::from(index) + 0.35 * chance(101)) / f32::from(count) * TAU,
                length: length * (1.0 + 0.13 * chance(102)),
                width: width * (1.0 + 0.2 * chance(103)),
                bend: 0.1 * chance(104),
            };
            // What points elsewhere is too far away to matter.
            if x * petal.angle.cos() + y * petal.angle.sin() < 0.0 {
                continue;
            }
            let spot = petal.spot(x, y);
            if spot.outside < 0.0 {
                let dark = 1.0 - 0.62 * f32::min(shadow, 1.0);
                let colour = petal_colour(&petal, &spot, number);
                return Some(colour * dark * (1.0 - 0.1 * f32::from(ring)));
            }
            // The shadow falls away from the light.
            let cast = petal.spot(x + LIGHT.0 * 0.018, y + LIGHT.1 * 0.018).outside;
            shadow = shadow.max(smoothstep(0.035, -0.012, cast));
        }
    }
    None
}

fn petal_colour(petal: &Blade, spot: &Spot, number: i32) -> Vec3 {
    let Spot { along, across, .. } = *spot;
    let place = number as f32 * 13.7;
    let root = srgb(0xf7c948).mix(
        srgb(0xd8407e),
        smoothstep(0.26, 0.46, along + 0.06 * noise(across * 6.0, place, 111)),
    );
    let body = root.mix(srgb(0xf3a3c4), smoothstep(0.42, 0.98, along));
    let streak = fbm(across * 8.0 + place, along * 2.2, 3, 112);
    let vein = (1.0 - (across * 14.0 + (along * 9.0).sin() * 0.4).sin().abs()).powi(3);
    let body = body.mix(
        srgb(0xb02a66),
        0.42 * smoothstep(0.42, 0.75, streak) + 0.2 * vein * (1.0 - along),
    );
    let body = body.mix(
        srgb(0xfbdbe6),
        0.5 * smoothstep(0.78, 1.0, across.abs()) * along,
    );

    // Rounded across, with a furrow in the middle and the tip turned up.
    let furrow = 0.5 * smoothstep(0.22, 0.0, across.abs()) * across.signum();
    let (sine, cosine) = petal.angle.sin_cos();
    let towards = |along: f32, across: f32| {
        LIGHT.0 * (along * cosine - across * sine) + LIGHT.1 * (along * sine + across * cosine)
    };
    let lift = 0.35 * smoothstep(0.7, 1.0, along) - 0.3 * smoothstep(0.4, 0.1, along);
    let ripple = 0.22 * (fbm(along * 5.0 + place, across * 1.5, 2, 113) - 0.5);
    let light = 0.86 + 0.34 * towards(-lift + ripple, 0.75 * across - furrow);
    let gloss = 0.16 * smoothstep(0.5, 1.0, towards(-lift, across));
    body * light.max(0.2) * 1.35 + vec3(gloss, gloss, gloss)
}

/// The heart of the flower: florets in a sunflower's spiral, the outer ones in bloom.
fn florets(x: f32, y: f32) -> Option<Vec3> {
    let radius = length(x, y);
    if radius > 0.205 {
        return None;
    }
    let golden = PI * (3.0 - 5.0f32.sqrt());
    let mut best: Option<(f32, Vec3)> = None;
    for index in 0u16..310 {
        let share = f32::from(index) / 310.0;
        let away = 0.178 * share.sqrt();
        let (sine, cosine) = (f32::from(index) * golden).sin_cos();
        let width = 0.0058 + 0.0062 * share * share;
        // Towards the rim they stand out of the disc, upwards.
        let (dx, dy) = (x - away * cosine, y - away * sine - 0.012 * (1.0 - share));
        let near = length(dx, dy) / width;
        if near < 1.0 {
            let height = (1.0 - near * near).sqrt() * width + 0.02 * share;
            let facing = (dx * LIGHT.0 + dy * LIGHT.1) / width;
            let young = srgb(0x6d7a1e).mix(srgb(0xa8741a), smoothstep(0.03, 0.3, share));
            let colour = young.mix(
                srgb(0xffc227),
                smoothstep(0.3, 0.85, share + 0.2 * hash(index.into(), 1, 121)),
            );
            let lit = colour * (0.62 + 0.55 * facing + 0.35 * (1.0 - near));
            let glint = smoothstep(
                0.35,
                0.0,
                length(dx / width - LIGHT.0 * 0.45, dy / width - LIGHT.1 * 0.45),
            );
            let lit = lit.map(|value| value.max(0.01)) * 1.25 + vec3(0.3, 0.28, 0.2) * glint;
            if best.is_none_or(|(top, _)| height > top) {
                best = Some((height, lit));
            }
        }
    }
    let dome = 0.75 + 1.4 * (x * LIGHT.0 + y * LIGHT.1);
    match best {
        Some((_, colour)) => Some(colour * dome),
        None if radius < 0.178 => Some(srgb(0x3a2608) * dome),
        None => None,
    }
}

fn leaves(x: f32, y: f32) -> Option<Vec3> {
    let blades = [
        Blade {
            root: (0.4, -0.88),
            angle: 0.62,
            length: 0.82,
            width: 0.13,
            bend: -0.16,
        },
        Blade {
            root: (0.37, -0.98),
            angle: 2.45,
            length: 0.95,
            width: 0.15,
            bend: 0.2,
        },
    ];
    for (number, blade) in (0i32..).zip(&blades) {
        let spot = blade.spot(x, y);
        let teeth = 0.006 * ((spot.along * 46.0).fract() - 0.3);
        if spot.outside < teeth.min(0.002) {
            return Some(leaf_colour(&spot, number));
        }
    }
    None
}

fn leaf_colour(spot: &Spot, number: i32) -> Vec3 {
    let Spot { along, across, .. } = *spot;
    let fine = fbm(along * 40.0, across * 9.0, 3, 131);
    let base = srgb(0x2f6b2a).mix(
        srgb(0x6f9a3d),
        0.55 * fbm(along * 6.0, across * 2.0 + number as f32, 4, 132) + 0.2 * fine,
    );
    let rib = (along - 0.16 * across.abs().powf(1.3)) * 13.0;
    let to_rib = (rib - rib.round()).abs();
    let veins = smoothstep(0.09, 0.0, to_rib) * (1.0 - 0.6 * across.abs());
    let middle = smoothstep(0.07, 0.02, across.abs());
    let colour = base.mix(srgb(0xa9c77c), (0.5 * veins).max(0.8 * middle));
    // Between the veins the leaf bulges; one half faces the light.
    let bulge = 0.25 * (TAU * rib).sin()
        + 0.32 * if across > 0.0 { 1.0 } else { -0.8 } * (1.0 - 2.0 * number as f32);
    colour * (0.9 + 0.55 * bulge) * (0.7 + 0.5 * along)
}

fn stem(x: f32, y: f32) -> Option<Vec3> {
    if y > FLOWER.1 {
        return None;
    }
    let middle = FLOWER.0 + 0.05 * (FLOWER.1 - y) + 0.03 * (y * 3.0).sin();
    let across = (x - middle) / 0.026;
    if across.abs() > 1.0 {
        return None;
    }
    let round = (1.0 - across * across).sqrt();
    let fibre = fbm(across * 7.0, y * 3.0, 3, 141);
    let colour = srgb(0x4f7a2c).mix(srgb(0x8fae55), fibre);
    let under = smoothstep(FLOWER.1 - 0.1, FLOWER.1 - 0.75, y);
    Some(colour * (0.3 + 0.6 * round - 0.35 * across) * (0.35 + 0.65 * under))
}

/// A light far out of focus: middle, radius, colour.
struct FarLight {
    centre: (f32, f32),
    radius: f32,
    colour: Vec3,
}

fn far_lights() -> Vec<FarLight> {
    let colours = [0xfff3b0, 0xd8f08a, 0xf7c8dc, 0xa8e0c0, 0xffe08a, 0xf29ab8];
    let light = |number: i32| {
        let chance = |seed| hash(number, 7, seed);
        let x = chance(151) * 3.4 - 1.7;
        let y = chance(152) * 2.1 - 0.75;
        let radius = 0.05 + 0.13 * chance(153) * chance(153);
        let colour = srgb(colours[(chance(154) * 6.0) as usize % 6]);
        let strength =
            (0.12 + 0.5 * chance(155) * chance(156)) * (0.55 + 0.45 * smoothstep(-0.6, 0.7, y));
        FarLight {
            centre: (x, y),
            radius,
            colour: colour * strength,
        }
    };
    (0..85).map(light).collect()
}

fn meadow(x: f32, y: f32, lights: &[FarLight]) -> Vec3 {
    let blur = fbm(x * 1.1 + 3.0, y * 1.3, 2, 161);
    let other = fbm(x * 0.9 + 9.0, y * 0.8 - 2.0, 2, 162);
    let ground = srgb(0x24451f).mix(srgb(0x6d8f34), smoothstep(0.25, 0.8, blur));
    let ground = ground.mix(
        srgb(0x9a6a86),
        0.5 * smoothstep(0.55, 0.85, other) * smoothstep(0.3, -0.7, y),
    );
    let sky = srgb(0xa9c98a).mix(
        srgb(0xe9edc4),
        smoothstep(0.4, 1.0, y + 0.3 * blur - 0.25 * x),
    );
    let mut colour = ground.mix(
        sky,
        smoothstep(-0.15, 1.05, y + 0.5 * (other - 0.5) - 0.18 * x),
    );
    for light in lights {
        let (dx, dy) = (x - light.centre.0, y - light.centre.1);
        let near = length(dx, dy) / light.radius;
        if near < 1.08 {
            let edge = smoothstep(1.06, 0.95, near);
            let rim = 0.75 + 0.4 * smoothstep(0.6, 0.98, near);
            colour = colour + light.colour * (edge * rim);
        }
    }
    // Grass, half out of focus.
    for blade in 0..26i32 {
        let chance = |seed| hash(blade, 3, seed);
        let root = chance(171) * 3.4 - 1.7;
        let height = 0.35 + 0.6 * chance(172);
        let up = (y + 1.05) / height;
        if up > 1.1 {
            continue;
        }
        let middle = root + 0.5 * (chance(173) - 0.5) * up.max(0.0) * up;
        let width = 0.022 * (1.0 - up.clamp(0.0, 1.0)).sqrt() + 0.004;
        let soft = 0.012 + 0.03 * chance(174);
        let cover = smoothstep(width + soft, (width - soft).min(0.0), (x - middle).abs())
            * smoothstep(1.08, 0.8, up);
        let tone = srgb(0x39602a).mix(srgb(0x9dbb55), chance(175));
        colour = colour.mix(tone * (0.35 + 0.6 * up.max(0.0)), 0.8 * cover);
    }
    colour
}
