//! What the scenes share: vectors, smooth noise, colours, and the loop over the pixels.
//!
//! Invariant: the same bytes at every run, however many threads there are; all chance comes from hashing
//! coordinates.

use std::ops::{Add, Mul, Neg, Sub};
use std::thread;

/// A vector, or a colour in linear light.
#[derive(Clone, Copy)]
pub(crate) struct Vec3 {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) z: f32,
}

pub(crate) const fn vec3(x: f32, y: f32, z: f32) -> Vec3 {
    Vec3 { x, y, z }
}

impl Vec3 {
    pub(crate) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    pub(crate) fn cross(self, other: Self) -> Self {
        vec3(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )
    }

    pub(crate) fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    pub(crate) fn normalized(self) -> Self {
        self * (1.0 / self.length())
    }

    /// This at 0, `other` at 1.
    pub(crate) fn mix(self, other: Self, amount: f32) -> Self {
        self + (other - self) * amount
    }

    pub(crate) fn map(self, f: impl Fn(f32) -> f32) -> Self {
        vec3(f(self.x), f(self.y), f(self.z))
    }

    /// The direction of a mirror's reflection.
    pub(crate) fn reflected(self, normal: Self) -> Self {
        self - normal * (2.0 * self.dot(normal))
    }
}

impl Add for Vec3 {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        vec3(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl Sub for Vec3 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        vec3(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Mul for Vec3 {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        vec3(self.x * other.x, self.y * other.y, self.z * other.z)
    }
}

impl Mul<f32> for Vec3 {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        self.map(|value| value * factor)
    }
}

impl Neg for Vec3 {
    type Output = Self;
    fn neg(self) -> Self {
        self * -1.0
    }
}

/// 0 below `from`, 1 above `to`, smooth between.
pub(crate) fn smoothstep(from: f32, to: f32, value: f32) -> f32 {
    let t = ((value - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// From 0 to 1, without any pattern between neighbours.
pub(crate) fn hash(x: i32, y: i32, seed: u32) -> f32 {
    let mut bits = (x as u32).wrapping_mul(0x9e37_79b1)
        ^ (y as u32).wrapping_mul(0x85eb_ca77)
        ^ seed.wrapping_mul(0xc2b2_ae3d);
    bits = (bits ^ (bits >> 15)).wrapping_mul(0x2c1b_3c6d);
    bits = (bits ^ (bits >> 12)).wrapping_mul(0x297a_2d39);
    bits ^= bits >> 15;
    (bits >> 8) as f32 / 16_777_216.0
}

/// The length of (x, y); far faster than [`f32::hypot`], which minds numbers that don't occur here.
pub(crate) fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

/// Faster than [`f32::floor`], which calls a function where only the oldest instructions may be used.
fn floor(x: f32) -> i32 {
    let truncated = x as i32;
    truncated - i32::from(x < truncated as f32)
}

/// Value noise from 0 to 1, and its slopes along x and y.
pub(crate) fn noise_and_slope(x: f32, y: f32, seed: u32) -> (f32, f32, f32) {
    let (column, row) = (floor(x), floor(y));
    let (right, down) = (x - column as f32, y - row as f32);
    let corner = hash(column, row, seed);
    let across = hash(column + 1, row, seed) - corner;
    let along = hash(column, row + 1, seed) - corner;
    let twist = hash(column + 1, row + 1, seed) - corner - across - along;
    let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
    let fade_slope = |t: f32| 30.0 * t * t * (t * (t - 2.0) + 1.0);
    let (s, t) = (fade(right), fade(down));
    let value = corner + across * s + along * t + twist * s * t;
    let slope_x = (across + twist * t) * fade_slope(right);
    let slope_y = (along + twist * s) * fade_slope(down);
    (value, slope_x, slope_y)
}

/// Value noise from 0 to 1.
pub(crate) fn noise(x: f32, y: f32, seed: u32) -> f32 {
    noise_and_slope(x, y, seed).0
}

/// Octaves of noise, each twice as fine and half as strong, from 0 to 1.
pub(crate) fn fbm(x: f32, y: f32, octaves: u32, seed: u32) -> f32 {
    let (mut x, mut y, mut weight) = (x, y, 0.5);
    let (mut sum, mut total) = (0.0, 0.0);
    for octave in 0..octaves {
        sum += weight * noise(x, y, seed + octave);
        total += weight;
        weight *= 0.5;
        // Turned a little at each step, so that the lattices don't line up.
        (x, y) = (1.6 * x + 1.2 * y, 1.6 * y - 1.2 * x);
    }
    sum / total
}

/// A colour in linear light from the sRGB code that people write, such as `0xe0c0a0`.
pub(crate) fn srgb(code: u32) -> Vec3 {
    let channel = |shift: u32| {
        let value = (code >> shift & 0xff) as f32 / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    vec3(channel(16), channel(8), channel(0))
}

/// Brings light of any strength below 1, bright parts gently, as film does.
pub(crate) fn filmic(light: Vec3) -> Vec3 {
    light.map(|x| (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14))
}

/// RGB bytes from the colour at each place: x to the right, y upwards, the middle at 0,0, top and
/// bottom at 1 and -1. Each pixel is the mean of `grid` x `grid` places in it.
pub(crate) fn render(
    (width, height): (u32, u32),
    grid: u32,
    colour_at: impl Fn(f32, f32) -> Vec3 + Sync,
) -> Vec<u8> {
    let row_bytes = width as usize * 3;
    let mut bytes = vec![0; row_bytes * height as usize];
    let scale = 2.0 / height as f32;
    let pixel = |column: u32, row: u32| {
        let mut sum = vec3(0.0, 0.0, 0.0);
        for place in 0..grid * grid {
            let inside = |index: u32| (index as f32 + 0.5) / grid as f32;
            let x = (column as f32 + inside(place % grid) - width as f32 * 0.5) * scale;
            let y = 1.0 - (row as f32 + inside(place / grid)) * scale;
            sum = sum + colour_at(x, y).map(|value| value.clamp(0.0, 1.0));
        }
        to_srgb(sum * (1.0 / (grid * grid) as f32))
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    // Rows are dealt out like cards: the sky costs less than the ground.
    let mut hands: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
    for (row, line) in (0..).zip(bytes.chunks_exact_mut(row_bytes)) {
        hands[row as usize % threads].push((row, line));
    }
    thread::scope(|scope| {
        for hand in hands {
            scope.spawn(|| {
                for (row, line) in hand {
                    for (column, rgb) in (0..).zip(line.chunks_exact_mut(3)) {
                        rgb.copy_from_slice(&pixel(column, row));
                    }
                }
            });
        }
    });
    bytes
}

/// The nearest sRGB bytes of a colour in linear light.
pub(crate) fn to_srgb(colour: Vec3) -> [u8; 3] {
    [colour.x, colour.y, colour.z].map(|value| {
        let value = value.clamp(0.0, 1.0);
        let encoded = if value <= 0.003_130_8 {
            value * 12.92
        } else {
            1.055 * value.powf(1.0 / 2.4) - 0.055
        };
        (encoded * 255.0).round() as u8
    })
}
