//! Records out to images and to the latent files that trainers use, and in from these.
//!
//! Invariant: what is told to be done is whole under its name, or durable in the store; a record or a file that fails
//! stops no other; what waits is bounded, however many there are.

mod export;
mod images;
mod import;
mod sample;
mod shard;
mod source;

pub use images::ImageExport;
pub use shard::is_shard;
pub use source::has_latents;

use crate::error::Result;
use crate::record::Coding;

/// The most bytes of a latent file: several are held at once. 16 channels in f16 for an image of 32,000x32,000 pixels
/// take as many.
const MAX_FILE: u64 = 512 << 20;

/// What became of one record on its way out, or of one file on its way in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Exchanged {
    /// The record's id on its way out; the file, and in a tar the sample, on its way in.
    pub name: String,
    /// Whether it arrived.
    pub result: Result<()>,
    /// What was left out, as sentences for people.
    pub notes: Vec<String>,
}

/// How latent files come in: what is to be known of all of them where they don't say it.
#[derive(Debug, Clone, Default)]
pub struct LatentImport {
    /// The latent space: which decoders may read them.
    pub latent_space: Option<String>,
    /// Width and height of the image in pixels, for a single file.
    pub size: Option<(u32, u32)>,
    /// How many pixels a side of a latent's cell stands for, where no model of the latent space is known.
    pub compression_ratio: Option<u32>,
    /// Whether values are scaled for a diffusion model, which is undone with the factors of the latent space.
    pub scaled: bool,
    /// Whether records that are there are replaced; of two files with one id the later counts then.
    pub replace: bool,
    /// How they are kept.
    pub coding: Coding,
}
