//! What is written as npz, and what is read of it, whole and damaged.

use super::super::tests::{file, refusal};
use super::super::{read_latent, read_unscaled, write_latent};
use super::*;
use half::f16;
use proptest::prelude::*;

/// A zip of these members, packed or not.
fn zip(members: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn stored(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    zip(members, CompressionMethod::Stored)
}

/// An array of f32 values that are all `value`.
fn floats(shape: &str, count: usize, value: f32) -> Vec<u8> {
    let values = std::iter::repeat_n(value.to_le_bytes(), count);
    npy::array("<f4", shape, values.flatten())
}

/// An array of f64 numbers, as numpy makes it of kohya's tuples.
fn numbers(values: &[f64]) -> Vec<u8> {
    let shape = format!("({},)", values.len());
    npy::array(
        "<f8",
        &shape,
        values.iter().flat_map(|value| value.to_le_bytes()),
    )
}

fn names(bytes: &[u8]) -> Vec<String> {
    let zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let names = zip.file_names().map(|name| name.unwrap().into_owned());
    names.collect()
}

/// One channel of 2x3 cells.
fn latents(value: f32) -> Vec<u8> {
    floats("(1, 2, 3)", 6, value)
}

#[test]
fn keys_are_kohyas_and_name_the_height_before_the_width() {
    let latent = |space: &str| LatentFile {
        latent_space: Some(space.into()),
        ..file()
    };
    let sized = [
        "latents_2x3.npy",
        "original_size_2x3.npy",
        "crop_ltrb_2x3.npy",
        "alpha_mask_2x3.npy",
    ];
    let flux = write_latent(&latent("flux1"), LatentFormat::Npz).unwrap();
    assert_eq!(names(&flux), sized);
    let sd = write_latent(&latent("sd-v1"), LatentFormat::Npz).unwrap();
    let plain = sized.map(|name| name.replace("_2x3", ""));
    assert_eq!(names(&sd), [&plain[..], &sized.map(str::to_owned)].concat());
    assert_eq!(
        sd,
        write_latent(&latent("sd-v1"), LatentFormat::Npz).unwrap()
    );
}

#[test]
fn what_is_written_is_read_back_with_size_and_alpha() {
    for space in ["sd-v1", "flux2"] {
        let file = LatentFile {
            latent_space: Some(space.into()),
            ..file()
        };
        let bytes = write_latent(&file, LatentFormat::Npz).unwrap();
        let read = read_latent(&bytes, "a").unwrap();
        assert_eq!(read.latent, file.latent);
        assert_eq!((read.size, read.alpha), (file.size, file.alpha));
        // An npz doesn't say these.
        assert_eq!((read.latent_space, read.encoder), (None, None));
    }
}

#[test]
fn values_of_flux_are_scaled_in_the_file_and_come_back_exactly() {
    let file = LatentFile {
        latent_space: Some("flux1".into()),
        ..file()
    };
    let bytes = write_latent(&file, LatentFormat::Npz).unwrap();
    // (0.25 - 0.1159) * 0.3611, which f16 can't hold.
    let scaled = 0.048_423_51_f32.to_le_bytes();
    assert!(bytes.windows(4).any(|window| window == scaled));
    assert_ne!(read_latent(&bytes, "a").unwrap().latent, file.latent);
    let factors = |_, _: Option<&str>| Ok(scaling("flux1"));
    let (read, _) = read_unscaled(&bytes, "a", &factors).unwrap();
    assert_eq!(read.latent, file.latent);
    assert_eq!(scaling("sd3"), None);
}

#[test]
fn of_several_sizes_the_largest_is_read_and_the_mirrored_image_is_noted() {
    let members = [
        ("latents_9x1.npy", floats("(1, 9, 1)", 9, 1.0)),
        ("latents_10x2.npy", floats("(1, 10, 2)", 20, 2.0)),
        ("latents_flipped_10x2.npy", floats("(1, 10, 2)", 20, 3.0)),
        ("latents_2x3.npy", latents(4.0)),
    ];
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let bytes = zip(&members, method);
        let (read, notes) = read_unscaled(&bytes, "a", &|_, _| Ok(None)).unwrap();
        assert_eq!(read.latent.shape().to_string(), "1x10x2");
        assert_eq!(read.latent.as_slice()[0], f16::from_f32(2.0));
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("3 latents"), "{notes:?}");
        assert!(notes[1].contains("mirrored"), "{notes:?}");
    }
}

