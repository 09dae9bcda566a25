//! Latent files: [`Latent`] to and from safetensors, npy and npz, and what a file says of it beside its values.
//!
//! Invariant: any bytes are a latent or an error, and reading takes no more memory than a few times the bytes, or a few
//! times 256 MiB where they are compressed.

mod npy;
mod npz;
mod safetensors;

use std::path::Path;
use std::str::FromStr;

use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::latent::{Latent, LatentShape};

/// A format of latent files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LatentFormat {
    /// Hugging Face's safetensors: a tensor `latent`, F16, `[channels, height, width]`, where the image has alpha a
    /// tensor `alpha`, U8, `[image height, image width]`, and the metadata `latent_space`, `encoder`, `width` and
    /// `height`, each where known.
    Safetensors,
    /// `NumPy`'s npy, version 1.0: `<f2`, C order, `(channels, height, width)`. It holds the values alone.
    Npy,
    /// What kohya's sd-scripts keep of an image: a zip of npy files, uncompressed. With `h` and `w` the height and the
    /// width of the latent: `latents_{h}x{w}`, `<f4`, `(channels, h, w)`; `original_size_{h}x{w}`, the width and the
    /// height of the image; `crop_ltrb_{h}x{w}`, which part of the latent, in pixels, the image is: left, top, right,
    /// bottom; where the image has alpha `alpha_mask_{h}x{w}`, `<f4`, 0 to 1, `(image height, image width)`. For
    /// `sd-v1` and `sdxl`, whose trainers look for keys without `_{h}x{w}`, all is there under these too. Values of
    /// `flux1` are scaled, as that trainer keeps them.
    Npz,
}

/// Names of the formats, which are their files' endings too.
const FORMATS: [(&str, LatentFormat); 3] = [
    ("safetensors", LatentFormat::Safetensors),
    ("npy", LatentFormat::Npy),
    ("npz", LatentFormat::Npz),
];
const KNOWN: &str = "known are safetensors, npy, npz";

impl LatentFormat {
    /// The format that a file's ending names, in lower or upper case: `.safetensors`, `.npy` or `.npz`.
    ///
    /// # Errors
    /// `InvalidInput` for any other ending.
    pub fn from_path(path: &Path) -> Result<Self> {
        let ending = path.extension().unwrap_or_default();
        ending.to_string_lossy().parse().map_err(|_| {
            Error::invalid(format!(
                "the ending of {} names no latent format: {KNOWN}",
                path.display()
            ))
        })
    }

    /// The format's name, which is its files' ending.
    pub fn name(self) -> &'static str {
        let mut formats = FORMATS.into_iter();
        let format = formats.find(|(_, format)| *format == self);
        format.map_or("", |(name, _)| name)
    }
}

impl FromStr for LatentFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let mut formats = FORMATS.into_iter();
        let format = formats.find(|(known, _)| known.eq_ignore_ascii_case(name));
        format.map(|(_, format)| format).ok_or_else(|| {
            let name = name.escape_debug();
            Error::invalid(format!("`{name}` is no latent format: {KNOWN}"))
        })
    }
}

/// A latent, and what its file says of it. Values are **unscaled** in files that this crate writes, but for npz files of
/// `flux1`; what others wrote may be scaled, which no file says.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentFile {
    /// The values.
    pub latent: Latent,
    /// The latent space: which decoders may read it.
    pub latent_space: Option<String>,
    /// The encoder that made it.
    pub encoder: Option<String>,
    /// Width and height of the original image, in pixels; each at least 1.
    pub size: Option<(u32, u32)>,
    /// The alpha of the image, a byte a pixel, rows from the top. It takes a size to be kept.
    pub alpha: Option<Vec<u8>>,
}

/// `scaling_factor` and `shift_factor`.
pub(crate) type Factors = (f64, f64);

/// The factors by which values are scaled in a file of this format that says this latent space; `None` if they aren't.
pub(crate) type FactorsOf<'a> = dyn Fn(LatentFormat, Option<&str>) -> Result<Option<Factors>> + 'a;

/// Reads a latent file. Which format it has is found in the content; `name` is for messages.
///
/// Values are f16 or f32, in safetensors also bf16, of shape `[channels, height, width]` or
/// `[1, channels, height, width]`, and are rounded to f16. A safetensors file holds one tensor, of any name, and none
/// or one beside it that is called `alpha`. Of several latents in an npz file it is the largest.
///
/// Values are what stands in the file, scaled or not.
///
/// # Errors
/// `InvalidInput` if the bytes are no such file, or a value is not finite or too large for f16; the sources say
/// where.
pub fn read_latent(bytes: &[u8], name: &str) -> Result<LatentFile> {
    read_unscaled(bytes, name, &|_, _| Ok(None)).map(|(file, _)| file)
}

