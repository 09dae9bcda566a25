//! Metrics against values that other programs computed, of pictures that a formula draws.

use super::*;
use crate::error::ErrorKind;
use proptest::prelude::*;

fn image(width: u32, height: u32, level: impl Fn(u32, u32, u32) -> u8) -> Pixels {
    let row = |y| (0..width * 3).map(move |at| (at / 3, y, at % 3));
    let places = (0..height).flat_map(row);
    let bytes = places.map(|(x, y, channel)| level(x, y, channel));
    Pixels::from_rgb(width, height, bytes.collect()).unwrap()
}

fn flat(width: u32, height: u32, level: u8) -> Pixels {
    image(width, height, |_, _, _| level)
}

fn checked(width: u32, height: u32, first: u8) -> Pixels {
    image(width, height, |x, y, _| {
        if (x + y) % 2 == 0 { first } else { 255 - first }
    })
}

/// Curves of 256 levels that wrap, another for each `seed`.
fn drawn(width: u32, height: u32, seed: u32) -> Pixels {
    image(width, height, |x, y, channel| {
        let curve = x * x + 3 * y * y + x * y * (1 + channel) + 40 * channel * seed;
        ((curve + (x / 7 + y / 5) % 2 * 60) / (5 + seed) % 256) as u8
    })
}

/// `pixels`, each byte up to 20 levels off.
fn noisy(pixels: &Pixels, seed: usize) -> Pixels {
    let bytes = pixels.as_rgb().iter().enumerate().map(|(at, &level)| {
        let noise = ((at * 7919 + seed * 104_729) % 41) as u8;
        (i16::from(level) + i16::from(noise) - 20).clamp(0, 255) as u8
    });
    Pixels::from_rgb(pixels.width(), pixels.height(), bytes.collect()).unwrap()
}

/// The metrics of a drawn picture: with noise, and against another.
fn noisy_and_other(width: u32, height: u32) -> [Quality; 2] {
    let original = drawn(width, height, 1);
    let others = [noisy(&original, 1), drawn(width, height, 2)];
    others.map(|other| measure(&original, &other).unwrap())
}

#[track_caller]
fn near(found: Option<f64>, expected: f64, tolerance: f64) {
    let found = found.expect("the metric applies");
    assert!(
        (found - expected).abs() < tolerance,
        "{found} instead of {expected}"
    );
}

#[test]
fn equal_images_have_an_infinite_psnr_and_opposite_ones_zero() {
    let distance = |level| psnr(&flat(3, 2, 0), &flat(3, 2, level)).unwrap();
    assert_eq!(distance(0).to_string(), "inf");
    assert!(distance(255).abs() < 1e-12);
}

#[test]
fn one_wrong_level_in_one_of_twelve_bytes_whatever_the_alpha() {
    let other = image(2, 2, |x, y, channel| {
        7 + u8::from((x, y, channel) == (1, 0, 2))
    });
    let expected = 10.0 * (255.0 * 255.0 * 12.0_f64).log10();
    near(psnr(&flat(2, 2, 7), &other).ok(), expected, 1e-12);
    let seen = flat(2, 2, 7).with_alpha(vec![9; 4]).unwrap();
    near(psnr(&seen, &other).ok(), expected, 1e-12);
}

#[test]
fn images_of_different_sizes_are_refused_by_name() {
    let refused = |result: Result<Option<f64>>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("3x2 and 2x3"), "{error}");
    };
    let (wide, high) = (flat(3, 2, 0), flat(2, 3, 0));
    refused(psnr(&wide, &high).map(Some));
    refused(ssim(&wide, &high));
    refused(ms_ssim(&wide, &high));
    refused(ssimulacra2(&wide, &high));
    refused(measure(&wide, &high).map(|quality| quality.ssim));
}

/// Expected values: `structural_similarity` of scikit-image 0.26.0, with the arguments that the docs of `ssim` name.
#[test]
fn ssim_is_that_of_scikit_image() {
    for (size, noise, other) in [
        ((11, 11), 0.769_723_752_825_573_3, 0.984_307_833_792_932_2),
        ((12, 17), 0.797_703_437_870_193_6, 0.984_609_549_781_471_7),
        ((40, 24), 0.937_521_228_816_595_4, 0.466_596_857_228_765_9),
        ((33, 50), 0.964_259_413_422_115_4, 0.062_690_099_164_315_4),
        ((97, 61), 0.981_345_638_749_829_7, 0.024_413_894_980_160_07),
    ] {
        let [with_noise, with_other] = noisy_and_other(size.0, size.1);
        near(with_noise.ssim, noise, 1e-12);
        near(with_other.ssim, other, 1e-12);
    }
    let of = |a: Pixels, b: Pixels| ssim(&a, &b).unwrap();
    let black_to_white = of(flat(16, 16, 0), flat(16, 16, 255));
    near(black_to_white, 9.999_000_099_990_004e-5, 1e-12);
    let slightly_lighter = of(flat(16, 16, 100), flat(16, 16, 110));
    near(slightly_lighter, 0.995_476_444_091_506_7, 1e-12);
    let inverted = of(checked(16, 16, 0), checked(16, 16, 255));
    near(inverted, -0.996_406_468_356_957_3, 1e-12);
    let structure_lost = of(checked(16, 16, 0), flat(16, 16, 128));
    near(structure_lost, 0.003_587_059_019_702_837, 1e-12);
}

