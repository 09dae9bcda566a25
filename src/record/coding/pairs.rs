//! Pairs of neighbours: what compresses of both as one byte, the other bits as they are.
//!
//! Invariant: whatever the bytes, values that are returned are finite, and as many as were asked for.
//!
//! `FORMAT.md` draws the layout. The high byte of an f16 is sign, exponent and two bits of the
//! mantissa. An exponent is `lowest + 2 class + odd`, with a class of 3 bits; classes and signs of
//! two neighbours make one byte, and zstd's Huffman code of those bytes is all there is to decode.
//! `odd` and the mantissa are noise. The planes lie so that every step works on whole slices, which
//! the compiler turns into vector instructions.

use std::borrow::Cow;
use std::cell::Cell;

use half::f16;

use super::{Effort, damaged, expand, expand_into, length, squeeze};
use crate::error::{Error, Result};

/// Which of the planes are zstd frames; the others lie as they are.
mod squeezed {
    pub(super) const CLASSES: u8 = 1;
    pub(super) const FINE: u8 = 2;
    pub(super) const LOW: u8 = 4;
    pub(super) const ALL: u8 = CLASSES | FINE | LOW;
}

/// Lowest exponent, squeezed planes, two reserved bytes, number of exceptions (u32), bytes of the
/// three planes (u32 each).
const HEAD: usize = 20;
/// Index of the value (u32), exponent.
const EXCEPTION: usize = 5;
/// So many values, four pairs, share three bytes of fine bits.
const ROUND: usize = 8;
/// Exponents with a class: 8 classes of 2.
const CLASSED: u8 = 16;
/// The largest of finite values.
const MAX_EXPONENT: u8 = 30;
/// With more exceptions among the values than one in so many, high bytes compress better.
const RARE: usize = 64;
/// A plane is squeezed, and with repetitions, if that takes one byte in so many away: less isn't worth the time it
/// costs a reader.
const WORTH: usize = 32;

/// With at most one in so many, exceptions cost too little to try another form.
const HARDLY_ANY: usize = 1024;

/// What [`compress`] made of the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Only signs and classes compress, as in latents fresh from an encoder.
    Good,
    /// Other bits compress too, as in values that were rounded, or there are exceptions: another
    /// form may be smaller.
    Doubtful,
    /// Exponents are too far apart, or values too few: nothing was written.
    Unfit,
}

fn exponent(value: f16) -> u8 {
    (value.to_bits() >> 10) as u8 & 31
}

/// The exponent that classes best begin with, and how many values have none then.
fn lowest_of(values: &[f16]) -> (u8, usize) {
    let mut counts = [0usize; 32];
    for value in values {
        counts[usize::from(exponent(*value))] += 1;
    }
    let total = values.len() as f64;
    let cost = |lowest: u8| {
        let from = usize::from(lowest);
        let classes = counts[from..from + usize::from(CLASSED)].chunks_exact(2);
        let (mut bits, mut inside) = (0.0, 0);
        for count in classes.map(|two| two.iter().sum::<usize>()) {
            inside += count;
            bits += count as f64 * (total / count.max(1) as f64).log2();
        }
        let outside = values.len() - inside;
        (bits + (8 * EXCEPTION * outside) as f64, lowest, outside)
    };
    let costs = (0..=MAX_EXPONENT + 1 - CLASSED).map(cost);
    let best = costs.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or((0, values.len()), |(_, lowest, outside)| (lowest, outside))
}

/// Class, and the exponent's lowest bit with the mantissa's two highest; of an exponent without a class, those
/// of one that has.
fn split(value: f16, lowest: u8) -> (u8, u8) {
    let above = exponent(value).wrapping_sub(lowest);
    let above = if above < CLASSED { above } else { 0 };
    let mantissa = (value.to_bits() >> 8) as u8 & 3;
    (above >> 1, (above & 1) << 2 | mantissa)
}

