//! ONNX files: the graphs that are written here, and a look into those of others.
//!
//! Invariant: only this module knows the file format.

mod attention;
mod builder;
mod layers;
pub(super) mod proto;
mod upsample;

pub(super) use builder::{Builder, Value, Written};
pub(super) use layers::{CHECK, Conv, LATENT, PIXELS};
#[cfg(test)]
pub(super) use layers::{IMAGE, MEAN};
