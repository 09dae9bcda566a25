//! Mountains behind a lake in the evening: a fractal height field, found by marching along rays.
//!
//! Invariant: the march takes at most [`STEPS`] steps and never goes below the water, y = 0.

use super::render::{Vec3, fbm, filmic, noise, noise_and_slope, render, smoothstep, srgb, vec3};

const STEPS: u32 = 200;
const FAR: f32 = 230.0;
const HIGHEST: f32 = 31.0;
const EYE: Vec3 = vec3(0.0, 1.5, 0.0);
const UP: Vec3 = vec3(0.0, 1.0, 0.0);

pub(crate) fn picture(size: (u32, u32)) -> Vec<u8> {
    let tilt = vec3(0.0, 0.085, 1.0).normalized();
    let up = tilt.cross(vec3(1.0, 0.0, 0.0));
    render(size, 2, |x, y| {
        let direction = (tilt * 2.5 + vec3(x, 0.0, 0.0) + up * y).normalized();
        let vignette = 1.0 - 0.1 * (0.5 * x * x + y * y);
        filmic(scene(direction) * (0.8 * vignette))
    })
}

fn sun() -> Vec3 {
    vec3(-0.78, 0.36, 0.12).normalized()
}

fn scene(direction: Vec3) -> Vec3 {
    let water = if direction.y < 0.0 {
        -EYE.y / direction.y
    } else {
        f32::INFINITY
    };
    if let Some(distance) = march(EYE, direction, water.min(FAR), 7) {
        return land(EYE + direction * distance, distance, direction);
    }
    if water < FAR * 4.0 {
        lake(direction, water)
    } else {
        sky(direction)
    }
}

/// Height of the ground; more octaves for more detail. Each counts less where the ground is steep
/// already, which looks as if rain had been at work.
fn ground(x: f32, z: f32, octaves: u32) -> f32 {
    let (mut u, mut v, mut weight) = (x * 0.032 + 3.7, z * 0.032 + 1.2, 1.0);
    let (mut sum, mut slope_u, mut slope_v) = (0.0, 0.0, 0.0);
    for octave in 0..octaves {
        let (value, du, dv) = noise_and_slope(u, v, 40 + octave);
        slope_u += du;
        slope_v += dv;
        sum += weight * value / (1.0 + slope_u * slope_u + slope_v * slope_v);
        weight *= 0.5;
        (u, v) = (1.6 * u + 1.2 * v, 1.6 * v - 1.2 * u);
    }
    // A bay in front, hills around it, the range behind.
    let shore = 26.0 + 9.0 * noise(x * 0.07, 3.0, 39) - 0.011 * x * x;
    let rise = smoothstep(0.0, 95.0, z - shore);
    let hills = 5.5 * smoothstep(-2.0, 16.0, z - shore);
    sum * (hills + 27.0 * rise) - 1.6 * (1.0 - smoothstep(-4.0, 10.0, z - shore)) - 0.35
}

fn march(origin: Vec3, direction: Vec3, far: f32, octaves: u32) -> Option<f32> {
    let mut distance = 4.0;
    for _ in 0..STEPS {
        let point = origin + direction * distance;
        if distance > far || (point.y > HIGHEST && direction.y > 0.0) {
            return None;
        }
        let above = point.y - ground(point.x, point.z, octaves);
        if above < 0.0015 * distance {
            return Some(distance);
        }
        distance += 0.4 * above + 0.0007 * distance;
    }
    None
}

fn slope(point: Vec3, distance: f32) -> Vec3 {
    let step = 0.0016 * distance;
    let at = |dx: f32, dz: f32| ground(point.x + dx, point.z + dz, 12);
    vec3(
        at(-step, 0.0) - at(step, 0.0),
        2.0 * step,
        at(0.0, -step) - at(0.0, step),
    )
    .normalized()
}

/// How much of the sun's disc a point of the ground sees.
fn sunlight(point: Vec3) -> f32 {
    let towards = sun();
    let (mut open, mut distance) = (1.0f32, 0.35);
    for _ in 0..26 {
        let at = point + towards * distance;
        let above = at.y - ground(at.x, at.z, 6);
        open = open.min(14.0 * above / distance);
        distance += (0.6 * above).clamp(0.3, 3.5);
        if open <= 0.0 || at.y > HIGHEST {
            break;
        }
    }
    smoothstep(0.0, 1.0, open)
}

