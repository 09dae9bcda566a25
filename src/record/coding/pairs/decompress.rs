//! Pairs back to values.
//!
//! Invariant: whatever the bytes, values that are returned are finite, and as many as were asked for;
//! nothing is allocated that the planes don't justify.
//!
//! The planes lie so that every step works on whole slices, which the compiler turns into vector instructions.

use std::borrow::Cow;
use std::cell::Cell;

use half::f16;

use super::super::{damaged, expand, expand_into};
use super::{EXCEPTION, MAX_EXPONENT, MAX_LOWEST, ROUND, SEGMENT, place, segment, squeezed};
use crate::error::{Error, Result};

/// Lowest exponent, squeezed planes, two reserved bytes, number of exceptions (u32), bytes of the
/// three planes (u32 each).
const HEAD: usize = 20;

/// Where the lowest exponents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Layout {
    /// One in the head, for all values.
    Whole,
    /// One for each segment, after the head.
    Segments,
}

/// A payload in its parts; planes are as they lie.
struct Parts<'a> {
    squeezed: u8,
    segments: &'a [u8],
    exceptions: &'a [u8],
    classes: &'a [u8],
    fine: &'a [u8],
    low: &'a [u8],
    /// The values that are no pairs.
    rest: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(layout: Layout, values: usize, payload: &'a [u8]) -> Result<Self> {
        let (head, body) = payload.split_first_chunk::<HEAD>().ok_or_else(damaged)?;
        let [lowest, squeezed, r0, r1, numbers @ ..] = head;
        let most = match layout {
            Layout::Whole => MAX_LOWEST,
            Layout::Segments => 0,
        };
        if *lowest > most || *squeezed > squeezed::ALL || [r0, r1] != [&0; 2] {
            return Err(damaged());
        }
        let (segments, body) = match layout {
            Layout::Whole => (std::slice::from_ref(lowest), body),
            Layout::Segments => body
                .split_at_checked((values - values % ROUND).div_ceil(SEGMENT))
                .ok_or_else(damaged)?,
        };
        if segments.iter().any(|byte| byte & !segment::ALL != 0) {
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
        Ok(Self {
            squeezed: *squeezed,
            segments,
            exceptions,
            classes,
            fine,
            low,
            rest,
        })
    }
}

/// The `values` values, all finite.
pub(in super::super) fn decompress(
    layout: Layout,
    values: usize,
    payload: &[u8],
) -> Result<Vec<f16>> {
    let parts = Parts::of(layout, values, payload)?;
    let paired = values - values % ROUND;
    let is_frame = |plane: u8| parts.squeezed & plane != 0;
    let fine = expand(parts.fine, is_frame(squeezed::FINE), paired / ROUND * 3)?;
    let low = expand(parts.low, is_frame(squeezed::LOW), paired)?;
    let mut scratch = Scratch::take();
    let classes = if is_frame(squeezed::CLASSES) {
        expand_into(&mut scratch.0, parts.classes, paired / 2)?;
        Cow::Borrowed(&scratch.0[..])
    } else {
        expand(parts.classes, false, paired / 2)?
    };

    let (of_segment, fours) = match layout {
        Layout::Whole => (paired, 0),
        Layout::Segments => (SEGMENT, paired / SEGMENT / 4),
    };
    let mut data = Vec::with_capacity(values);
    for (at, segment) in parts.segments.iter().enumerate() {
        let first = at * of_segment;
        let pairs = of_segment.min(paired - first) / 2;
        let classes = &classes[place(at, fours) * of_segment / 2..][..pairs];
        let fine = &fine[first / ROUND * 3..][..pairs / 4 * 3];
        let low = &low[first..][..2 * pairs];
        // Segment after segment, zeros are still in the cache when values take their place.
        data.resize(first + 2 * pairs, f16::ZERO);
        let out = bytemuck::cast_slice_mut(&mut data[first..]);
        join(*segment, classes, fine, low, out);
    }
    if cfg!(target_endian = "big") {
        for value in &mut data {
            *value = f16::from_bits(value.to_bits().swap_bytes());
        }
    }
    set_exceptions(parts.exceptions, &mut data)?;
    for bytes in parts.rest.as_chunks().0 {
        let value = f16::from_le_bytes(*bytes);
        if !value.is_finite() {
            return Err(not_finite());
        }
        data.push(value);
    }
    Ok(data)
}

/// Puts the values of a segment together, as the bytes of two little-endian f16 each.
fn join(segment: u8, classes: &[u8], fine: &[u8], low: &[u8], out: &mut [[u8; 4]]) {
    // The high byte of a positive value of the lowest class; at most 2 (7 + 1) exponents above it is 30, so no
    // infinity can come of it.
    let base = (segment & segment::LOWEST) << 2;
    let signs = segment::signs(segment);
    let pair = |classes: u8, fine: u8, low_a: u8, low_b: u8| {
        let classes = classes ^ signs;
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

/// Gives values their exponents that their pairs don't say.
fn set_exceptions(exceptions: &[u8], values: &mut [f16]) -> Result<()> {
    let mut least = 0;
    for [i0, i1, i2, i3, exponent] in exceptions.as_chunks::<EXCEPTION>().0 {
        let at = u32::from_le_bytes([*i0, *i1, *i2, *i3]) as usize;
        if *exponent > MAX_EXPONENT {
            return Err(not_finite());
        }
        let value = values.get_mut(at).filter(|_| at >= least);
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
