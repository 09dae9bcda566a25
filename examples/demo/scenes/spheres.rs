//! Spheres of glass, metal, marble and lacquer on a wooden floor under a cloudy sky, by ray tracing.
//!
//! Invariant: a ray is followed at most [`BOUNCES`] times, so that every picture ends.

use super::render::{Vec3, fbm, filmic, hash, noise, render, smoothstep, srgb, vec3};

const BOUNCES: u32 = 5;
const SUN: Vec3 = vec3(0.52, 0.56, -0.645);
/// Relative to the sun's distance: how wide shadows' edges are.
const SUN_SHARPNESS: f32 = 9.0;

#[derive(Clone, Copy, PartialEq)]
enum Material {
    Lacquer(u32),
    Metal(u32),
    Glass,
    Marble,
    Striped,
}

struct Sphere {
    centre: Vec3,
    radius: f32,
    material: Material,
}

const fn sphere(x: f32, z: f32, radius: f32, material: Material) -> Sphere {
    let centre = vec3(x, radius, z);
    Sphere {
        centre,
        radius,
        material,
    }
}

/// They all rest on the floor, y = 0.
const SPHERES: [Sphere; 9] = [
    sphere(-0.25, 0.55, 1.0, Material::Metal(0xf3f3f5)),
    sphere(-1.95, -0.25, 0.72, Material::Lacquer(0xb3171c)),
    sphere(1.55, 0.15, 0.8, Material::Marble),
    sphere(0.62, -1.15, 0.5, Material::Glass),
    sphere(-0.72, -1.35, 0.36, Material::Metal(0xf2b84b)),
    sphere(2.45, -1.05, 0.42, Material::Striped),
    sphere(1.5, -1.95, 0.22, Material::Lacquer(0x1b4fa8)),
    sphere(-1.62, -1.75, 0.26, Material::Lacquer(0x2f8f4a)),
    sphere(0.05, -2.15, 0.17, Material::Lacquer(0xe8e2d2)),
];

pub(crate) fn picture(size: (u32, u32)) -> Vec<u8> {
    let eye = vec3(0.35, 1.75, -7.2);
    let forward = (vec3(0.2, 0.62, 0.0) - eye).normalized();
    let right = vec3(0.0, 1.0, 0.0).cross(forward).normalized();
    let up = forward.cross(right);
    render(size, 3, |x, y| {
        let direction = (forward * 3.25 + right * x + up * y).normalized();
        let vignette = 1.0 - 0.12 * (x * x + y * y);
        filmic(light_along(eye, direction, BOUNCES) * (0.78 * vignette))
    })
}

/// The light that arrives at `origin` against `direction`.
fn light_along(origin: Vec3, direction: Vec3, bounces: u32) -> Vec3 {
    let mut nearest = f32::INFINITY;
    let mut found = None;
    for sphere in &SPHERES {
        if let Some(distance) = sphere.hit(origin, direction)
            && distance < nearest
        {
            nearest = distance;
            found = Some(sphere);
        }
    }
    let floor = -origin.y / direction.y;
    if direction.y < 0.0 && floor > 1e-4 && floor < nearest {
        let light = floor_light(origin + direction * floor, direction, bounces);
        let haze = smoothstep(14.0, 60.0, floor);
        return light.mix(
            sky(vec3(direction.x, 0.015, direction.z).normalized()),
            haze,
        );
    }
    match found {
        Some(sphere) => sphere.light(origin + direction * nearest, direction, bounces),
        None => sky(direction),
    }
}

fn sky(direction: Vec3) -> Vec3 {
    let up = direction.y.max(0.0);
    let blue = srgb(0xbcd3ea).mix(srgb(0x2f6bb8), 1.0 - (-4.0 * up).exp());
    let (x, y) = (direction.x / (up + 0.12), direction.z / (up + 0.12));
    let cover = fbm(1.1 * x + 7.3, 1.1 * y, 6, 11);
    let cloud = smoothstep(0.5, 0.78, cover) * smoothstep(0.0, 0.12, up);
    let shaded = srgb(0xffffff).mix(srgb(0xa9b4c4), smoothstep(0.6, 0.9, cover));
    let glow = direction.dot(SUN).max(0.0);
    let sun = vec3(1.0, 0.9, 0.72) * (9.0 * glow.powf(1800.0) + 0.35 * glow.powf(24.0));
    blue.mix(shaded * 1.1, cloud) + sun
}

