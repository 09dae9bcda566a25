//! The one Huffman code of signs and classes, and zstd frames that are made with it.
//!
//! Invariant: `LENGTHS` and `TREE` are the same code and never change, as stored frames were made with it.
//!
//! A frame of zstd brings the code it was made with, and getting that ready is a quarter of what zstd takes for the
//! pairs of a latent of 512x512 pixels. The pairs of segments are so much alike that one code does for all; zstd
//! knows it from a dictionary, which holds nothing else, and every program that has the dictionary can read the
//! frames. The lengths come from `benches/pair_code.py`.

use std::sync::LazyLock;

use zstd::dict::DecoderDictionary;

use super::EXCEPTION;

/// The longest code.
const MOST_BITS: u8 = 11;

/// How many bits the code of each byte has; 0: none, for pairs that hardly ever occur.
///
/// A row for the class of the second value, a block for the signs (the first one negative, the second, both).
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
     0,  0,  0,  0,  0, 11, 11,  0,
     0, 11,  0, 11, 11, 11, 11,  0,
     0,  0, 11, 11, 11, 11, 10, 11,
     0, 11, 11, 11, 10,  9,  9, 11,
     0, 11, 11, 10,  8,  6,  6, 11,
    11, 11, 11,  9,  6,  4,  4,  9,
    11, 11, 10,  9,  6,  4,  2,  6,
     0,  0, 11, 11, 11,  9,  6,  8,

     0,  0,  0,  0, 11, 11, 11, 11,
     0,  0,  0,  0, 11, 11, 11,  0,
     0,  0, 11, 11, 11, 11, 11,  0,
     0, 11, 11, 11, 10,  9, 10, 11,
    11, 11, 11, 10,  8,  7,  8, 11,
    11, 11, 11,  9,  7,  6,  6, 11,
    11, 11, 11,  9,  7,  5,  6, 10,
     0,  0, 11, 11, 11, 10,  9, 11,

     0,  0,  0,  0, 11, 11, 11,  0,
     0,  0,  0, 11, 11, 11, 11,  0,
     0,  0, 11, 11, 11, 11, 10, 11,
     0,  0, 11, 11, 10,  9,  9, 11,
    11, 11, 11, 10,  8,  7,  7, 11,
    11, 11, 11,  9,  7,  6,  5,  9,
    11, 11, 11, 10,  8,  6,  6,  9,
    11,  0,  0, 11, 11, 11, 10, 11,

     0,  0,  0,  0, 11, 11, 11, 11,
     0,  0,  0, 11, 11, 11, 11,  0,
     0,  0, 11, 11, 11, 11, 11, 11,
     0, 11, 11, 11, 10,  9, 10, 11,
    11, 11, 11, 10,  8,  7,  8, 11,
    11, 11, 11,  9,  7,  5,  6, 10,
    11, 11, 11, 10,  8,  6,  5,  8,
    11,  0, 11, 11, 11, 10,  8,  9,
];

/// The lengths as zstd writes them: a byte of length, then half of them as weights in a code of their own.
const TREE: [u8; 83] = [
    82, 128, 28, 77, 154, 198, 55, 215, 127, 119, 9, 88, 91, 239, 152, 111, 23, 106, 5, 140, 149,
    225, 41, 112, 190, 85, 137, 141, 131, 48, 118, 43, 39, 88, 187, 80, 113, 231, 210, 177, 38,
    236, 110, 13, 32, 20, 35, 235, 157, 17, 82, 78, 248, 118, 161, 86, 144, 169, 49, 56, 130, 231,
    252, 83, 161, 144, 20, 214, 56, 138, 76, 98, 132, 19, 21, 16, 55, 84, 62, 225, 255, 95, 30,
];

/// The least that zstd calls free for private use.
const DICTIONARY_ID: u16 = 0x8000;

/// The dictionary, in the layout of RFC 8878: identification, Huffman code, three codes of sequences (which the frames
/// don't have: the smallest there are, of two symbols), three offsets, and content that these may point to.
fn dictionary() -> Vec<u8> {
    let mut bytes = 0xec30_a437_u32.to_le_bytes().to_vec();
    bytes.extend(u32::from(DICTIONARY_ID).to_le_bytes());
    bytes.extend(TREE);
    bytes.extend([0x10, 0x3f].repeat(3));
    bytes.extend([1u32, 1, 1].map(u32::to_le_bytes).as_flattened());
    bytes.extend([0; 8]);
    bytes
}

