//! The latent spaces that people's models use, and the factors of each.
//!
//! Invariant: stored latents are unscaled; `scaled = (stored - shift) * scaling`. The factors are
//! those of `scaling_factor` and `shift_factor` in the VAE configurations that diffusers publishes
//! for these models.

/// A latent space that is widely known.
#[derive(Debug, PartialEq)]
pub(crate) struct Space {
    pub(crate) name: &'static str,
    pub(crate) channels: u32,
    /// `scaling_factor`, `shift_factor`.
    pub(crate) factors: (f64, f64),
    /// Whose latents these are, for people.
    pub(crate) about: &'static str,
}

/// The compression ratio of all of them.
pub(crate) const RATIO: u64 = 8;

const fn space(
    name: &'static str,
    channels: u32,
    factors: (f64, f64),
    about: &'static str,
) -> Space {
    Space {
        name,
        channels,
        factors,
        about,
    }
}

pub(crate) const KNOWN: [Space; 5] = [
    space(
        "sd-v1",
        4,
        (0.18215, 0.0),
        "Stable Diffusion 1 and 2, TAESD",
    ),
    space("sdxl", 4, (0.13025, 0.0), "Stable Diffusion XL, TAESDXL"),
    space("sd3", 16, (1.5305, 0.0609), "Stable Diffusion 3, TAESD3"),
    space("flux1", 16, (0.3611, 0.1159), "FLUX.1, TAEF1"),
    space("flux2", 32, (1.0, 0.0), "TAEF2, in its own units"),
];

/// The latent space of this name, if it is widely known.
pub(crate) fn known(name: &str) -> Option<&'static Space> {
    KNOWN.iter().find(|space| space.name == name)
}
