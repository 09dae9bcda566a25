//! Why a file isn't read: the limits that it is held to, and the errors that name it.
//!
//! Invariant: what a header declares passes `check_size` before memory is taken for pixels.

use super::ImageFormat;
use crate::error::{Error, ErrorKind, Result};

/// How much a file may ask for. Its header is checked against both numbers before its pixels are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width times height, in pixels. 2^28 (16384 x 16384) unless told.
    pub max_pixels: u64,
    /// Bytes of the image as its file holds it (up to 16 a pixel), and once more for the decoder's own
    /// buffers. 4 GiB unless told.
    pub max_alloc_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 1 << 28,
            max_alloc_bytes: 4 << 30,
        }
    }
}

/// A file that is being read, and what its errors say of it.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) bytes: &'a [u8],
    /// For messages.
    pub(super) name: &'a str,
    pub(super) format: ImageFormat,
    pub(super) limits: &'a Limits,
}

impl Source<'_> {
    /// An error unless an image of this size, with so many bytes a pixel in memory, may be decoded.
    pub(super) fn check_size(&self, width: u32, height: u32, bytes_per_pixel: u64) -> Result<()> {
        let (name, limits) = (self.name, self.limits);
        let pixels = u64::from(width) * u64::from(height);
        let bytes = pixels.saturating_mul(bytes_per_pixel);
        let too_large = |message| Err(Error::new(ErrorKind::LimitExceeded, message));
        if pixels == 0 {
            return Err(unsupported(format!(
                "{name} is an image of {width}x{height} pixels"
            )));
        }
        if pixels > limits.max_pixels {
            return too_large(format!(
                "{name} is {width}x{height} = {pixels} pixels, more than the limit of {}",
                limits.max_pixels
            ));
        }
        if bytes > limits.max_alloc_bytes {
            return too_large(format!(
                "{name} is {width}x{height} pixels = {bytes} bytes, more than the limit of {}",
                limits.max_alloc_bytes
            ));
        }
        Ok(())
    }

    /// The most memory that a decoder may take for its own buffers.
    pub(super) fn max_alloc(&self) -> usize {
        usize::try_from(self.limits.max_alloc_bytes).unwrap_or(usize::MAX)
    }

    pub(super) fn damaged(&self) -> Error {
        let (name, format) = (self.name, self.format_name());
        unsupported(format!(
            "{name}: the {format} data ends early or is damaged"
        ))
    }

    pub(super) fn of_unknown_kind(&self) -> Error {
        let (name, format) = (self.name, self.format_name());
        unsupported(format!("{name}: {format} of this kind can't be read"))
    }

    pub(super) fn takes_too_much(&self) -> Error {
        Error::new(
            ErrorKind::LimitExceeded,
            format!(
                "{}: decoding takes more than the limit of {} bytes",
                self.name, self.limits.max_alloc_bytes
            ),
        )
    }

    fn format_name(&self) -> String {
        self.format.to_string().to_uppercase()
    }
}

pub(super) fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::UnsupportedImage, message)
}