/// Appends `values` as pairs, unless they are unfit for it.
pub(super) fn compress(values: &[f16], out: &mut Vec<u8>) -> Result<Fit> {
    let (rounds, rest) = values.as_chunks::<ROUND>();
    let part = rounds.len();
    let paired = rounds.as_flattened();
    let (lowest, outside) = lowest_of(paired);
    if part == 0 || outside > paired.len() / RARE {
        return Ok(Fit::Unfit);
    }
    let (pairs, _) = paired.as_chunks::<2>();
    let sign = |value: f16| (value.to_bits() >> 15) as u8;
    let class = |[a, b]: &[f16; 2]| {
        let of = |value| split(value, lowest).0;
        of(*a) | of(*b) << 3 | sign(*a) << 6 | sign(*b) << 7
    };
    let fine = |[a, b]: &[f16; 2]| split(*a, lowest).1 | split(*b, lowest).1 << 3;
    let classes: Vec<u8> = pairs.iter().map(class).collect();
    let mut fine: Vec<u8> = pairs.iter().map(fine).collect();
    // The last quarter of the pairs has its fine bits above those of the others.
    let (three, last) = fine.split_at_mut(3 * part);
    for (which, third) in three.chunks_exact_mut(part).enumerate() {
        for (byte, last) in third.iter_mut().zip(&*last) {
            *byte |= (last >> (2 * which) & 3) << 6;
        }
    }
    let mut low = Vec::with_capacity(paired.len());
    low.extend(pairs.iter().map(|[a, _]| a.to_bits() as u8));
    low.extend(pairs.iter().map(|[_, b]| b.to_bits() as u8));

    let mut which = 0;
    let mut plane = |bit: u8, plane: Vec<u8>, frame: Vec<u8>| {
        if frame.len() + plane.len() / WORTH <= plane.len() {
            which |= bit;
            return frame;
        }
        plane
    };
    fine.truncate(3 * part);
    let frame = squeeze_classes(&classes)?;
    let classes = plane(squeezed::CLASSES, classes, frame);
    let frame = squeeze(&fine, Effort::Repetitions)?;
    let fine = plane(squeezed::FINE, fine, frame);
    let frame = squeeze(&low, Effort::Repetitions)?;
    let low = plane(squeezed::LOW, low, frame);

    let planes = [classes, fine, low];
    let bytes: usize = planes.iter().map(Vec::len).sum();
    out.reserve_exact(HEAD + EXCEPTION * outside + bytes + 2 * rest.len());
    out.extend([lowest, which, 0, 0]);
    out.extend(length(outside)?);
    for plane in &planes {
        out.extend(length(plane.len())?);
    }
    for (at, value) in paired.iter().enumerate() {
        if exponent(*value).wrapping_sub(lowest) >= CLASSED {
            out.extend(length(at)?);
            out.push(exponent(*value));
        }
    }
    for plane in &planes {
        out.extend_from_slice(plane);
    }
    out.extend(rest.iter().flat_map(|value| value.to_le_bytes()));
    let noise = which & !squeezed::CLASSES == 0 && outside <= paired.len() / HARDLY_ANY;
    Ok(if noise { Fit::Good } else { Fit::Doubtful })
}

/// Repetitions in signs and classes are short. Those in latents of Stable Diffusion save a thousandth of a record,
/// and putting them together again takes a tenth of a read; those in latents of `tiny` save more than a hundredth.
fn squeeze_classes(classes: &[u8]) -> Result<Vec<u8>> {
    let repetitions = squeeze(classes, Effort::FewRepetitions)?;
    let frequencies = squeeze(classes, Effort::Frequencies)?;
    let saved = frequencies.len().saturating_sub(repetitions.len());
    Ok(if saved > frequencies.len() / WORTH {
        repetitions
    } else {
        frequencies
    })
}

