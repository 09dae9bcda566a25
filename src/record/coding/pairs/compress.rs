//! Values as pairs: a description of each segment, and the planes.
//!
//! Invariant: what comes out is decided by the values alone, so that equal latents are equal bytes.

use half::f16;

use super::super::{Effort, length, squeeze};
use super::code::{CODE, Code};
use super::{CLASSED, EXCEPTION, MAX_LOWEST, ROUND, SEGMENT, place, segment, squeezed};
use crate::error::Result;

/// With more exceptions among the values than one in so many, high bytes compress better.
const RARE: usize = 64;
/// A plane is squeezed if that takes one byte in so many away, and not with the code of all pairs if another way does:
/// less isn't worth the time it costs a reader.
const WORTH: usize = 32;
/// With at most one in so many, exceptions cost too little to try another form.
const HARDLY_ANY: usize = 1024;

/// What [`compress`] made of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Fit {
    /// Only signs and classes compress, as in latents fresh from an encoder.
    Good,
    /// Other bits compress too, as in values that were rounded, or there are exceptions: another
    /// form may be smaller.
    Doubtful,
    /// Exponents are too far apart, or values too few: nothing was written.
    Unfit,
}

/// Appends `values` as pairs, unless they are unfit for it.
pub(in super::super) fn compress(values: &[f16], out: &mut Vec<u8>) -> Result<Fit> {
    let (rounds, rest) = values.as_chunks::<ROUND>();
    let paired = rounds.as_flattened();
    let mut planes = Planes::default();
    for (at, segment) in paired.chunks(SEGMENT).enumerate() {
        planes.append(at * SEGMENT, segment, &CODE)?;
    }
    let exceptions = planes.exceptions.len() / EXCEPTION;
    if paired.is_empty() || exceptions > paired.len() / RARE {
        return Ok(Fit::Unfit);
    }

    let mut which = 0;
    let mut plane = |bit: u8, plane: Vec<u8>, frame: Vec<u8>| {
        if frame.len() + plane.len() / WORTH <= plane.len() {
            which |= bit;
            return frame;
        }
        plane
    };
    let classes = spread(&planes.classes);
    let frame = squeeze_classes(&classes)?;
    let classes = plane(squeezed::CLASSES, classes, frame);
    let frame = squeeze(&planes.fine, Effort::Repetitions)?;
    let fine = plane(squeezed::FINE, planes.fine, frame);
    let frame = squeeze(&planes.low, Effort::Repetitions)?;
    let low = plane(squeezed::LOW, planes.low, frame);

    out.extend([0, which, 0, 0]);
    for count in [exceptions, classes.len(), fine.len(), low.len()] {
        out.extend(length(count)?);
    }
    for part in [planes.segments, planes.exceptions, classes, fine, low] {
        out.extend(part);
    }
    out.extend(rest.iter().flat_map(|value| value.to_le_bytes()));
    let noise = which & !squeezed::CLASSES == 0 && exceptions <= paired.len() / HARDLY_ANY;
    Ok(if noise { Fit::Good } else { Fit::Doubtful })
}

/// The bytes of all pairs, every segment's in its place.
fn spread(classes: &[u8]) -> Vec<u8> {
    let fours = classes.len() / (SEGMENT / 2) / 4;
    let mut spread = vec![0; classes.len()];
    for (at, classes) in classes.chunks(SEGMENT / 2).enumerate() {
        let first = place(at, fours) * SEGMENT / 2;
        spread[first..][..classes.len()].copy_from_slice(classes);
    }
    spread
}

/// Repetitions in signs and classes are short. Those in latents of Stable Diffusion save next to nothing, and putting
/// them together again takes a tenth of a read; those in latents of `tiny` save more than a hundredth.
fn squeeze_classes(classes: &[u8]) -> Result<Vec<u8>> {
    let own = squeeze(classes, Effort::FewRepetitions)?;
    let shared = CODE.squeeze(classes);
    let shared = shared.filter(|shared| shared.len() <= own.len() + own.len() / WORTH);
    Ok(shared.unwrap_or(own))
}

/// Everything there is of the values so far, segment after segment.
#[derive(Default)]
struct Planes {
    segments: Vec<u8>,
    exceptions: Vec<u8>,
    classes: Vec<u8>,
    fine: Vec<u8>,
    low: Vec<u8>,
}