fn land(point: Vec3, distance: f32, direction: Vec3) -> Vec3 {
    let normal = slope(point, distance);
    let rough = fbm(point.x * 1.4, point.z * 1.4, 5, 61);
    let fine = fbm(point.x * 9.0, point.y * 9.0 + point.z * 5.0, 3, 62);
    let layers = noise(point.x * 0.3, point.y * 3.2 + rough * 2.0, 63);

    let rock = srgb(0x7b6a5c).mix(srgb(0x4c4542), layers) * (0.65 + 0.6 * fine);
    let grass = srgb(0x4c5a2c).mix(srgb(0x7a7340), rough) * (0.7 + 0.5 * fine);
    let trees = smoothstep(0.3, 0.56, fbm(point.x * 4.3, point.z * 2.9, 5, 64));
    let green = grass.mix(srgb(0x1e3320) * (0.45 + fine), trees);
    let tree_line = 6.6 + 3.0 * (rough - 0.5);
    let low = 1.0 - smoothstep(tree_line - 1.8, tree_line + 1.4, point.y);
    let mut colour = rock.mix(green, low * smoothstep(0.52, 0.8, normal.y));
    let shingle = 1.0 - smoothstep(0.04, 0.3, point.y);
    colour = colour.mix(srgb(0x9c8f7c) * (0.6 + 0.7 * fine), shingle);
    let snow_line = 9.6 + 3.4 * (rough - 0.5);
    let snow =
        smoothstep(snow_line - 0.8, snow_line + 1.6, point.y) * smoothstep(0.5, 0.68, normal.y);
    colour = colour.mix(srgb(0xf2f5fa), snow);

    let lit = normal.dot(sun()).max(0.0);
    let direct = if lit > 0.0 {
        lit * sunlight(point + normal * 0.05)
    } else {
        0.0
    };
    let from_sky = vec3(0.3, 0.42, 0.66) * (0.55 + 0.45 * normal.y);
    let bounced = vec3(0.26, 0.19, 0.13) * (0.5 - 0.5 * normal.dot(sun()));
    let light = colour * (vec3(4.3, 3.25, 2.15) * direct + from_sky + bounced);
    hazed(light, distance, direction)
}

/// Air in between: blue from the side, golden towards the sun, thicker down in the valleys.
fn hazed(light: Vec3, distance: f32, direction: Vec3) -> Vec3 {
    let towards = direction.dot(sun()).max(0.0);
    let air = srgb(0x92abcd).mix(srgb(0xf3cf9f), 0.75 * towards * towards);
    let height = (EYE.y + direction.y * distance).max(0.0);
    let density = 0.0048 + 0.006 * (-0.32 * height).exp();
    light.mix(air, 1.0 - (-density * distance).exp())
}

fn sky(direction: Vec3) -> Vec3 {
    let up = direction.y.max(0.0);
    let towards = direction.dot(sun()).max(0.0);
    let horizon = srgb(0xf6d9b4).mix(srgb(0xffc681), towards);
    let base = horizon.mix(srgb(0x86aede), smoothstep(0.0, 0.2, up));
    let base = base.mix(srgb(0x3d74bb), smoothstep(0.12, 0.6, up));
    let (x, z) = (direction.x / (up + 0.07), direction.z / (up + 0.07));
    let thickness = |x: f32, z: f32| fbm(x * 0.55 + 1.4, z * 0.95 + 5.1, 7, 71);
    let here = thickness(x, z);
    let cover = smoothstep(0.5, 0.7, here) * smoothstep(0.01, 0.14, up);
    // What lies between a place and the sun shades it.
    let edge = thickness(x - 0.35, z + 0.05) - here;
    let bright = smoothstep(0.16, -0.16, edge);
    let cloud = srgb(0x8d90a6).mix(srgb(0xfff0dc), bright) * (0.9 + 0.25 * bright);
    base.mix(cloud, 0.92 * cover) + vec3(1.0, 0.72, 0.42) * (0.45 * towards.powi(6))
}

fn lake(direction: Vec3, distance: f32) -> Vec3 {
    let point = EYE + direction * distance;
    // Wind has ruffled some stretches and left others smooth.
    let calm = smoothstep(0.42, 0.62, fbm(point.x * 0.11, point.z * 0.22, 3, 81));
    let strength = (0.028 - 0.022 * calm) / (1.0 + 0.02 * distance);
    let wave = |seed| fbm(point.x * 0.9, point.z * 2.6, 4, seed) - 0.5;
    let normal = vec3(wave(82) * strength, 1.0, wave(83) * 2.0 * strength).normalized();
    let mirror = direction.reflected(normal);
    let mirror = vec3(mirror.x, mirror.y.abs().max(0.004), mirror.z).normalized();
    let surface = point + UP * 0.02;
    let reflected = match march(surface, mirror, FAR, 5) {
        Some(far) => land(surface + mirror * far, far + distance * 0.5, mirror),
        None => sky(mirror),
    };
    let slant = (1.0 + direction.dot(normal)).clamp(0.0, 1.0);
    let share = 0.04 + 0.96 * slant.powi(4);
    let depth = smoothstep(-0.9, -0.05, ground(point.x, point.z, 6));
    let deep = srgb(0x16384a).mix(srgb(0x4a6a5c), depth) * 0.8;
    hazed(
        deep.mix(reflected * 0.95, share.min(0.93)),
        0.35 * distance,
        direction,
    )
}
