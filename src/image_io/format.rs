//! The image formats: their names, how they are recognised, and the longest side each can hold.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use image::ImageFormat as Codec;

use crate::error::{Error, Result};

/// A format that images are read from and written to.
///
/// Parsed from and printed as its lower-case name: `png`, `jpeg` (or `jpg`), `webp`, `gif`, `bmp`, `tiff`
/// (or `tif`), `qoi`, `pnm` (or `ppm`, `pgm`), `tga`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageFormat {
    /// Portable Network Graphics. Lossless.
    Png,
    /// JPEG. Written at quality 90 without chroma subsampling.
    Jpeg,
    /// WebP. Written losslessly.
    WebP,
    /// GIF. Written with a palette of at most 256 colours.
    Gif,
    /// Windows bitmap. Lossless, not compressed.
    Bmp,
    /// TIFF. Written losslessly, not compressed.
    Tiff,
    /// The Quite OK Image format. Lossless.
    Qoi,
    /// Netpbm. Written as a binary PPM, whatever the file's ending.
    Pnm,
    /// Truevision TGA. Lossless.
    Tga,
}

/// Every name that is understood; of several for one format the first is the one printed.
const NAMES: &[(&str, ImageFormat)] = &[
    ("png", ImageFormat::Png),
    ("jpeg", ImageFormat::Jpeg),
    ("jpg", ImageFormat::Jpeg),
    ("webp", ImageFormat::WebP),
    ("gif", ImageFormat::Gif),
    ("bmp", ImageFormat::Bmp),
    ("tiff", ImageFormat::Tiff),
    ("tif", ImageFormat::Tiff),
    ("qoi", ImageFormat::Qoi),
    ("pnm", ImageFormat::Pnm),
    ("ppm", ImageFormat::Pnm),
    ("pgm", ImageFormat::Pnm),
    ("tga", ImageFormat::Tga),
];

impl ImageFormat {
    /// The format that a file's ending names, in lower or upper case.
    ///
    /// # Errors
    /// `InvalidInput` if there is no ending or it is unknown; the message lists the known ones.
    pub fn from_path(path: &Path) -> Result<Self> {
        let known = known_names();
        let Some(ending) = path.extension() else {
            return Err(Error::invalid(format!(
                "{} has no ending that names an image format: known are {known}",
                path.display()
            )));
        };
        named(&ending.to_string_lossy()).ok_or_else(|| {
            Error::invalid(format!(
                "the ending `{}` of {} names no image format: known are {known}",
                ending.display(),
                path.display()
            ))
        })
    }

    /// The media type, as in HTTP's `Content-Type`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
            Self::Qoi => "image/qoi",
            Self::Pnm => "image/x-portable-anymap",
            Self::Tga => "image/x-tga",
        }
    }

    /// The format of these bytes. The name decides only where no content does: a TGA has no magic.
    pub(super) fn sniff(bytes: &[u8], name: &str) -> Option<Self> {
        // `image` doesn't know the header of BigTIFF.
        if bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+") {
            return Some(Self::Tiff);
        }
        let found = image::guess_format(bytes).ok();
        let by_content = NAMES.iter().map(|&(_, format)| format);
        found
            .and_then(|codec| by_content.into_iter().find(|f| f.codec() == codec))
            .or_else(|| {
                let ending = Path::new(name).extension()?.to_string_lossy();
                named(&ending).filter(|&format| format == Self::Tga)
            })
    }

    pub(super) fn codec(self) -> Codec {
        match self {
            Self::Png => Codec::Png,
            Self::Jpeg => Codec::Jpeg,
            Self::WebP => Codec::WebP,
            Self::Gif => Codec::Gif,
            Self::Bmp => Codec::Bmp,
            Self::Tiff => Codec::Tiff,
            Self::Qoi => Codec::Qoi,
            Self::Pnm => Codec::Pnm,
            Self::Tga => Codec::Tga,
        }
    }

    /// The longest side, in pixels: what the header has bits for, but in a WebP the 16383 of libwebp.
    pub(super) fn max_side(self) -> u32 {
        match self {
            Self::WebP => 0x3fff,
            Self::Jpeg | Self::Gif | Self::Tga => 0xffff,
            Self::Png | Self::Bmp => 0x7fff_ffff,
            Self::Tiff | Self::Qoi | Self::Pnm => u32::MAX,
        }
    }
}

/// The names as a list for messages.
pub(super) fn known_names() -> String {
    let names: Vec<_> = NAMES.iter().map(|&(name, _)| name).collect();
    names.join(", ")
}

fn named(name: &str) -> Option<ImageFormat> {
    let found = NAMES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|&(_, format)| format)
}

impl FromStr for ImageFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        named(name).ok_or_else(|| {
            Error::invalid(format!(
                "`{name}` is no image format: known are {}",
                known_names()
            ))
        })
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = NAMES
            .iter()
            .find(|(_, format)| format == self)
            .expect("NAMES has every format; a test sees to it");
        f.pad(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_name_is_understood_and_printed_as_the_first_of_its_format() {
        let printed = NAMES.iter().map(|(name, format)| {
            assert_eq!(name.parse::<ImageFormat>().unwrap(), *format);
            format.to_string()
        });
        let printed: Vec<_> = printed.collect();
        assert_eq!(
            printed.join(" "),
            "png jpeg jpeg webp gif bmp tiff tiff qoi pnm pnm pnm tga"
        );
    }

    #[test]
    fn endings_are_understood_in_any_case() {
        let format = ImageFormat::from_path(Path::new("a.b/photo.v2.JPG")).unwrap();
        assert_eq!(format, ImageFormat::Jpeg);
    }

    #[test]
    fn an_unknown_ending_is_refused_with_the_known_ones() {
        for path in ["photo.heic", "photo", ".png"] {
            let error = ImageFormat::from_path(Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(path), "{error}");
            assert!(error.to_string().contains("png, jpeg, jpg"), "{error}");
        }
    }
}
