//! Puts right what guards arbitrary bytes, so that fuzzing gets behind checksums.
//!
//! Invariant: bytes that the store wrote stay what they are. Reserved bytes, which the store writes as 0 and nobody
//! reads, say what is left wrong.

use twox_hash::XxHash3_64;

use super::super::frame::{CHECKSUM, MAGIC};
use crate::backend::{MAX_FACTS_BYTES, MAX_KEY_BYTES};

const FRAME_PREFIX: usize = 32;
const HEADER_PREFIX: usize = 12;
const TRAILER: usize = 56;
const TABLE_PREFIX: usize = 22;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut number = [0; 8];
    number[..N].copy_from_slice(bytes.get(at..at + N)?);
    Some(u64::from_le_bytes(number))
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Puts the checksum of a segment's header right; where it ends, and the seed of the frames behind it.
pub(super) fn fix_header(bytes: &mut [u8]) -> Option<(usize, u64)> {
    let end = HEADER_PREFIX + number::<4>(bytes, 8)? as usize;
    let seed = XxHash3_64::oneshot(bytes.get(..end)?);
    bytes.get(end..end + CHECKSUM)?;
    set(bytes, end, &seed.to_le_bytes());
    Some((end + CHECKSUM, seed))
}

/// Puts magic, lengths, sequence number and checksums of the frame at `at` right; where it ends.
pub(super) fn fix_frame(bytes: &mut [u8], at: usize, seed: u64, sequence: u64) -> Option<usize> {
    let seed = seed.wrapping_add(at as u64);
    let frame = bytes.get_mut(at..)?;
    let wrong = *frame.get(10)?;
    let key = number::<2>(frame, 6)?.clamp(1, MAX_KEY_BYTES as u64) as usize;
    let facts = number::<2>(frame, 8)?.min(MAX_FACTS_BYTES as u64) as usize;
    let head = FRAME_PREFIX + key + facts;
    let room = frame.len().checked_sub(head + 2 * CHECKSUM)?;
    let body = number::<8>(frame, 16)?.min(room as u64) as usize;
    if wrong & 1 == 0 {
        set(frame, 0, &MAGIC);
        set(frame, 6, &(key as u16).to_le_bytes());
        set(frame, 8, &(facts as u16).to_le_bytes());
        set(frame, 16, &(body as u64).to_le_bytes());
    }
    if wrong & 2 == 0 {
        set(frame, 24, &sequence.to_le_bytes());
    }
    if wrong & 4 == 0 {
        let checksum = XxHash3_64::oneshot_with_seed(seed, &frame[..head]);
        set(frame, head, &checksum.to_le_bytes());
    }
    let (start, end) = (head + CHECKSUM, head + CHECKSUM + body);
    if wrong & 8 == 0 {
        let checksum = XxHash3_64::oneshot_with_seed(seed, &frame[start..end]);
        set(frame, end, &checksum.to_le_bytes());
    }
    Some(at + end + CHECKSUM)
}

/// Puts the checksums of a footer at the end of `bytes` right, if it looks like one.
pub(super) fn fix_footer(bytes: &mut [u8], start: usize) -> Option<usize> {
    let trailer = bytes.len().checked_sub(TRAILER).filter(|at| *at >= start)?;
    if !bytes.ends_with(b"LDBI") {
        return None;
    }
    let table = usize::try_from(number::<8>(bytes, trailer)?).ok()?;
    if !(start..=trailer).contains(&table) {
        return None;
    }
    let (mut at, mut first) = (table, table);
    while at + TABLE_PREFIX <= trailer {
        let offset = usize::try_from(number::<8>(bytes, at)?).ok()?;
        let length = number::<4>(bytes, at + 8)? as usize;
        if let Some(block) = offset
            .checked_add(length)
            .and_then(|end| bytes.get(offset..end))
        {
            let checksum = XxHash3_64::oneshot(block);
            set(bytes, at + 12, &checksum.to_le_bytes());
            first = first.min(offset);
        }
        at += TABLE_PREFIX + number::<2>(bytes, at + 20)? as usize;
    }
    set(
        bytes,
        trailer + 8,
        &((trailer - table) as u64).to_le_bytes(),
    );
    let checksum = XxHash3_64::oneshot(&bytes[table..trailer]);
    set(bytes, trailer + 16, &checksum.to_le_bytes());
    set(bytes, trailer + 40, &1u16.to_le_bytes());
    let checksum = XxHash3_64::oneshot(&bytes[trailer..trailer + 44]);
    set(bytes, trailer + 44, &checksum.to_le_bytes());
    Some(first)
}

/// Puts a whole segment right whose operations begin with `sequence`.
pub(super) fn fix_segment(bytes: &mut [u8], sequence: u64) {
    let Some((start, seed)) = fix_header(bytes) else {
        return;
    };
    let end = fix_footer(bytes, start).unwrap_or(bytes.len());
    let (mut at, mut sequence) = (start, sequence);
    while let Some(next) = fix_frame(&mut bytes[..end], at, seed, sequence) {
        at = next;
        sequence = sequence.wrapping_add(1);
    }
    // Frames may have changed what the footer's checksums are of only where the two overlap.
    fix_footer(bytes, start);
}
