//! Pairs of neighbours: what compresses of both as one byte, the other bits as they are.
//!
//! Invariant: what the constants say never changes; stored latents have it.
//!
//! `FORMAT.md` draws the layout. The high byte of an f16 is sign, exponent and two bits of the
//! mantissa. An exponent is `lowest + 2 class + odd`, with a class of 3 bits; classes and signs of
//! two neighbours make one byte, and zstd's Huffman code of those bytes is all there is to decode.
//! `odd` and the mantissa are noise. Each segment of neighbours has a lowest exponent of its own, and
//! signs of which most are positive: that makes segments so alike that one code fits all.

mod code;
mod compress;
mod decompress;

pub(super) use code::DICTIONARY;
pub(super) use compress::{Fit, compress};
pub(super) use decompress::{Layout, decompress};

/// Which of the planes are zstd frames; the others lie as they are.
mod squeezed {
    pub(super) const CLASSES: u8 = 1;
    pub(super) const FINE: u8 = 2;
    pub(super) const LOW: u8 = 4;
    pub(super) const ALL: u8 = CLASSES | FINE | LOW;
}

/// Index of the value (u32), exponent.
const EXCEPTION: usize = 5;
/// So many values, four pairs, share three bytes of fine bits.
const ROUND: usize = 8;
/// So many values are a segment.
const SEGMENT: usize = 1024;
/// Exponents with a class: 8 classes of 2.
const CLASSED: u8 = 16;
/// The largest of finite values.
const MAX_EXPONENT: u8 = 30;
/// The largest lowest exponent: so no class and `odd` give an infinity.
const MAX_LOWEST: u8 = MAX_EXPONENT + 1 - CLASSED;

/// What the byte of a segment says.
mod segment {
    /// Lowest exponent.
    pub(super) const LOWEST: u8 = 15;
    /// The values were negated.
    pub(super) const NEGATED: u8 = 16;
    pub(super) const ALL: u8 = LOWEST | NEGATED;

    /// What undoes that in the byte of a pair: it turns both signs around.
    pub(super) fn signs(segment: u8) -> u8 {
        if segment & NEGATED == 0 { 0 } else { 0xc0 }
    }
}

/// The place of a segment's pairs in the plane of classes, counted in segments.
///
/// zstd decodes a quarter of the plane beside the three others, and waits for the one that takes longest. So each has
/// segments from all over the latent: of every `4 fours` segments a quarter, none of them right below the other.
fn place(segment: usize, fours: usize) -> usize {
    let four = segment / 4;
    if four < fours {
        (segment + four) % 4 * fours + four
    } else {
        segment
    }
}
