//! ONNX files: the graphs that are written here, and a look into those of others.
//!
//! Invariant: only this module knows the file format.

mod attention;
mod builder;
pub(super) mod data;
mod extent;
pub(super) mod foreign;
mod layers;
mod norm;
pub(super) mod proto;
mod unet;
mod upsample;
mod wire;

pub(super) use builder::{Builder, Form, Value, Written};
pub(super) use layers::{CHECK, Conv, LATENT, NORMS, NORMS_USED, OWN_NORMS, PIXELS};
#[cfg(test)]
pub(super) use layers::{IMAGE, MEAN};
pub(super) use unet::{NOISY, OUTPUT, TIMESTEP, Time};

/// A name out of somebody's file, as it can stand in a message.
pub(super) fn shown(name: &str) -> String {
    const MOST: usize = 80;
    let start: String = name.chars().take(MOST).collect();
    let more = if start.len() < name.len() { "..." } else { "" };
    format!("`{}{more}`", start.escape_debug())
}