/// Shorter planes aren't worth a frame.
const SHORTEST: usize = 64;
/// The most that a block of zstd holds.
const LARGEST_BLOCK: usize = 128 * 1024;
/// A block's type, a literals section's type.
const COMPRESSED_BLOCK: u32 = 2;
const TREELESS_LITERALS: u64 = 3;

/// What a frame made with the code, or without, is read with.
pub(in super::super) static DICTIONARY: LazyLock<DecoderDictionary<'static>> =
    LazyLock::new(|| DecoderDictionary::copy(&dictionary()));

/// The code, as one who writes needs it.
pub(super) struct Code {
    codes: [u16; 256],
    /// What stands in for a byte without a code: one with the same signs and most of its classes.
    pub(super) stand_ins: [u8; 256],
    /// Bits of the code, or of what is written for a byte without one.
    pub(super) costs: [u16; 256],
}

pub(super) static CODE: LazyLock<Code> = LazyLock::new(Code::new);

impl Code {
    /// Codes go up from the longest to the shortest, and among those of one length from byte to byte.
    fn new() -> Self {
        let mut codes = [0; 256];
        let mut next = 0;
        for bits in (1..=MOST_BITS).rev() {
            for (code, _) in codes.iter_mut().zip(LENGTHS).filter(|(_, n)| *n == bits) {
                *code = next;
                next += 1;
            }
            next >>= 1;
        }
        let stand_ins = std::array::from_fn(|byte| stand_in(byte as u8));
        let costs = std::array::from_fn(|byte| {
            let instead = stand_ins[byte];
            let length = u16::from(LENGTHS[usize::from(instead)]);
            length + exceptions(byte as u8, instead) * 8 * EXCEPTION as u16
        });
        Self {
            codes,
            stand_ins,
            costs,
        }
    }

    /// `plane` as a zstd frame, unless it is too short for that, larger so, or has a byte without a code.
    pub(super) fn squeeze(&self, plane: &[u8]) -> Option<Vec<u8>> {
        let coded = |byte: &u8| LENGTHS[usize::from(*byte)] > 0;
        if plane.len() < SHORTEST || !plane.iter().all(coded) {
            return None;
        }
        let mut frame = Vec::with_capacity(plane.len());
        frame.extend(0xfd2f_b528_u32.to_le_bytes());
        // The size as a u32, one segment, a dictionary's number of two bytes.
        frame.push(0b1010_0010);
        frame.extend(DICTIONARY_ID.to_le_bytes());
        frame.extend(u32::try_from(plane.len()).ok()?.to_le_bytes());
        let blocks = plane.len().div_ceil(LARGEST_BLOCK);
        let mut blocks = plane.chunks(plane.len().div_ceil(blocks)).peekable();
        while let Some(block) = blocks.next() {
            let literals = self.literals(block)?;
            // A byte says that there are no sequences.
            let size = literals.len() as u32 + 1;
            let head = u32::from(blocks.peek().is_none()) | COMPRESSED_BLOCK << 1 | size << 3;
            frame.extend(&head.to_le_bytes()[..3]);
            frame.extend(literals);
            frame.push(0);
        }
        Some(frame)
    }

    /// A literals section in the code of the dictionary: a head, the lengths of three streams, four streams.
    fn literals(&self, block: &[u8]) -> Option<Vec<u8>> {
        let streams: Vec<Vec<u8>> = block
            .chunks(block.len().div_ceil(4))
            .map(|quarter| self.stream(quarter))
            .collect();
        let size = 6 + streams.iter().map(Vec::len).sum::<usize>();
        if streams.len() < 4 || size + 6 > block.len() {
            return None;
        }
        let (format, bits) = if block.len() < 1 << 14 {
            (2, 14)
        } else {
            (3, 18)
        };
        let sizes = (block.len() as u64) << 4 | (size as u64) << (4 + bits);
        let head = TREELESS_LITERALS | format << 2 | sizes;
        let mut section = head.to_le_bytes()[..(4 + 2 * bits) / 8].to_vec();
        for stream in &streams[..3] {
            section.extend((stream.len() as u16).to_le_bytes());
        }
        section.extend(streams.iter().flatten());
        Some(section)
    }

