//! From an image as it was read to one that an encoder takes, and what is kept of where it came from.
//!
//! Invariant: what is done here to pixels is what `preparation` says.

use std::borrow::Cow;

use super::PutOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::exif::Exif;
use crate::image_io::{ReadImage, Resize};
use crate::pixels::Pixels;
use crate::record::{RecordHeader, Source};

/// An image as an encoder wants it, and what its record is to say.
pub(crate) struct Prepared {
    /// Without alpha, in the size that is kept.
    pub(crate) colors: Pixels,
    pub(super) alpha: Option<Vec<u8>>,
    /// The bytes of its file, where they may have to be kept.
    pub(super) file: Option<Vec<u8>>,
    pub(super) source: Option<Source>,
    pub(super) exif: Exif,
    pub(super) notes: Vec<String>,
}

impl Prepared {
    pub(super) fn of(pixels: Cow<'_, Pixels>, options: &PutOptions) -> Result<Self> {
        let pixels = match &options.resize {
            Some(resize) => Cow::Owned(resize.apply(&pixels)?),
            None => pixels,
        };
        Ok(Self {
            alpha: pixels.alpha().map(<[u8]>::to_vec),
            colors: match pixels {
                Cow::Owned(pixels) if pixels.alpha().is_none() => pixels,
                pixels => pixels.without_hidden_colors().into_owned(),
            },
            file: None,
            source: None,
            exif: Exif::default(),
            notes: Vec::new(),
        })
    }

    /// Bytes of the pixels, and of the file.
    pub(crate) fn byte_len(&self) -> usize {
        let beside = [&self.alpha, &self.file].into_iter().flatten();
        self.colors.as_rgb().len() + beside.map(Vec::len).sum::<usize>()
    }

    /// What is kept of the image that was read from `source`, whose bytes are `file`.
    pub(crate) fn of_file(
        image: ReadImage,
        (source, file): (Option<Source>, Option<Vec<u8>>),
        options: &PutOptions,
    ) -> Result<Self> {
        let format = image.format.to_string();
        let mut exif = image.exif;
        if !options.keep_position {
            exif.position = None;
        }
        Ok(Self {
            source: source.map(|source| Source { format, ..source }),
            file: file.filter(|_| options.promise.may_keep()),
            exif,
            notes: image.notes.iter().map(ToString::to_string).collect(),
            ..Self::of(Cow::Owned(image.pixels), options)?
        })
    }
}

/// What a record keeps of the file an image came from; its format isn't looked at.
pub fn source_of(bytes: &[u8], name: &str) -> Source {
    Source {
        name: name.to_owned(),
        format: String::new(),
        bytes: bytes.len() as u64,
        blake3: *blake3::hash(bytes).as_bytes(),
    }
}

/// What is done to images before they are encoded, as records say it.
pub(crate) fn preparation(options: &PutOptions) -> String {
    let Some(resize) = &options.resize else {
        return String::new();
    };
    let crop = if resize.center_crop {
        " center-crop"
    } else {
        ""
    };
    format!("resize={}x{}{crop}", resize.width, resize.height)
}

/// What was done to the image of a record before it was encoded.
///
/// # Errors
/// `UnsupportedVersion` if this version doesn't know how to do it.
pub(crate) fn prepared_as(header: &RecordHeader) -> Result<Option<Resize>> {
    if header.preparation.is_empty() {
        return Ok(None);
    }
    let resize = parse_preparation(&header.preparation);
    resize.map(Some).ok_or_else(|| {
        Error::new(
            ErrorKind::UnsupportedVersion,
            format!(
                "`{}` was prepared as `{}`, which this version doesn't know",
                header.id, header.preparation
            ),
        )
    })
}

/// The image of the file that a record was made of, as it was before it was encoded. `what` names the file.
///
/// # Errors
/// `InvalidInput` if the image then hasn't the size that the record says; as [`prepared_as`].
pub(crate) fn original_of(header: &RecordHeader, image: Pixels, what: &str) -> Result<Pixels> {
    let pixels = match prepared_as(header)? {
        Some(resize) => resize.apply(&image)?,
        None => image,
    };
    if (pixels.width(), pixels.height()) == (header.width, header.height) {
        return Ok(pixels);
    }
    Err(Error::invalid(format!(
        "{what} is an image of {}x{} pixels, and the record `{}` says {}x{}",
        pixels.width(),
        pixels.height(),
        header.id,
        header.width,
        header.height
    )))
}

/// What [`preparation`] said; `None` if it can't have said that.
fn parse_preparation(text: &str) -> Option<Resize> {
    let (size, center_crop) = match text.strip_suffix(" center-crop") {
        Some(size) => (size, true),
        None => (text, false),
    };
    let (width, height) = size.strip_prefix("resize=")?.split_once('x')?;
    Some(Resize {
        width: width.parse().ok()?,
        height: height.parse().ok()?,
        center_crop,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_preparation_is_understood_again() {
        for center_crop in [false, true] {
            let resize = Resize {
                width: 640,
                height: 9,
                center_crop,
            };
            let options = PutOptions {
                resize: Some(resize),
                ..PutOptions::default()
            };
            assert_eq!(parse_preparation(&preparation(&options)), Some(resize));
        }
        for unknown in ["", "resize=640", "resize=640x9 blur", "crop=1x1"] {
            assert_eq!(parse_preparation(unknown), None);
        }
    }
}
