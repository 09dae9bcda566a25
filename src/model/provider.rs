//! Which execution provider runs the models.
//!
//! Invariant: a provider asked for by name either runs the model or is an error with its reason;
//! only `auto` may fall back.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// An execution provider of ONNX Runtime, or the wish to have one chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Provider {
    /// CUDA where it works, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number.
    Cuda(u32),
}

impl FromStr for Provider {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            Error::invalid(format!(
                "`{}` is no execution provider: auto, cpu, cuda or cuda:N",
                text.escape_debug()
            ))
        };
        match text.split_once(':') {
            None if text == "auto" => Ok(Provider::Auto),
            None if text == "cpu" => Ok(Provider::Cpu),
            None if text == "cuda" => Ok(Provider::Cuda(0)),
            Some(("cuda", number)) => number.parse().map(Provider::Cuda).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Provider::Auto => f.write_str("auto"),
            Provider::Cpu => f.write_str("cpu"),
            Provider::Cuda(device) => write!(f, "cuda:{device}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_read_as_they_are_shown() {
        for text in ["auto", "cpu", "cuda:0", "cuda:7"] {
            assert_eq!(text.parse::<Provider>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse::<Provider>().unwrap(), Provider::Cuda(0));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cpu:0", "CUDA"] {
            assert!(text.parse::<Provider>().is_err(), "{text}");
        }
    }
}
