//! The demo's own pictures: four scenes, rendered from formulas.
//!
//! Invariant: nothing is loaded; what the model sees here it has not seen in training.

#![expect(
    clippy::unreadable_literal,
    reason = "colours are written as everywhere: 0xRRGGBB"
)]

mod flowers;
mod mountains;
mod poster;
mod render;
mod spheres;
mod strokes;

/// A picture to be rendered.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) size: (u32, u32),
    /// RGB bytes of a picture of this size.
    pub(crate) picture: fn((u32, u32)) -> Vec<u8>,
}

pub(crate) const SCENES: [Scene; 4] = [
    Scene {
        name: "spheres",
        size: (768, 512),
        picture: spheres::picture,
    },
    Scene {
        name: "mountains",
        size: (768, 512),
        picture: mountains::picture,
    },
    Scene {
        name: "flowers",
        size: (768, 512),
        picture: flowers::picture,
    },
    Scene {
        name: "poster",
        size: (512, 512),
        picture: poster::picture,
    },
];