/// The `values` values, all finite.
pub(super) fn decompress(values: usize, payload: &[u8]) -> Result<Vec<f16>> {
    let part = values / ROUND;
    let (head, body) = payload.split_first_chunk::<HEAD>().ok_or_else(damaged)?;
    let [lowest, which, r0, r1, numbers @ ..] = head;
    if *lowest > MAX_EXPONENT + 1 - CLASSED || *which > squeezed::ALL || [r0, r1] != [&0; 2] {
        return Err(damaged());
    }
    let (numbers, _) = numbers.as_chunks::<4>();
    let number = |at: usize| u32::from_le_bytes(numbers[at]) as usize;
    let exceptions = number(0).checked_mul(EXCEPTION).ok_or_else(damaged)?;
    let (exceptions, body) = body.split_at_checked(exceptions).ok_or_else(damaged)?;
    let (classes, body) = body.split_at_checked(number(1)).ok_or_else(damaged)?;
    let (fine, body) = body.split_at_checked(number(2)).ok_or_else(damaged)?;
    let (low, rest) = body.split_at_checked(number(3)).ok_or_else(damaged)?;
    if rest.len() != 2 * (values % ROUND) {
        return Err(damaged());
    }
    // After these, what is allocated is no more than the planes justify.
    let fine = expand(fine, which & squeezed::FINE != 0, 3 * part)?;
    let low = expand(low, which & squeezed::LOW != 0, ROUND * part)?;
    let mut scratch = Scratch::take();
    let classes = if which & squeezed::CLASSES == 0 {
        expand(classes, false, 4 * part)?
    } else {
        expand_into(&mut scratch.0, classes, 4 * part)?;
        Cow::Borrowed(&scratch.0[..])
    };

    let mut data = vec![f16::ZERO; values];
    let (paired, tail) = data.split_at_mut(ROUND * part);
    join(
        *lowest,
        &classes,
        &fine,
        &low,
        bytemuck::cast_slice_mut(paired),
    );
    if cfg!(target_endian = "big") {
        for value in &mut *paired {
            *value = f16::from_bits(value.to_bits().swap_bytes());
        }
    }
    set_exceptions(exceptions, *lowest, paired)?;
    for (value, bytes) in tail.iter_mut().zip(rest.as_chunks().0) {
        *value = f16::from_le_bytes(*bytes);
        if !value.is_finite() {
            return Err(not_finite());
        }
    }
    Ok(data)
}

/// Puts the values of all pairs together, as the bytes of two little-endian f16 each.
fn join(lowest: u8, classes: &[u8], fine: &[u8], low: &[u8], out: &mut [[u8; 4]]) {
    // The high byte of a positive value of the lowest class; at most 2 (7 + 1) exponents above it is 30, so no
    // infinity can come of it.
    let base = lowest << 2;
    let pair = |classes: u8, fine: u8, low_a: u8, low_b: u8| {
        let a = base + (classes << 3 & 0x38) + (fine & 7);
        let b = base + (classes & 0x38) + (fine >> 3 & 7);
        [low_a, a | classes << 1 & 0x80, low_b, b | classes & 0x80]
    };
    let part = out.len() / 4;
    let (low_a, low_b) = low.split_at(out.len());
    let (out, last_out) = out.split_at_mut(3 * part);
    let (classes, last_classes) = classes.split_at(3 * part);
    let (low_a, last_a) = low_a.split_at(3 * part);
    let (low_b, last_b) = low_b.split_at(3 * part);
    let planes = classes.iter().zip(fine).zip(low_a).zip(low_b);
    for (out, (((classes, fine), a), b)) in out.iter_mut().zip(planes) {
        *out = pair(*classes, *fine, *a, *b);
    }
    let (fine_0, fine) = fine.split_at(part);
    let (fine_1, fine_2) = fine.split_at(part);
    let fine = fine_0.iter().zip(fine_1).zip(fine_2);
    let planes = last_classes.iter().zip(fine).zip(last_a).zip(last_b);
    for (out, (((classes, ((f0, f1), f2)), a), b)) in last_out.iter_mut().zip(planes) {
        *out = pair(*classes, f0 >> 6 | f1 >> 4 & 0xc | f2 >> 2 & 0x30, *a, *b);
    }
}

/// Gives values their exponents that have no class.
fn set_exceptions(exceptions: &[u8], lowest: u8, values: &mut [f16]) -> Result<()> {
    let mut least = 0;
    for [i0, i1, i2, i3, exponent] in exceptions.as_chunks::<EXCEPTION>().0 {
        let at = u32::from_le_bytes([*i0, *i1, *i2, *i3]) as usize;
        if *exponent > MAX_EXPONENT {
            return Err(not_finite());
        }
        let value = values.get_mut(at).filter(|_| at >= least);
        let value = value.filter(|_| exponent.wrapping_sub(lowest) >= CLASSED);
        let value = value.ok_or_else(damaged)?;
        *value = f16::from_bits(value.to_bits() & 0x83ff | u16::from(*exponent) << 10);
        least = at + 1;
    }
    Ok(())
}

fn not_finite() -> Error {
    Error::corrupted("the compressed latent has a value that is not finite")
}

/// A buffer that the next call on the same thread uses again.
struct Scratch(Vec<u8>);

impl Scratch {
    /// A larger one isn't kept: a thread that read one huge latent would hold its memory for ever.
    const MOST: usize = 1 << 20;

    fn take() -> Self {
        Self(SCRATCH.take())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.0.capacity() <= Self::MOST {
            SCRATCH.set(std::mem::take(&mut self.0));
        }
    }
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