/// As [`read_latent`], of values that are scaled by `factors`, which is undone before they are rounded. Notes for people
/// say what of the file is left out.
pub(crate) fn read_unscaled(
    bytes: &[u8],
    name: &str,
    factors: &FactorsOf<'_>,
) -> Result<(LatentFile, Vec<String>)> {
    let read = if bytes.starts_with(npy::MAGIC) {
        npy::read(bytes, factors).map(|file| (file, Vec::new()))
    } else if bytes.starts_with(npz::MAGIC) {
        npz::read(bytes, factors)
    } else {
        safetensors::read(bytes, factors).map(|file| (file, Vec::new()))
    };
    read.map_err(|error| {
        let failure = Error::invalid(format!("{name} can't be read as a latent"));
        match error.hint().map(str::to_owned) {
            Some(hint) => failure.with_source(error).with_hint(hint),
            None => failure.with_source(error),
        }
    })
}

/// Whether sd-scripts keep latents of this latent space scaled: their FLUX autoencoder does it itself.
pub(crate) fn is_scaled_in_npz(latent_space: &str) -> bool {
    npz::scaling(latent_space).is_some()
}

/// The bytes of a latent file; the same latent always gives the same bytes. An npy file keeps the values alone.
///
/// # Errors
/// `InvalidInput` if the size has no pixels.
pub fn write_latent(file: &LatentFile, format: LatentFormat) -> Result<Vec<u8>> {
    if let Some((width, height)) = file.size {
        check_size(width, height)?;
    }
    if let Some(alpha) = &file.alpha {
        check_alpha(file.size, alpha.len())?;
    }
    Ok(match format {
        LatentFormat::Safetensors => safetensors::write(file),
        LatentFormat::Npy => npy::write(&file.latent),
        LatentFormat::Npz => npz::write(file)?,
    })
}

fn check_size(width: u32, height: u32) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::invalid(format!(
            "the image of a latent can't be {width}x{height} pixels"
        )));
    }
    Ok(())
}

/// Refuses alpha that isn't that of an image of `size`.
fn check_alpha(size: Option<(u32, u32)>, bytes: usize) -> Result<()> {
    let (width, height) =
        size.ok_or_else(|| Error::invalid("alpha needs the size of its image"))?;
    if u64::from(width) * u64::from(height) == bytes as u64 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the alpha of {width}x{height} pixels can't be made of {bytes} bytes"
    )))
}

/// How values lie in a file: always little-endian.
#[derive(Clone, Copy)]
enum Element {
    F16,
    Bf16,
    F32,
}

impl Element {
    fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }
}

/// The latent of `shape` whose values lie in `data`, scaled by `factors`.
fn parse(
    shape: &[usize],
    element: Element,
    data: &[u8],
    factors: Option<Factors>,
) -> Result<Latent> {
    let shape = latent_shape(shape)?;
    let wanted = shape.values()? * element.size();
    if data.len() != wanted {
        return Err(Error::invalid(format!(
            "a latent of shape {shape} takes {wanted} bytes, the file has {}",
            data.len()
        )));
    }
    let two = data.as_chunks::<2>().0.iter();
    let four = data.as_chunks::<4>().0.iter();
    let half = |bytes: &[u8; 2]| f16::from_le_bytes(*bytes);
    let values = match (element, factors) {
        (Element::F16, None) => two.map(half).collect(),
        (Element::F16, _) => rounded(two.map(|b| half(b).to_f32()), factors)?,
        (Element::Bf16, _) => rounded(two.map(|b| bf16::from_le_bytes(*b).to_f32()), factors)?,
        (Element::F32, _) => rounded(four.map(|b| f32::from_le_bytes(*b)), factors)?,
    };
    Latent::new(shape, values)
}

fn latent_shape(shape: &[usize]) -> Result<LatentShape> {
    let wrong = || {
        Error::invalid(format!(
            "the shape {shape:?} is not [channels, height, width], nor that after a 1"
        ))
    };
    let ([channels, height, width] | [1, channels, height, width]) = *shape else {
        return Err(wrong());
    };
    let dimension = |n: usize| u32::try_from(n).map_err(|_| wrong());
    Ok(LatentShape {
        channels: dimension(channels)?,
        height: dimension(height)?,
        width: dimension(width)?,
    })
}

/// The nearest f16 of each value, which is `value / scaling + shift` where it is scaled; what is not finite stays so, for
/// [`Latent::new`] to refuse.
fn rounded(values: impl Iterator<Item = f32>, factors: Option<Factors>) -> Result<Vec<f16>> {
    let round = |(at, value): (usize, f32)| {
        let rounded = match factors {
            // What a shift takes from a value and gives back may leave a zero of either sign: adding one makes it plain.
            Some((scaling, shift)) => f16::from_f64(f64::from(value) / scaling + shift) + f16::ZERO,
            None => f16::from_f32(value),
        };
        if value.is_finite() && !rounded.is_finite() {
            return Err(Error::invalid(format!(
                "value {at} is {value}: f16 ends at {}",
                f16::MAX
            )));
        }
        Ok(rounded)
    };
    values.enumerate().map(round).collect()
}

