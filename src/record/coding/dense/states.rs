//! Residuals as numbers of few bits, and back: range asymmetric numeral systems (J. Duda,
//! arXiv:1311.2540) with several states that share one stream of words.
//!
//! Invariant: a state is at least `LEAST` and below `LEAST << 16` between two symbols. A decoder that
//! ends with other states than an encoder begins with has read something else than was written.

use super::distribution::{SLOTS, Slots};

/// What an encoder begins with, and a decoder ends with.
const LEAST: u64 = 1 << 24;
/// Bytes of a state.
pub(super) const STATE: usize = 5;
/// Most states; so many channels are decoded beside each other.
pub(super) const MOST: usize = 4;

/// Collects symbols in the order in which they will be decoded.
#[derive(Default)]
pub(super) struct Symbols(Vec<(u8, Slots)>);

impl Symbols {
    #[inline]
    pub(super) fn push(&mut self, state: usize, slots: Slots) {
        self.0.push((state as u8, slots));
    }

    /// The states that a decoder begins with, and the words.
    pub(super) fn into_bytes(self, states: usize) -> Vec<u8> {
        let mut at = [LEAST; MOST];
        let mut words = Vec::with_capacity(self.0.len() / 3);
        for (state, slots) in self.0.into_iter().rev() {
            let state = &mut at[usize::from(state)];
            let count = u64::from(slots.count);
            if *state >= (LEAST / u64::from(SLOTS) * count) << 16 {
                words.push(*state as u16);
                *state >>= 16;
            }
            *state = ((*state / count) << 16) + *state % count + u64::from(slots.first);
        }
        let states = at[..states].iter();
        let mut out: Vec<u8> = states
            .flat_map(|state| state.to_le_bytes().into_iter().take(STATE))
            .collect();
        out.extend(words.into_iter().rev().flat_map(u16::to_le_bytes));
        out
    }
}

/// Reads what [`Symbols::into_bytes`] wrote.
pub(super) struct States<'a> {
    now: [u64; MOST],
    words: &'a [[u8; 2]],
    next: usize,
}

impl<'a> States<'a> {
    /// None if the bytes can't be so many states and words.
    pub(super) fn new(bytes: &'a [u8], states: usize) -> Option<Self> {
        let (first, words) = bytes.split_at_checked(states * STATE)?;
        let (words, []) = words.as_chunks() else {
            return None;
        };
        let mut at = [LEAST; MOST];
        for (state, bytes) in at.iter_mut().zip(first.chunks_exact(STATE)) {
            *state = bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
        }
        let next = 0;
        Some(Self {
            now: at,
            words,
            next,
        })
    }

    /// The slot that `state` stands for.
    #[inline]
    pub(super) fn slot(&self, state: usize) -> u32 {
        self.now[state % MOST] as u32 % SLOTS
    }

    /// Goes on from `slot`, which is one of these.
    #[inline]
    pub(super) fn advance(&mut self, state: usize, slot: u32, slots: Slots) {
        let state = &mut self.now[state % MOST];
        let mut next = u64::from(slots.count) * (*state >> 16);
        next = next
            .wrapping_add(u64::from(slot))
            .wrapping_sub(u64::from(slots.first));
        let word = self
            .words
            .get(self.next)
            .map_or(0, |word| u64::from(u16::from_le_bytes(*word)));
        let short = next < LEAST;
        *state = if short { next << 16 | word } else { next };
        self.next += usize::from(short);
    }

    /// Whether all has been read, and nothing else.
    pub(super) fn at_end(&self) -> bool {
        self.next == self.words.len() && self.now == [LEAST; MOST]
    }
}
