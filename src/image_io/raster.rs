//! What a decoder gives: samples as the file holds them, and what the file says of their meaning.
//!
//! Invariant: `samples` are `width * height` times the number of channels, and neither side is zero.

/// An image before its colours are converted and its orientation applied.
#[derive(Debug)]
pub(super) struct Raster {
    /// In pixels, as stored.
    pub(super) width: u32,
    /// In pixels, as stored.
    pub(super) height: u32,
    pub(super) samples: Samples,
    pub(super) channels: Channels,
    pub(super) colors: Colors,
    /// What EXIF calls orientation, 1 to 8; 1 where the file says none.
    pub(super) orientation: u8,
    /// EXIF from its TIFF header on.
    pub(super) exif: Option<Vec<u8>>,
    /// Whether the file has frames or pages after this one.
    pub(super) more_frames: bool,
}

/// Interleaved samples, rows from the top. Integers use their whole range; a float of 1 is full.
#[derive(Debug)]
pub(super) enum Samples {
    U8(Vec<u8>),
    U16(Vec<u16>),
    F32(Vec<f32>),
}

/// What the samples of a pixel are. Alpha is straight. Inks count from none (0) to full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
    Cmyk,
}

impl Channels {
    /// Samples a pixel, with alpha.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba | Self::Cmyk => 4,
        }
    }

    pub(super) fn has_alpha(self) -> bool {
        matches!(self, Self::GreyAlpha | Self::Rgba)
    }
}

/// The colours that samples stand for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Colors {
    /// sRGB, or not said.
    Srgb,
    /// Light itself, with the primaries of sRGB.
    Linear,
    /// What an ICC profile says.
    Profile(Vec<u8>),
    /// Code points of ITU-T H.273.
    Cicp { primaries: u8, transfer: u8 },
    /// A power of the samples, where one is said, and primaries: those of sRGB where none are said.
    Gamma {
        exponent: Option<f32>,
        primaries: Option<Primaries>,
    },
}

/// The chromaticities x, y (CIE 1931) of white and of the three primaries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Primaries {
    pub(super) white: (f32, f32),
    pub(super) red: (f32, f32),
    pub(super) green: (f32, f32),
    pub(super) blue: (f32, f32),
}