/// Expected values: NumPy 2.4.6 with the Gaussian filter of SciPy, from the formulas. Of the first two sizes
/// pytorch-msssim 1.0.0 gives the same within 3e-6, its weights being 32-bit floats.
#[test]
fn ms_ssim_is_that_of_its_formula_and_leaves_odd_rows_and_columns_out() {
    for (size, noise, other) in [
        ((176, 176), 0.995_412_478_212_945_5, 0.137_707_121_690_595_9),
        ((192, 240), 0.993_622_583_697_008_2, 0.137_148_563_874_714_7),
        ((201, 187), 0.996_066_952_779_420_7, 0.140_889_879_834_212_6),
    ] {
        let [with_noise, with_other] = noisy_and_other(size.0, size.1);
        near(with_noise.ms_ssim, noise, 1e-12);
        near(with_other.ms_ssim, other, 1e-12);
    }
}

#[test]
fn ms_ssim_of_a_structure_that_is_inverted_is_zero() {
    let inverted = ms_ssim(&checked(176, 176, 0), &checked(176, 176, 255));
    assert_eq!(inverted.unwrap(), Some(0.0));
}

/// Expected values: the reference tool, `ssimulacra2` of libjxl 0.11.2, which prints eight decimals.
#[test]
fn ssimulacra2_is_that_of_the_reference_tool() {
    for (size, noise, other) in [
        ((11, 11), 85.026_262_44, 95.723_174_58),
        ((12, 17), 86.483_933_73, 95.890_148_77),
        ((40, 24), 67.692_173_60, -8.572_754_75),
        ((33, 50), 11.385_945_30, -548.664_586_76),
        ((97, 61), 47.533_756_16, -57.546_033_87),
    ] {
        let [with_noise, with_other] = noisy_and_other(size.0, size.1);
        near(with_noise.ssimulacra2, noise, 1e-6);
        near(with_other.ssimulacra2, other, 1e-6);
    }
    let black_to_white = ssimulacra2(&flat(16, 16, 0), &flat(16, 16, 255));
    near(black_to_white.unwrap(), 55.907_583_58, 1e-6);
}

#[test]
fn images_that_are_cut_into_strips_score_as_they_do_whole() {
    let original = drawn(16, 2000, 1);
    let other = noisy(&original, 1);
    let whole = ssimulacra2(&original, &other).unwrap().unwrap();
    let cut = ssimulacra2::score(&original, &other, 16 * 1024).unwrap();
    assert_ne!(cut, Some(whole), "nothing was cut");
    near(cut, whole, 0.1);
    let too_wide = ssimulacra2::score(&original, &other, 16 * 1024 - 1).unwrap();
    assert_eq!(too_wide, None);
}

#[test]
fn a_metric_is_none_where_a_side_is_too_short_for_it() {
    let of = |width, height| {
        let pixels = flat(width, height, 9);
        measure(&pixels, &pixels).unwrap()
    };
    assert_eq!(
        (of(7, 300).ssimulacra2, of(300, 7).ssimulacra2),
        (None, None)
    );
    assert_eq!((of(8, 8).ssimulacra2, of(8, 8).ssim), (Some(100.0), None));
    assert_eq!((of(10, 300).ssim, of(300, 10).ssim), (None, None));
    assert_eq!((of(11, 11).ssim, of(11, 11).ms_ssim), (Some(1.0), None));
    assert_eq!((of(175, 300).ms_ssim, of(300, 175).ms_ssim), (None, None));
    assert_eq!(of(176, 176).ms_ssim, Some(1.0));
    assert_eq!(of(1, 1).psnr.to_string(), "inf");
}

/// White and transparent black look the same over white.
#[test]
fn images_with_alpha_are_measured_as_they_look_over_white() {
    let original = drawn(40, 24, 1);
    let alpha: Vec<u8> = (0..40 * 24).map(|at| (at % 256) as u8).collect();
    let seen = original.clone().with_alpha(alpha).unwrap();
    let expected = measure(&original, &seen.over([255; 3])).unwrap();
    assert_eq!(measure(&original, &seen).unwrap(), expected);
    let back = measure(&seen, &original).unwrap();
    assert_eq!(back.ssim, expected.ssim);

    let transparent = flat(16, 16, 0).with_alpha(vec![0; 256]).unwrap();
    let quality = measure(&flat(16, 16, 255), &transparent).unwrap();
    assert_eq!((quality.psnr, quality.ssim), (f64::INFINITY, Some(1.0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn ssim_is_symmetric_at_most_one_and_one_of_an_image_with_itself(
        width in 11u32..50, height in 11u32..50, seed in 0u32..20
    ) {
        let (one, other) = (drawn(width, height, seed), noisy(&drawn(width, height, 3), 5));
        let there = ssim(&one, &other).unwrap();
        let back = ssim(&other, &one).unwrap();
        prop_assert_eq!(there, back);
        prop_assert!(there > Some(-1.0) && there < Some(1.0), "{:?}", there);
        prop_assert_eq!(ssim(&one, &one).unwrap(), Some(1.0));
    }

    #[test]
    fn every_size_can_be_measured_and_equal_images_have_the_best_of_each(
        width in 1u32..40, height in 1u32..40
    ) {
        let one = drawn(width, height, 1);
        let quality = measure(&one, &one).unwrap();
        prop_assert!(quality.psnr.is_infinite());
        prop_assert_eq!(quality.ssim, (width.min(height) >= 11).then_some(1.0));
        prop_assert_eq!(quality.ssimulacra2, (width.min(height) >= 8).then_some(100.0));
        let worse = measure(&one, &noisy(&one, 2)).unwrap();
        prop_assert!(worse.psnr.is_finite());
        prop_assert!(worse.ssimulacra2 < Some(100.0));
    }
}
