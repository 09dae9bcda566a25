//! Bits that no distribution helps with: the lowest first in each byte.
//!
//! Invariant: reading past the end gives zeros and is remembered; nothing is read twice.

/// Most bits that are written or read at once.
pub(super) const MOST: u32 = 56;

#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    count: u32,
}

impl BitWriter {
    /// The lowest `count` bits, at most [`MOST`]; the others of `bits` are 0.
    #[inline]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        debug_assert!(count <= MOST && bits >> count == 0);
        self.pending |= bits << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// Two's complement of `count` bits.
    pub(super) fn put_signed(&mut self, value: i32, count: u32) {
        self.put(i64::from(value).cast_unsigned() & ((1 << count) - 1), count);
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.bytes.push(self.pending as u8);
        }
        self.bytes
    }
}

pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// In bits.
    next: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, next: 0 }
    }

    /// The next [`MOST`] bits or more.
    #[inline]
    pub(super) fn peek(&self) -> u64 {
        let at = self.next / 8;
        let bytes = match self.bytes.get(at..at + 8).and_then(<[u8]>::first_chunk) {
            Some(bytes) => *bytes,
            None => self.last(at),
        };
        u64::from_le_bytes(bytes) >> (self.next % 8)
    }

    #[cold]
    fn last(&self, at: usize) -> [u8; 8] {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(self.bytes.iter().skip(at)) {
            *to = *from;
        }
        bytes
    }

    #[inline]
    pub(super) fn skip(&mut self, count: u32) {
        self.next += count as usize;
    }

    /// The next `count` bits, at most [`MOST`].
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> u64 {
        let bits = self.peek() & ((1 << count) - 1);
        self.skip(count);
        bits
    }

    /// Two's complement of `count` bits.
    pub(super) fn take_signed(&mut self, count: u32) -> i32 {
        let bits = self.take(count).cast_signed();
        let sign = (bits >> count.saturating_sub(1)) & 1;
        (bits - (sign << count)) as i32
    }

    /// Whether the last byte that there is was the last one that was needed.
    pub(super) fn at_end(&self) -> bool {
        self.next.div_ceil(8) == self.bytes.len()
    }
}
