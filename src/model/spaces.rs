//! The latent spaces that people's models use, and the factors of each.
//!
//! Invariant: stored latents are unscaled; `scaled = (stored - shift) * scaling`. The factors are
//! those of `scaling_factor` and `shift_factor` in the VAE configurations that diffusers publishes
//! for these models.

/// Name, channels, scaling factor, shift factor.
const KNOWN: [(&str, u32, f64, f64); 5] = [
    ("sd-v1", 4, 0.18215, 0.0),
    ("sdxl", 4, 0.13025, 0.0),
    ("sd3", 16, 1.5305, 0.0609),
    ("flux1", 16, 0.3611, 0.1159),
    ("flux2", 32, 1.0, 0.0),
];

/// Scaling and shift factor of a latent space that is widely known.
pub(super) fn factors(space: &str) -> Option<(f64, f64)> {
    let known = KNOWN.iter().find(|(name, ..)| *name == space);
    known.map(|&(_, _, scaling, shift)| (scaling, shift))
}

/// Channels of a latent space that is widely known.
pub(super) fn channels(space: &str) -> Option<u32> {
    let known = KNOWN.iter().find(|(name, ..)| *name == space);
    known.map(|&(_, channels, ..)| channels)
}