/// The values as they lie in safetensors and npy.
fn le_bytes(latent: &Latent) -> impl Iterator<Item = u8> {
    latent
        .as_slice()
        .iter()
        .flat_map(|value| value.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;
    use std::error::Error as _;

    /// 2 channels of 2x3: 0, 0.25, 0.5 and so on.
    pub(super) fn file() -> LatentFile {
        let shape = LatentShape {
            channels: 2,
            height: 2,
            width: 3,
        };
        let values = (0..12u8).map(|i| f16::from(i) / f16::from(4u8)).collect();
        LatentFile {
            latent: Latent::new(shape, values).unwrap(),
            latent_space: Some("sd-v1".into()),
            encoder: Some("tiny".into()),
            size: Some((23, 16)),
            alpha: Some((0..23 * 16).map(|at| at as u8).collect()),
        }
    }

    /// The message that says why.
    pub(super) fn refusal(bytes: &[u8]) -> String {
        let error = read_latent(bytes, "a file").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "a file can't be read as a latent");
        error.source().unwrap().to_string()
    }

    #[test]
    fn both_formats_give_back_what_they_hold() {
        let bytes = write_latent(&file(), LatentFormat::Safetensors).unwrap();
        assert_eq!(read_latent(&bytes, "a").unwrap(), file());

        let bytes = write_latent(&file(), LatentFormat::Npy).unwrap();
        let read = read_latent(&bytes, "a").unwrap();
        assert_eq!(read.latent, file().latent);
        assert_eq!(
            (read.latent_space, read.encoder, read.size, read.alpha),
            (None, None, None, None)
        );
    }

    #[test]
    fn every_cut_of_a_file_is_an_error() {
        for format in [LatentFormat::Safetensors, LatentFormat::Npy] {
            let bytes = write_latent(&file(), format).unwrap();
            for length in 0..bytes.len() {
                refusal(&bytes[..length]);
            }
            refusal(&[&bytes[..], &[0]].concat());
        }
    }

    #[test]
    fn an_image_without_pixels_is_refused() {
        let file = LatentFile {
            size: Some((0, 8)),
            ..file()
        };
        let error = write_latent(&file, LatentFormat::Npy).unwrap_err();
        assert!(error.to_string().contains("0x8"), "{error}");
    }

    #[test]
    fn a_value_that_f16_cannot_hold_is_refused_by_position() {
        let latent = |last: f32| {
            let bytes = [1.0, last].map(f32::to_le_bytes).concat();
            parse(&[1, 1, 2], Element::F32, &bytes, None)
        };
        // Half a step beyond the largest f16 is where rounding turns to infinity.
        assert_eq!(latent(65519.0).unwrap().as_slice()[1], f16::MAX);
        let error = latent(-65520.0).unwrap_err();
        assert_eq!(error.to_string(), "value 1 is -65520: f16 ends at 65504");
        assert!(latent(f32::NAN).unwrap_err().to_string().contains("NaN"));
        assert!(
            latent(f32::INFINITY)
                .unwrap_err()
                .to_string()
                .contains("inf")
        );
    }

    #[test]
    fn a_leading_one_is_dropped_and_other_shapes_are_refused() {
        let bytes = [0; 24];
        for shape in [&[2, 2, 3][..], &[1, 2, 2, 3]] {
            let latent = parse(shape, Element::F16, &bytes, None).unwrap();
            assert_eq!(latent.shape().to_string(), "2x2x3");
        }
        let absurd = usize::MAX;
        for shape in [
            &[12][..],
            &[2, 2, 2, 3],
            &[1, 1, 2, 2, 3],
            &[0, 2, 3],
            &[absurd, absurd, 1],
        ] {
            assert!(
                parse(shape, Element::F16, &bytes, None).is_err(),
                "{shape:?}"
            );
        }
    }

    #[test]
    fn endings_name_the_format() {
        let format = |path| LatentFormat::from_path(Path::new(path));
        assert_eq!(format("a/b.NPY").unwrap(), LatentFormat::Npy);
        assert_eq!(format("b.safetensors").unwrap(), LatentFormat::Safetensors);
        assert_eq!(format("b.npz").unwrap(), LatentFormat::Npz);
        for path in ["b.png", "npy", "b"] {
            let error = format(path).unwrap_err();
            assert!(
                error.to_string().contains("safetensors, npy, npz"),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(
            format in prop::sample::select(FORMATS.map(|(_, format)| format).to_vec()),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = write_latent(&file(), format).unwrap();
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = read_latent(&bytes, "a");
        }
    }
}