impl Planes {
    /// Appends a segment, whose first value is number `first` of all.
    fn append(&mut self, first: usize, values: &[f16], code: &Code) -> Result<()> {
        let (pairs, _) = values.as_chunks::<2>();
        let (segment, bytes) = describe(pairs, code);
        let lowest = segment & segment::LOWEST;
        let mut fine: Vec<u8> = pairs
            .iter()
            .map(|[a, b]| split(*a, lowest).1 | split(*b, lowest).1 << 3)
            .collect();
        // What `which` of a pair is decoded to, beside what it has.
        let exponents = |which: usize, pair: &[f16; 2], byte: &u8, fine: &u8| {
            let (class, odd) = (byte >> (3 * which) & 7, fine >> (3 * which + 2) & 1);
            (lowest + 2 * class + odd, exponent(pair[which]))
        };
        let decoded = || pairs.iter().zip(&bytes).zip(&fine);
        let differing = decoded().fold(0, |differing, ((pair, byte), fine)| {
            let [a, b] = [0, 1].map(|which| exponents(which, pair, byte, fine));
            differing | a.0 ^ a.1 | b.0 ^ b.1
        });
        if differing != 0 {
            for (at, ((pair, byte), fine)) in decoded().enumerate() {
                for which in 0..2 {
                    let (decoded, exponent) = exponents(which, pair, byte, fine);
                    if decoded != exponent {
                        self.exceptions.extend(length(first + 2 * at + which)?);
                        self.exceptions.push(exponent);
                    }
                }
            }
        }
        // The last quarter of the pairs has its fine bits above those of the others.
        let part = values.len() / ROUND;
        let (three, last) = fine.split_at_mut(3 * part);
        for (which, third) in three.chunks_exact_mut(part).enumerate() {
            for (byte, last) in third.iter_mut().zip(&*last) {
                *byte |= (last >> (2 * which) & 3) << 6;
            }
        }
        self.segments.push(segment);
        self.classes.extend(bytes);
        self.fine.extend_from_slice(three);
        for side in 0..2 {
            let low = pairs.iter().map(|pair| pair[side].to_bits() as u8);
            self.low.extend(low);
        }
        Ok(())
    }
}

fn exponent(value: f16) -> u8 {
    (value.to_bits() >> 10) as u8 & 31
}

/// Class, and the exponent's lowest bit with the mantissa's two highest; of an exponent without a class, those of
/// the nearest one that has.
fn split(value: f16, lowest: u8) -> (u8, u8) {
    let above = exponent(value).saturating_sub(lowest).min(CLASSED - 1);
    let mantissa = (value.to_bits() >> 8) as u8 & 3;
    (above >> 1, (above & 1) << 2 | mantissa)
}

/// The byte of a pair: classes and signs.
fn classes(pair: [f16; 2], lowest: u8) -> u8 {
    let [a, b] = pair.map(|value| split(value, lowest).0);
    let [sign_a, sign_b] = pair.map(|value| (value.to_bits() >> 15) as u8);
    a | b << 3 | sign_a << 6 | sign_b << 7
}

/// The byte of a segment, that with which `code` takes the fewest bits, and the bytes of its `pairs`.
fn describe(pairs: &[[f16; 2]], code: &Code) -> (u8, Vec<u8>) {
    // Apart for both values: an addition need not wait for the one before.
    let mut exponents = [[0u32; 32]; 2];
    for pair in pairs {
        for (counts, value) in exponents.iter_mut().zip(pair) {
            counts[usize::from(exponent(*value))] += 1;
        }
    }
    let exponents: [u32; 32] = std::array::from_fn(|at| exponents[0][at] + exponents[1][at]);
    let exceptions = |lowest: u8| {
        let inside = &exponents[usize::from(lowest)..][..usize::from(CLASSED)];
        let outside = exponents.iter().sum::<u32>() - inside.iter().sum::<u32>();
        outside * 8 * EXCEPTION as u32
    };
    // What it would be if all neighbours were alike; around the best of that, what it is.
    let roughly = |lowest: &u8| {
        let (classes, _) = exponents[usize::from(*lowest)..].as_chunks::<2>();
        let alike = code.costs.iter().step_by(1 + 8).take(8);
        let counts = classes.iter().map(|two| two.iter().sum::<u32>());
        let bits: u32 = counts
            .zip(alike)
            .map(|(n, bits)| n * u32::from(*bits))
            .sum();
        bits + 2 * exceptions(*lowest)
    };
    let guess = (0..=MAX_LOWEST).min_by_key(roughly).unwrap_or(0);
    let near = guess.saturating_sub(1)..=(guess + 1).min(MAX_LOWEST);
    let candidates = near.flat_map(|lowest| {
        let bytes: Vec<u8> = pairs.iter().map(|pair| classes(*pair, lowest)).collect();
        [lowest, lowest | segment::NEGATED].map(|segment| {
            let signs = segment::signs(segment);
            let cost = |byte: &u8| u32::from(code.costs[usize::from(byte ^ signs)]);
            let bits: u32 = bytes.iter().map(cost).sum();
            (bits + exceptions(lowest), segment)
        })
    });
    let segment = candidates.min().map_or(0, |(_, segment)| segment);
    let lowest = segment & segment::LOWEST;
    let mut bytes: Vec<u8> = pairs.iter().map(|pair| classes(*pair, lowest)).collect();
    for byte in &mut bytes {
        *byte = code.stand_ins[usize::from(*byte ^ segment::signs(segment))];
    }
    (segment, bytes)
}