/// How much of the sun arrives at `point`: 0 to 1, more behind glass, which gathers it.
fn sunlight(point: Vec3, except: Option<&Sphere>) -> f32 {
    let mut light = 1.0;
    for sphere in SPHERES
        .iter()
        .filter(|s| !except.is_some_and(|e| std::ptr::eq(e, *s)))
    {
        let to_centre = sphere.centre - point;
        let along = to_centre.dot(SUN);
        if along <= 0.0 {
            continue;
        }
        let beside = (to_centre.dot(to_centre) - along * along).max(0.0).sqrt();
        let gap = (beside - sphere.radius) / along;
        let open = smoothstep(-1.0, 1.0, gap * SUN_SHARPNESS);
        light *= if sphere.material == Material::Glass {
            let focus = 1.0 - smoothstep(0.0, 0.55, beside / sphere.radius);
            open.max(0.28 + 2.6 * focus * focus)
        } else {
            open
        };
    }
    light
}

/// How much of the sky a surface at `point` sees past the spheres.
fn skylight(point: Vec3, normal: Vec3, except: Option<&Sphere>) -> f32 {
    let mut light = 1.0;
    for sphere in SPHERES
        .iter()
        .filter(|s| !except.is_some_and(|e| std::ptr::eq(e, *s)))
    {
        let to_centre = sphere.centre - point;
        let squared = to_centre.dot(to_centre);
        let facing = normal.dot(to_centre) / squared.sqrt();
        let hidden = facing.max(0.0) * sphere.radius * sphere.radius / squared;
        light *= 1.0 - hidden.min(1.0);
    }
    light
}

/// What a matt surface of this colour sends back.
fn matt(colour: Vec3, point: Vec3, normal: Vec3, except: Option<&Sphere>) -> Vec3 {
    let sun = vec3(3.1, 2.75, 2.2) * (normal.dot(SUN).max(0.0) * sunlight(point, except));
    let open = skylight(point, normal, except);
    let from_sky = vec3(0.42, 0.55, 0.78) * (open * (0.55 + 0.45 * normal.y));
    let from_floor = vec3(0.34, 0.23, 0.14) * (0.5 - 0.5 * normal.y);
    colour * (sun + from_sky + from_floor)
}

/// The share of light that a clear coat mirrors (Schlick), from `head_on` up to all.
fn mirrored(head_on: f32, direction: Vec3, normal: Vec3) -> f32 {
    let slant = (1.0 + direction.dot(normal)).clamp(0.0, 1.0);
    head_on + (1.0 - head_on) * slant.powi(5)
}

fn floor_light(point: Vec3, direction: Vec3, bounces: u32) -> Vec3 {
    let (across, along) = (point.x * 1.7, point.z * 1.7 + 40.0);
    let board = across.floor();
    let offset = hash(board as i32, 0, 21) * 5.0;
    let piece = ((along + offset) / 5.0).floor();
    let tone = hash(board as i32, piece as i32, 22);
    let (u, v) = (across - board, (along + offset) / 5.0 - piece);

    let rings = across * 3.0 + 2.2 * fbm(across * 1.3, along * 0.22 + tone * 50.0, 3, 23);
    let ring = 0.5 + 0.5 * (rings * 6.3).sin();
    let fibre = noise(across * 90.0, along * 3.0, 24) * noise(across * 37.0, along * 1.1, 25);
    let wood = srgb(0xb98250).mix(srgb(0x7d4a26), 0.55 * ring * ring + 0.5 * fibre);
    let wood = wood * (0.72 + 0.5 * tone);
    let edge = u.min(1.0 - u).min(5.0 * v.min(1.0 - v));
    let colour = wood * (0.3 + 0.7 * smoothstep(0.004, 0.022, edge));

    let up = vec3(0.0, 1.0, 0.0);
    let light = matt(colour, point, up, None);
    let share = 0.75 * mirrored(0.05, direction, up);
    if bounces == 0 || point.length() > 30.0 {
        return light;
    }
    let wave = |seed| 0.02 * (fbm(across * 5.0, along * 1.2, 3, seed) - 0.5);
    let normal = vec3(wave(26), 1.0, wave(27)).normalized();
    let mirror = direction.reflected(normal);
    light.mix(light_along(point + up * 1e-3, mirror, bounces - 1), share)
}

