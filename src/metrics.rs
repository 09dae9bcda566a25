//! How far a decoded image is from its original.

use crate::error::{Error, Result};
use crate::pixels::Pixels;

/// The peak signal-to-noise ratio in dB: 10 log10(255^2 / mean squared error) over all RGB bytes. Equal images
/// give [`f64::INFINITY`]; typical reconstructions lie between 20 and 50.
///
/// # Errors
/// `InvalidInput` if the images differ in size.
pub fn psnr(a: &Pixels, b: &Pixels) -> Result<f64> {
    if (a.width(), a.height()) != (b.width(), b.height()) {
        return Err(Error::invalid(format!(
            "images of {}x{} and {}x{} pixels can't be compared",
            a.width(),
            a.height(),
            b.width(),
            b.height()
        )));
    }
    let squares = a.as_rgb().iter().zip(b.as_rgb());
    let sum: u64 = squares.map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    let mean = sum as f64 / a.byte_len() as f64;
    Ok(10.0 * (255.0_f64.powi(2) / mean).log10())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::image_io::{Limits, read_image};
    use std::path::Path;

    fn grey(width: u32, height: u32, value: u8) -> Pixels {
        let bytes = vec![value; (width * height * 3) as usize];
        Pixels::from_rgb(width, height, bytes).unwrap()
    }

    #[test]
    fn equal_images_have_an_infinite_psnr_and_opposite_ones_zero() {
        let distance = |value| psnr(&grey(3, 2, 0), &grey(3, 2, value)).unwrap();
        assert_eq!(distance(0).to_string(), "inf");
        assert!(distance(255).abs() < 1e-12);
    }

    #[test]
    fn one_wrong_level_in_one_of_twelve_bytes() {
        let mut bytes = vec![7; 12];
        bytes[5] = 8;
        let other = Pixels::from_rgb(2, 2, bytes).unwrap();
        let expected = 10.0 * (255.0 * 255.0 * 12.0_f64).log10();
        assert!((psnr(&grey(2, 2, 7), &other).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn images_of_different_sizes_are_refused_by_name() {
        let error = psnr(&grey(3, 2, 0), &grey(2, 3, 0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("3x2 and 2x3"), "{error}");
    }

    /// The values were computed in Python from the example images of openai/consistencydecoder.
    #[test]
    fn the_consistency_decoders_example_images_have_their_known_psnr() {
        let folder = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../shared/images/consistency-decoder"
        ));
        if !folder.is_dir() {
            // Not eprintln: what a passing test prints through it is hidden.
            let line = format!("SKIPPED: no example images at {}\n", folder.display());
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
            return;
        }
        let read = |name: &str| {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            read_image(&bytes, name, &Limits::default()).unwrap().pixels
        };
        for (image, gan, con) in [
            (1, 24.245, 28.076),
            (2, 22.937, 22.581),
            (3, 25.496, 25.637),
        ] {
            let original = read(&format!("gt{image}.png"));
            for (decoder, expected) in [("gan", gan), ("con", con)] {
                let found = psnr(&original, &read(&format!("{decoder}{image}.png"))).unwrap();
                assert!(
                    (found - expected).abs() < 0.0006,
                    "{decoder}{image}: {found} instead of {expected}"
                );
            }
        }
    }
}
