//! Values and levels come back, take little, and no bytes do harm.

use std::io::Write;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

fn shape(channels: u32, height: u32, width: u32) -> LatentShape {
    LatentShape {
        channels,
        height,
        width,
    }
}

/// Pseudorandom numbers of 16 bits.
fn noise(seed: u64) -> impl FnMut() -> i32 {
    let mut state = seed;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 48) as i32
    }
}

/// Integers of up to some thousands with the structure of a latent: soft hills, edges, places with noise and channels that are like
/// each other. Made of integers alone, so that all machines make the same.
fn made_up(shape: LatentShape) -> Vec<i32> {
    let mut noise = noise(7);
    let mut out = Vec::new();
    for channel in 0..shape.channels.cast_signed() {
        let slope = noise() % 40 - 20;
        for y in 0..shape.height.cast_signed() {
            for x in 0..shape.width.cast_signed() {
                let hill = ((x - 11) * (x - 11) + (y - 9) * (y - 9)) * (6 - channel % 3) / 2;
                let edge = if (x / 7 + y / 5) % 3 == 0 { 700 } else { 0 };
                let loud = 1 + (x * y / 50) % 6;
                let grain = (noise() % 256 + noise() % 256 - 255) * loud / 4;
                out.push(hill + edge + slope * x - 900 + grain);
            }
        }
    }
    out
}

fn made_up_floats(shape: LatentShape) -> Vec<f16> {
    let values = made_up(shape).into_iter();
    let mut values: Vec<f16> = values.map(|v| f16::from_f32(v as f32 / 700.0)).collect();
    let count = values.len();
    for (at, bits) in [0x0000, 0x8000, 0x0001, 0x83ff, 0x7bff, 0xfbff]
        .into_iter()
        .enumerate()
    {
        values[(at * 997 + 5) % count] = f16::from_bits(bits);
    }
    values
}

fn made_up_levels(shape: LatentShape) -> Vec<i16> {
    let values = made_up(shape).into_iter();
    let mut levels: Vec<i16> = values.map(|v| (v / 100) as i16).collect();
    levels[3] = i16::MAX;
    levels[4] = i16::MIN;
    levels
}

fn bits(values: &[f16]) -> Vec<u16> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// That `values` come back bit by bit; the payload.
fn round_trip(shape: LatentShape, values: &[f16]) -> Vec<u8> {
    let payload = compress(shape, values).unwrap();
    assert!(
        bits(&decompress(shape, &payload).unwrap()) == bits(values),
        "{shape}"
    );
    let raw = 2 * values.len();
    assert!(
        payload.len() <= raw + raw / 100 + 48,
        "{shape}: {}",
        payload.len()
    );
    payload
}

fn round_trip_of_levels(shape: LatentShape, levels: &[i16]) -> Vec<u8> {
    let payload = compress_levels(shape, levels).unwrap();
    assert!(
        decompress_levels(shape, &payload).unwrap() == levels,
        "{shape}"
    );
    let raw = 2 * levels.len();
    assert!(
        payload.len() <= raw + raw / 100 + 48,
        "{shape}: {}",
        payload.len()
    );
    payload
}

#[test]
fn latents_of_every_shape_come_back() {
    for channels in [1, 2, 3, 4, 5, 9, 16] {
        for height in [1, 2, 3, 17] {
            for width in [1, 2, 3, 19] {
                let shape = shape(channels, height, width);
                round_trip(shape, &made_up_floats(shape));
                let levels: Vec<i16> = made_up(shape).into_iter().map(|v| v as i16).collect();
                round_trip_of_levels(shape, &levels);
            }
        }
    }
}

#[test]
fn every_finite_f16_comes_back_with_the_same_bits() {
    let every = (0..=u16::MAX).map(f16::from_bits);
    let finite: Vec<f16> = every.filter(|v| v.is_finite()).collect();
    round_trip(shape(1, 248, 256), &finite);
    round_trip(shape(31, 16, 128), &finite);
}

#[test]
fn every_level_of_16_bits_comes_back() {
    let every: Vec<i16> = (i16::MIN..=i16::MAX).collect();
    round_trip_of_levels(shape(1, 256, 256), &every);
    let scattered: Vec<i16> = every
        .iter()
        .map(|level| level.wrapping_mul(40_503u16.cast_signed()))
        .collect();
    round_trip_of_levels(shape(4, 128, 128), &scattered);
}

#[test]
fn constants_take_next_to_nothing() {
    let shape = shape(4, 64, 64);
    for value in [0x0000, 0x8000, 0x0001, 0x3c00, 0xbc01, 0x7bff] {
        let payload = round_trip(shape, &vec![f16::from_bits(value); 16_384]);
        assert!(payload.len() < 400, "{value:04x}: {}", payload.len());
    }
    for level in [0, 1, -7, 127, i16::MIN] {
        let payload = round_trip_of_levels(shape, &vec![level; 16_384]);
        assert!(payload.len() < 400, "{level}: {}", payload.len());
    }
}

