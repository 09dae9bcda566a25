//! The image formats: their names, how they are recognised, and the longest side each can hold.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use image::ImageFormat as Codec;

use crate::error::{Error, Result};

/// A format that images are read from and written to.
///
/// Parsed from and printed as its lower-case name: `png`, `jpeg` (or `jpg`, `jfif`), `webp`, `avif`, `gif`, `bmp`, `tiff`
/// (or `tif`), `qoi`, `pnm` (or `ppm`, `pgm`, `pbm`, `pam`), `tga`, `hdr`. All but `hdr` can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageFormat {
    /// Portable Network Graphics. Lossless.
    Png,
    /// JPEG. Written without chroma subsampling.
    Jpeg,
    /// WebP. Written losslessly unless a quality is asked for.
    WebP,
    /// AVIF. Written in 10 bits without chroma subsampling.
    Avif,
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
    /// Radiance HDR. Read, not written.
    Hdr,
}

/// Every name that is understood; of several for one format the first is the one printed.
const NAMES: &[(&str, ImageFormat)] = &[
    ("png", ImageFormat::Png),
    ("jpeg", ImageFormat::Jpeg),
    ("jpg", ImageFormat::Jpeg),
    ("jfif", ImageFormat::Jpeg),
    ("webp", ImageFormat::WebP),
    ("avif", ImageFormat::Avif),
    ("gif", ImageFormat::Gif),
    ("bmp", ImageFormat::Bmp),
    ("tiff", ImageFormat::Tiff),
    ("tif", ImageFormat::Tiff),
    ("qoi", ImageFormat::Qoi),
    ("pnm", ImageFormat::Pnm),
    ("ppm", ImageFormat::Pnm),
    ("pgm", ImageFormat::Pnm),
    ("pbm", ImageFormat::Pnm),
    ("pam", ImageFormat::Pnm),
    ("tga", ImageFormat::Tga),
    ("hdr", ImageFormat::Hdr),
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
            Self::Avif => "image/avif",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
            Self::Qoi => "image/qoi",
            Self::Pnm => "image/x-portable-anymap",
            Self::Tga => "image/x-tga",
            Self::Hdr => "image/vnd.radiance",
        }
    }

    /// The ending of its files, with the dot: `.jpg` for JPEG, `.ppm` for PNM, otherwise the format's name.
    pub fn ending(self) -> String {
        match self {
            Self::Jpeg => ".jpg".to_owned(),
            Self::Pnm => ".ppm".to_owned(),
            other => format!(".{other}"),
        }
    }

    /// The format of these bytes. The name decides only where no content does: a TGA has no magic.
    pub(super) fn sniff(bytes: &[u8], name: &str) -> Option<Self> {
        // `image` doesn't know the header of BigTIFF.
        if bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+") {
            return Some(Self::Tiff);
        }
        if Self::is_avif(bytes) {
            return Some(Self::Avif);
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

    /// Whether the file type box names AVIF among its brands (ISO/IEC 14496-12, section 4.3).
    pub(super) fn is_avif(bytes: &[u8]) -> bool {
        let Some((&[length, kind], rest)) = bytes.as_chunks::<4>().0.split_first_chunk() else {
            return false;
        };
        let brands = (u32::from_be_bytes(length) as usize / 4).saturating_sub(2);
        let is_avif = |brand: &[u8; 4]| brand == b"avif" || brand == b"avis";
        &kind == b"ftyp" && rest.iter().take(brands).any(is_avif)
    }

    pub(super) fn codec(self) -> Codec {
        match self {
            Self::Png => Codec::Png,
            Self::Jpeg => Codec::Jpeg,
            Self::WebP => Codec::WebP,
            Self::Avif => Codec::Avif,
            Self::Gif => Codec::Gif,
            Self::Bmp => Codec::Bmp,
            Self::Tiff => Codec::Tiff,
            Self::Qoi => Codec::Qoi,
            Self::Pnm => Codec::Pnm,
            Self::Tga => Codec::Tga,
            Self::Hdr => Codec::Hdr,
        }
    }

    /// The longest side, in pixels: what the header has bits for, but in a WebP the 16383 of libwebp.
    pub(super) fn max_side(self) -> u32 {
        match self {
            Self::WebP => 0x3fff,
            Self::Jpeg | Self::Avif | Self::Gif | Self::Tga => 0xffff,
            Self::Png | Self::Bmp => 0x7fff_ffff,
            Self::Tiff | Self::Qoi | Self::Pnm | Self::Hdr => u32::MAX,
        }
    }

    /// Whether it can be written.
    pub(super) fn is_written(self) -> bool {
        self != Self::Hdr
    }

    /// Whether it is written at a quality of choice.
    pub(super) fn has_quality(self) -> bool {
        matches!(self, Self::Jpeg | Self::WebP | Self::Avif)
    }

    /// Whether transparency is written. GIF knows all or nothing only.
    pub(super) fn has_alpha(self) -> bool {
        match self {
            Self::Png
            | Self::WebP
            | Self::Avif
            | Self::Bmp
            | Self::Tiff
            | Self::Qoi
            | Self::Tga => true,
            Self::Jpeg | Self::Gif | Self::Pnm | Self::Hdr => false,
        }
    }
}

/// The names as a list for messages.
pub(super) fn known_names() -> String {
    names_of(|_| true)
}

/// The names of some formats as a list for messages.
pub(super) fn names_of(wanted: impl Fn(ImageFormat) -> bool) -> String {
    let names = NAMES.iter().filter(|&&(_, format)| wanted(format));
    let names: Vec<_> = names.map(|&(name, _)| name).collect();
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
            "png jpeg jpeg jpeg webp avif gif bmp tiff tiff qoi pnm pnm pnm pnm pnm tga hdr"
        );
    }

    #[test]
    fn the_ending_of_a_format_names_it() {
        for &(_, format) in NAMES {
            let path = format!("a{}", format.ending());
            assert_eq!(ImageFormat::from_path(Path::new(&path)).unwrap(), format);
        }
    }

    #[test]
    fn endings_are_understood_in_any_case() {
        let format = ImageFormat::from_path(Path::new("a.b/photo.v2.JPG")).unwrap();
        assert_eq!(format, ImageFormat::Jpeg);
    }

    #[test]
    fn avif_is_told_by_any_of_its_brands() {
        for (start, found) in [
            (&b"\0\0\0\x10ftypavif\0\0\0\0"[..], true),
            (b"\0\0\0\x18ftypmif1\0\0\0\0miafavif", true),
            (b"\0\0\0\x14ftypavis\0\0\0\0", true),
            (b"\0\0\0\x14ftypmif1\0\0\0\0miafavif", false),
            (b"\0\0\0\x18ftypmif1\0\0\0\0miafheic", false),
            (b"\0\0\0\x10freeavif\0\0\0\0", false),
        ] {
            let format = ImageFormat::sniff(start, "a");
            assert_eq!(format == Some(ImageFormat::Avif), found, "{start:?}");
        }
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