    /// The codes of `bytes`, the last one first, and a bit that marks the end: zstd reads from there.
    fn stream(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = Vec::with_capacity(bytes.len() * usize::from(MOST_BITS) / 8 + 8);
        let (mut bits, mut count) = (0u64, 0);
        for byte in bytes.iter().rev().map(|byte| usize::from(*byte)) {
            bits |= u64::from(self.codes[byte]) << count;
            count += LENGTHS[byte];
            if count >= 32 {
                stream.extend((bits as u32).to_le_bytes());
                bits >>= 32;
                count -= 32;
            }
        }
        bits |= 1 << count;
        stream.extend(&bits.to_le_bytes()[..=usize::from(count / 8)]);
        stream
    }
}

/// The byte with a code that has the same signs and differs in the fewest classes from `byte`.
fn stand_in(byte: u8) -> u8 {
    let coded = (0..=u8::MAX).filter(|b| LENGTHS[usize::from(*b)] > 0 && (b ^ byte) >> 6 == 0);
    let nearest = coded.min_by_key(|b| (exceptions(byte, *b), LENGTHS[usize::from(*b)]));
    nearest.unwrap_or(byte)
}

/// How many of the two values are exceptions where `instead` stands in for `byte`.
fn exceptions(byte: u8, instead: u8) -> u16 {
    let other = byte ^ instead;
    u16::from(other & 7 != 0) + u16::from(other >> 3 & 7 != 0)
}

#[cfg(test)]
mod tests {
    use zstd::bulk::Compressor;
    use zstd::zstd_safe::{CParameter, ParamSwitch};

    use super::*;
    use crate::record::coding::expand_into;

    /// Bytes of which each occurs as often as the length of its code says.
    fn fitting() -> Vec<u8> {
        let count = |length: u8| {
            if length == 0 {
                0
            } else {
                8 << (MOST_BITS - length)
            }
        };
        let bytes = (0..=u8::MAX).zip(LENGTHS);
        let mut bytes: Vec<u8> = bytes
            .flat_map(|(byte, length)| std::iter::repeat_n(byte, count(length)))
            .collect();
        // Apart from each other, so that zstd sees no repetitions.
        let mut state = 1u64;
        for at in (1..bytes.len()).rev() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            bytes.swap(at, (state >> 33) as usize % (at + 1));
        }
        bytes
    }

    #[test]
    fn the_tree_is_what_zstd_makes_of_bytes_with_these_frequencies() {
        let mut compressor = Compressor::new(1).unwrap();
        // Nothing but a Huffman code of the bytes.
        for parameter in [
            CParameter::TargetLength(1 << 17),
            CParameter::LiteralCompressionMode(ParamSwitch::Enable),
        ] {
            compressor.set_parameter(parameter).unwrap();
        }
        let frame = compressor.compress(&fitting()).unwrap();
        assert!(frame.windows(TREE.len()).any(|bytes| bytes == TREE));
    }

    #[test]
    fn zstd_reads_frames_of_every_length() {
        let fitting = fitting();
        let lengths = (0..300).chain([1023, 1024, 16_383, 16_384, 65_791, 65_792]);
        for length in lengths.chain([131_071, 131_072, 131_073, 262_145, 400_001]) {
            let plane: Vec<u8> = fitting.iter().copied().cycle().take(length).collect();
            let Some(frame) = CODE.squeeze(&plane) else {
                assert!(length < 200, "{length}");
                continue;
            };
            assert!(frame.len() < length * 3 / 4 + 40);
            let mut back = Vec::new();
            expand_into(&mut back, &frame, length).unwrap();
            assert!(back == plane, "{length}");
        }
    }

    #[test]
    fn what_the_code_does_not_fit_is_left_to_others() {
        let rare = (0..=u8::MAX).filter(|byte| LENGTHS[usize::from(*byte)] == MOST_BITS);
        let plane: Vec<u8> = rare.cycle().take(10_000).collect();
        assert!(CODE.squeeze(&plane).is_none());
        let mut plane = fitting();
        assert!(CODE.squeeze(&plane).is_some());
        assert_eq!(LENGTHS[0], 0);
        plane[5_000] = 0;
        assert!(CODE.squeeze(&plane).is_none());
    }

    #[test]
    fn every_pair_without_a_code_has_one_that_stands_in_for_it() {
        for byte in 0..=u8::MAX {
            let instead = CODE.stand_ins[usize::from(byte)];
            assert!(LENGTHS[usize::from(instead)] > 0, "{byte:#x}");
            assert_eq!(byte >> 6, instead >> 6);
            let has_code = LENGTHS[usize::from(byte)] > 0;
            assert_eq!(has_code, byte == instead);
        }
    }
}