impl Sphere {
    /// The distance along a ray to the outside of this sphere.
    fn hit(&self, origin: Vec3, direction: Vec3) -> Option<f32> {
        let from_centre = origin - self.centre;
        let half = from_centre.dot(direction);
        let outside = from_centre.dot(from_centre) - self.radius * self.radius;
        let root = half * half - outside;
        let distance = -half - root.max(0.0).sqrt();
        (root > 0.0 && distance > 1e-3).then_some(distance)
    }

    fn light(&self, point: Vec3, direction: Vec3, bounces: u32) -> Vec3 {
        let normal = (point - self.centre).normalized();
        if bounces == 0 {
            return matt(srgb(0x808080), point, normal, Some(self));
        }
        let outside = point + normal * 1e-3;
        let mirror = || light_along(outside, direction.reflected(normal), bounces - 1);
        let coat = mirrored(0.045, direction, normal);
        let coated = |colour| matt(colour, point, normal, Some(self)).mix(mirror(), coat);
        match self.material {
            Material::Metal(code) => {
                let tint = srgb(code).mix(srgb(0xffffff), mirrored(0.0, direction, normal));
                mirror() * tint * 0.94 + matt(srgb(code) * 0.04, point, normal, Some(self))
            }
            Material::Lacquer(code) => coated(srgb(code)),
            Material::Marble => coated(marble(normal)),
            Material::Striped => coated(stripes(normal)),
            Material::Glass => {
                let through = self.refracted(point, normal, direction, bounces);
                through.mix(mirror(), coat)
            }
        }
    }

    /// The light through solid glass: bent on the way in and on the way out.
    fn refracted(&self, point: Vec3, normal: Vec3, direction: Vec3, bounces: u32) -> Vec3 {
        let inner = bend(direction, normal, 1.0 / 1.5);
        let length = -2.0 * inner.dot(point - self.centre);
        let exit = point + inner * length;
        let exit_normal = (exit - self.centre).normalized();
        let outer = bend(inner, -exit_normal, 1.5);
        let tint = vec3(0.9, 0.97, 0.95).map(|share| share.powf(length));
        light_along(exit + exit_normal * 1e-3, outer, bounces - 1) * tint
    }
}

/// Snell's law; a ray that can't leave grazes the surface.
fn bend(direction: Vec3, normal: Vec3, ratio: f32) -> Vec3 {
    let cosine = -direction.dot(normal);
    let squared = 1.0 - ratio * ratio * (1.0 - cosine * cosine);
    (direction * ratio + normal * (ratio * cosine - squared.max(0.0).sqrt())).normalized()
}

fn marble(normal: Vec3) -> Vec3 {
    let (x, y) = (
        2.2 * normal.x + 0.9 * normal.z,
        2.2 * normal.y - 0.7 * normal.z,
    );
    let warp = fbm(x * 1.7, y * 1.7, 6, 31);
    let vein = |seed, scale: f32| {
        let line = (fbm(x * scale + warp * 2.0, y * scale - warp * 2.0, 5, seed) - 0.5).abs();
        1.0 - smoothstep(0.0, 0.055, line)
    };
    let stone = srgb(0xf1ede4).mix(srgb(0xcfc8bd), warp);
    let stone = stone.mix(srgb(0x4e545c), 0.75 * vein(32, 0.9));
    stone.mix(srgb(0xa37b4e), 0.4 * vein(33, 1.9))
}

fn stripes(normal: Vec3) -> Vec3 {
    let tilted = vec3(0.45, 0.8, -0.4).normalized();
    let latitude = normal.dot(tilted);
    let band = smoothstep(-0.06, 0.06, (latitude * 9.0).sin());
    srgb(0xf4efe2).mix(srgb(0x14746f), band)
}