#[test]
fn a_size_is_that_of_the_image_only_where_nothing_was_resized_or_cut() {
    for (original, crop, size) in [
        (
            &[23.0, 16.0][..],
            &[0.0, 0.0, 23.0, 16.0][..],
            Some((23, 16)),
        ),
        // An image of 46x32 that was made half as large, and one that was cut.
        (&[46.0, 32.0], &[0.0, 0.0, 23.0, 16.0], None),
        (&[30.0, 16.0], &[3.0, 0.0, 27.0, 16.0], None),
    ] {
        let members = [
            ("latents.npy", latents(0.0)),
            ("original_size.npy", numbers(original)),
            ("crop_ltrb.npy", numbers(crop)),
        ];
        assert_eq!(read_latent(&stored(&members), "a").unwrap().size, size);
        // The alpha is of the image as it was encoded.
        let alpha = ("alpha_mask.npy", floats("(16, 23)", 16 * 23, 0.2));
        let read = read_latent(&stored(&[&members[..], &[alpha]].concat()), "a").unwrap();
        assert_eq!(read.size, Some((23, 16)));
        assert_eq!(read.alpha.unwrap(), [51; 16 * 23]);
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_said() {
    let latent = || ("latents.npy", latents(0.0));
    let size = |values: &[f64]| {
        let crop = [0.0, 0.0, values[0], values[1]];
        vec![
            latent(),
            ("original_size.npy", numbers(values)),
            ("crop_ltrb.npy", numbers(&crop)),
        ]
    };
    let alpha =
        |shape, count, value| vec![latent(), ("alpha_mask.npy", floats(shape, count, value))];
    for (members, part) in [
        (vec![("arr_0.npy", latents(0.0))], "neither `latents` nor"),
        (vec![("latents.npy", b"text".to_vec())], "no npy file"),
        (vec![("latents.npy", latents(f32::NAN))], "NaN"),
        (size(&[0.0, 8.0]), "0x8"),
        (size(&[8.5, 8.0]), "8.5x8"),
        (alpha("(2, 2)", 4, 1.5), "is 1.5"),
        (alpha("(2, 2)", 3, 1.0), "[2, 2]"),
        (alpha("(0, 2)", 0, 1.0), "[0, 2]"),
        (
            vec![latent(), ("original_size.npy", floats("(3,)", 2, 1.0))],
            "the shape [3] and 2 values",
        ),
    ] {
        let reason = refusal(&stored(&members));
        assert!(reason.contains(part), "{reason}");
    }
    let mut members = size(&[8.0, 8.0]);
    members.extend(alpha("(2, 2)", 4, 1.0).pop());
    let reason = refusal(&stored(&members));
    assert!(reason.contains("2x2 pixels"), "{reason}");
}

#[test]
fn a_member_that_unpacks_to_more_than_is_allowed_is_refused_before_it_is() {
    let mut bytes = zip(
        &[("latents.npy", latents(0.0))],
        CompressionMethod::Deflated,
    );
    // The central directory's entry: its signature, and 24 bytes behind it the unpacked size.
    let entry = bytes.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    let mut declare = |size: u32| {
        bytes[entry + 24..entry + 28].copy_from_slice(&size.to_le_bytes());
        refusal(&bytes)
    };
    assert!(declare(300 << 20).contains("more than the 268435456 allowed"));
    // One that says less than it has.
    let reason = declare(3);
    assert!(reason.contains("latents"), "{reason}");
}

proptest! {
    #[test]
    fn damage_anywhere_is_an_error_or_a_latent(
        packed: bool,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let method = if packed { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        let members = [
            ("latents_2x3.npy", latents(1.0)),
            ("original_size_2x3.npy", numbers(&[23.0, 16.0])),
            ("alpha_mask_2x3.npy", floats("(16, 23)", 16 * 23, 1.0)),
        ];
        let mut bytes = zip(&members, method);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read_latent(&bytes, "a");
        let _ = read_latent(&bytes[..cut.index(bytes.len())], "a");
    }
}