#[test]
fn values_far_from_zero_that_hardly_differ_take_little() {
    // All between 8 and 16, where neighbouring f16 differ by 1/128, and 3 such steps apart or so.
    let shape = shape(1, 64, 64);
    let mut noise = noise(3);
    let values: Vec<f16> = (0..4096)
        .map(|_| f16::from_bits((0x4a00 + noise() % 4) as u16))
        .collect();
    let payload = round_trip(shape, &values);
    assert!(
        payload.len() < 1_250,
        "{}: two bits a value are 1,024 bytes",
        payload.len()
    );
}

#[test]
fn small_latents_take_less_than_raw() {
    let shape = shape(4, 8, 8);
    let values = made_up_floats(shape);
    let payload = round_trip(shape, &values);
    assert!(payload.len() < 2 * values.len(), "{}", payload.len());
    let levels: Vec<i16> = made_up(shape)
        .into_iter()
        .map(|v| (v / 100) as i16)
        .collect();
    let payload = round_trip_of_levels(shape, &levels);
    assert!(payload.len() < levels.len(), "{}", payload.len());
}

#[test]
fn channels_that_are_like_earlier_ones_take_less() {
    let one = shape(1, 40, 50);
    let alone = made_up_floats(one);
    let twice: Vec<f16> = alone.iter().chain(&alone).copied().collect();
    let (single, both) = (
        round_trip(one, &alone).len(),
        round_trip(shape(2, 40, 50), &twice).len(),
    );
    assert!(both < single * 3 / 2, "{both} where one takes {single}");
}

/// Latents of photographs, or nothing, and it says so.
fn photographs() -> Vec<(LatentShape, Vec<f16>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/latents/sd");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        // Unlike `eprintln`, this is seen also where the test passes.
        let line = format!("SKIPPED: {} is missing\n", folder.display());
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let npy = paths.filter(|path| path.extension().is_some_and(|ending| ending == "npy"));
    npy.map(|path| {
        let file = std::fs::read(&path).unwrap();
        let header = 10 + usize::from(u16::from_le_bytes([file[8], file[9]]));
        let text = str::from_utf8(&file[10..header]).unwrap();
        let (_, sizes) = text.split_once("'shape': (").unwrap();
        let (sizes, _) = sizes.split_once(')').unwrap();
        let sizes: Vec<u32> = sizes
            .split(',')
            .map(|size| size.trim().parse().unwrap())
            .collect();
        let (values, _) = file[header..].as_chunks();
        let values = values
            .iter()
            .map(|bytes| f16::from_le_bytes(*bytes))
            .collect();
        (shape(sizes[0], sizes[1], sizes[2]), values)
    })
    .collect()
}

#[test]
fn latents_of_photographs_take_a_fifth_less_and_their_levels_a_fourth_and_less() {
    let latents = photographs();
    let raw: usize = latents.iter().map(|(_, values)| 2 * values.len()).sum();
    let sizes = latents
        .iter()
        .map(|(shape, values)| round_trip(*shape, values).len());
    let size: usize = sizes.sum();
    assert!(size as f64 * 1.25 <= raw as f64, "{size} of {raw} bytes");
    for (most, ratio) in [(127.0, 2.65), (31.0, 4.1), (15.0, 5.5), (7.0, 8.2)] {
        let sizes = latents.iter().map(|(shape, values)| {
            let plane = shape.height as usize * shape.width as usize;
            let levels = values.chunks_exact(plane).flat_map(|channel| {
                let largest = channel.iter().map(|v| v.to_f32().abs()).fold(0.0, f32::max);
                channel
                    .iter()
                    .map(move |v| (v.to_f32() / largest * most).round() as i16)
            });
            round_trip_of_levels(*shape, &levels.collect::<Vec<_>>()).len()
        });
        let size: usize = sizes.sum();
        assert!(
            size as f64 * ratio <= raw as f64,
            "levels up to {most}: {size} of {raw} bytes"
        );
    }
}

/// What was written once, beside the values: see `tests/fixtures/README.md`.
const FLOATS: &[u8] = include_bytes!("../../../../tests/fixtures/dense/floats.bin");
const SMALL: &[u8] = include_bytes!("../../../../tests/fixtures/dense/small.bin");
const LEVELS: &[u8] = include_bytes!("../../../../tests/fixtures/dense/levels.bin");

fn shape_of_floats() -> LatentShape {
    shape(6, 24, 30)
}

fn shape_of_small() -> LatentShape {
    shape(3, 10, 12)
}

fn shape_of_levels() -> LatentShape {
    shape(5, 30, 28)
}

#[test]
fn payloads_that_were_written_once_are_read_for_ever() {
    for (shape, payload) in [(shape_of_floats(), FLOATS), (shape_of_small(), SMALL)] {
        assert_eq!(payload[0], form::PREDICTED);
        let values = decompress(shape, payload).unwrap();
        assert!(bits(&values) == bits(&made_up_floats(shape)), "{shape}");
    }
    assert_eq!(LEVELS[0], form::PREDICTED);
    let levels = decompress_levels(shape_of_levels(), LEVELS).unwrap();
    assert!(levels == made_up_levels(shape_of_levels()));
}

