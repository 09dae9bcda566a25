//! The floating-point type that models compute in.
//!
//! Invariant: f16 is only used where its overflow is noticed.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The floating-point type that a model computes in. Latents are kept in f16 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits: half the memory, and several times the speed on GPUs. Where values overflow, the
    /// work is done again in f32.
    F16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Precision::F32),
            "f16" => Ok(Precision::F16),
            _ => Err(Error::invalid(format!(
                "`{}` is no precision: f32 or f16",
                text.escape_debug()
            ))),
        }
    }
}
