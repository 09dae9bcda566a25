//! The alpha of an image, without loss.
//!
//! Invariant: every byte comes back. Rows are predicted as in a PNG (W3C PNG, section 9) where that takes less, as it
//! does for soft edges and gradients; masks of 0 and 255 are mostly kept as they are.

use super::{Effort, damaged, expand, squeeze};
use crate::error::Result;

/// What the payload begins with; a zstd frame follows.
mod form {
    /// The bytes as they are, row by row.
    pub(super) const PLAIN: u8 = 0;
    /// Before each row the number of its filter; its bytes are differences from what the filter predicts.
    pub(super) const FILTERED: u8 = 1;
}

/// PNG's filters: a byte is predicted by nothing, the one to its left, the one above, their mean, or Paeth's choice.
const FILTERS: u8 = 5;

/// `alpha`, in rows of `width` bytes.
pub(in crate::record) fn compress(alpha: &[u8], width: usize) -> Result<Vec<u8>> {
    let plain = squeeze(alpha, Effort::Repetitions)?;
    let filtered = squeeze(&filtered(alpha, width), Effort::Repetitions)?;
    let (form, frame) = if filtered.len() < plain.len() {
        (form::FILTERED, filtered)
    } else {
        (form::PLAIN, plain)
    };
    Ok([&[form], &frame[..]].concat())
}

/// What [`compress`] was given: `length` bytes in rows of `width`.
pub(in crate::record) fn decompress(
    payload: &[u8],
    width: usize,
    length: usize,
) -> Result<Vec<u8>> {
    match payload.split_first() {
        Some((&form::PLAIN, frame)) => Ok(expand(frame, true, length)?.into_owned()),
        Some((&form::FILTERED, frame)) => {
            let rows = expand(frame, true, length + length / width)?;
            unfiltered(&rows, width)
        }
        _ => Err(damaged()),
    }
}

fn filtered(alpha: &[u8], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(alpha.len() + alpha.len() / width);
    let mut above = vec![0; width];
    let mut tried = vec![0; width];
    for row in alpha.chunks_exact(width) {
        // The sum of differences, taken as signed, is PNG's own rule of thumb for what compresses best.
        let mut best = None;
        for filter in 0..FILTERS {
            for (at, tried) in tried.iter_mut().enumerate() {
                *tried = row[at].wrapping_sub(predicted(filter, row, &above, at));
            }
            let cost = |byte: &u8| u64::from(byte.cast_signed().unsigned_abs());
            let cost: u64 = tried.iter().map(cost).sum();
            if best.as_ref().is_none_or(|(least, _, _)| cost < *least) {
                best = Some((cost, filter, tried.clone()));
            }
        }
        let (_, filter, differences) = best.expect("there are filters");
        out.push(filter);
        out.extend(differences);
        above.copy_from_slice(row);
    }
    out
}

fn unfiltered(rows: &[u8], width: usize) -> Result<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(rows.len());
    let mut above = vec![0; width];
    let mut row = vec![0; width];
    for line in rows.chunks_exact(width + 1) {
        let (filter, differences) = (line[0], &line[1..]);
        if filter >= FILTERS {
            return Err(damaged());
        }
        for (at, difference) in differences.iter().enumerate() {
            row[at] = difference.wrapping_add(predicted(filter, &row, &above, at));
        }
        out.extend_from_slice(&row);
        above.copy_from_slice(&row);
    }
    Ok(out)
}

/// What `filter` predicts for the byte `at`, from those before it in its row and the row above.
fn predicted(filter: u8, row: &[u8], above: &[u8], at: usize) -> u8 {
    let left = if at > 0 { row[at - 1] } else { 0 };
    let up = above[at];
    match filter {
        1 => left,
        2 => up,
        3 => u8::midpoint(left, up),
        4 => {
            let corner = if at > 0 { above[at - 1] } else { 0 };
            paeth(left, up, corner)
        }
        _ => 0,
    }
}

/// The neighbour nearest to left + up - corner; in doubt left, then up.
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let [a, b, c] = [left, up, corner].map(i16::from);
    let (near_left, near_up, near_corner) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    if near_left <= near_up && near_left <= near_corner {
        left
    } else if near_up <= near_corner {
        up
    } else {
        corner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(alpha: &[u8], width: usize) -> usize {
        let payload = compress(alpha, width).unwrap();
        assert!(decompress(&payload, width, alpha.len()).unwrap() == alpha);
        payload.len()
    }

    #[test]
    fn masks_and_soft_edges_take_little() {
        let side = 256;
        let disc = |soft: f64| {
            let alpha = (0..side * side).map(|at| {
                let (x, y) = ((at % side) as f64 - 127.5, (at / side) as f64 - 127.5);
                (((100.0 - x.hypot(y)) / soft + 0.5) * 255.0).clamp(0.0, 255.0) as u8
            });
            there_and_back(&alpha.collect::<Vec<_>>(), side)
        };
        // A bit a pixel would be 8,192 bytes.
        let (hard, smooth, gradient) = (disc(0.001), disc(1.0), disc(100.0));
        assert!(hard < 1_000, "{hard}");
        assert!(smooth < 2_500, "{smooth}");
        assert!(gradient < 16_000, "{gradient}");
    }

    #[test]
    fn damage_is_an_error_and_takes_no_memory() {
        let alpha: Vec<u8> = (0..64u32).map(|i| (i * i) as u8).collect();
        let payload = compress(&alpha, 8).unwrap();
        for length in 0..payload.len() {
            assert!(decompress(&payload[..length], 8, 64).is_err(), "{length}");
        }
        assert!(decompress(&payload, 8, 1 << 40).is_err());
        assert!(decompress(&payload, 8, 72).is_err());
        assert!(decompress(&[7, 0], 8, 64).is_err());
        let filter = [
            &[form::FILTERED][..],
            &squeeze(&[9; 72], Effort::Repetitions).unwrap(),
        ]
        .concat();
        assert!(decompress(&filter, 8, 64).is_err());
    }

    proptest! {
        #[test]
        fn any_alpha_comes_back(width in 1usize..20, height in 1usize..20, seed: u64, steps in 1u64..256) {
            let value = |at: u64| (seed.wrapping_mul(at * at + 1) >> 32) % steps;
            let alpha: Vec<u8> = (0..(width * height) as u64).map(|at| value(at) as u8).collect();
            there_and_back(&alpha, width);
        }
    }
}