#[test]
fn a_payload_that_ends_early_or_late_is_refused() {
    let longer = |payload: &[u8]| [payload, &[0, 0]].concat();
    for (shape, payload) in [(shape_of_floats(), FLOATS), (shape_of_small(), SMALL)] {
        for length in (0..payload.len()).step_by(1 + payload.len() / 500) {
            let error = decompress(shape, &payload[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted, "{length}");
        }
        assert!(decompress(shape, &longer(payload)).is_err());
    }
    for length in (0..LEVELS.len()).step_by(7) {
        assert!(
            decompress_levels(shape_of_levels(), &LEVELS[..length]).is_err(),
            "{length}"
        );
    }
    assert!(decompress_levels(shape_of_levels(), &longer(LEVELS)).is_err());
}

#[test]
fn another_shape_is_refused_or_read_as_something_else_of_that_shape() {
    for (channels, height, width) in [
        (1, 1, 1),
        (6, 24, 29),
        (3, 48, 30),
        (60, 24, 3),
        (1, 4320, 1),
    ] {
        let shape = shape(channels, height, width);
        if let Ok(values) = decompress(shape, FLOATS) {
            assert_eq!(values.len() as u64 * 2, shape.byte_len());
        }
    }
    for huge in [shape(4, 20_000, 20_000), shape(1 << 30, 1, 2)] {
        assert_eq!(
            decompress(huge, FLOATS).unwrap_err().kind(),
            ErrorKind::Corrupted
        );
        assert_eq!(
            decompress_levels(huge, LEVELS).unwrap_err().kind(),
            ErrorKind::Corrupted
        );
    }
}

#[test]
fn an_unknown_form_and_values_that_are_not_finite_are_refused() {
    assert!(decompress(shape(1, 1, 1), &[]).is_err());
    assert!(decompress(shape(1, 1, 1), &[2, 0, 0, 0, 0]).is_err());
    let mut infinite = vec![form::PLANES];
    planes::compress(&[f16::INFINITY], &mut infinite).unwrap();
    assert!(decompress(shape(1, 1, 1), &infinite).is_err());
    assert_eq!(
        decompress_levels(shape(1, 1, 1), &infinite).unwrap(),
        [0x7c00]
    );
}

proptest! {
    #[test]
    fn any_finite_values_come_back(
        bits in proptest::collection::vec(any::<u16>(), 1..400),
        mask in prop::sample::select(vec![0xffff, 0x83ff, 0xbfff, 0x8fff, 0x7fff, 0x0003]),
        width in 1usize..24,
        channels in 1usize..7,
    ) {
        let finite = |b: u16| Some(f16::from_bits(b & mask)).filter(|v| v.is_finite()).unwrap_or(f16::ONE);
        let rows = bits.len().div_ceil(width * channels);
        let shape = shape(channels as u32, rows as u32, width as u32);
        let values: Vec<f16> = bits.iter().cycle().take(rows * width * channels).map(|b| finite(*b)).collect();
        round_trip(shape, &values);
    }

    #[test]
    fn any_levels_come_back(
        levels in proptest::collection::vec(any::<i16>(), 1..400),
        most in 1i16..300,
        width in 1usize..24,
        channels in 1usize..7,
    ) {
        let rows = levels.len().div_ceil(width * channels);
        let shape = shape(channels as u32, rows as u32, width as u32);
        let levels: Vec<i16> = levels.into_iter().cycle().take(rows * width * channels).collect();
        round_trip_of_levels(shape, &levels);
        let small: Vec<i16> = levels.iter().map(|level| level % most).collect();
        round_trip_of_levels(shape, &small);
    }

    #[test]
    fn damaged_payloads_never_panic_and_give_only_finite_values(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        near: bool,
    ) {
        for (shape, payload) in [(shape_of_floats(), FLOATS), (shape_of_small(), SMALL)] {
            let mut payload = payload.to_vec();
            for (at, value) in &damage {
                // Near the beginning lie the parameters of channels.
                let at = at.index(if near { payload.len().min(100) } else { payload.len() });
                payload[at] = *value;
            }
            if let Ok(values) = decompress(shape, &payload) {
                prop_assert_eq!(values.len() as u64 * 2, shape.byte_len());
                prop_assert!(values.iter().all(|v| v.is_finite()));
            }
        }
        let mut payload = LEVELS.to_vec();
        for (at, value) in &damage {
            let at = at.index(if near { 100 } else { payload.len() });
            payload[at] = *value;
        }
        if let Ok(levels) = decompress_levels(shape_of_levels(), &payload) {
            prop_assert_eq!(levels.len(), 4200);
        }
    }

    #[test]
    fn arbitrary_payloads_never_panic(
        mut payload in proptest::collection::vec(any::<u8>(), 12..300),
        bits in 0u8..200,
        height in 1u32..20,
        width in 1u32..20,
        channels in 1u32..6,
    ) {
        payload[..5].copy_from_slice(&[form::PREDICTED, bits, 0, 0, 0]);
        let _ = decompress(shape(channels, height, width), &payload);
        let _ = decompress_levels(shape(channels, height, width), &payload);
    }
}
