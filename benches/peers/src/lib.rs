//! What the measurements of this package share: data, engines, child processes, tables.
//!
//! Each program measures in child processes of its own, so that memory is that of one thing alone. Linux only:
//! memory and processor time are read from `/proc/self`.

pub mod data;
pub mod engines;
pub mod latents;
pub mod photos;
pub mod process;
pub mod table;
pub mod workload;

/// Any error: a measurement that can't go on is over.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
