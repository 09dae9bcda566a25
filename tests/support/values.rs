//! Items whose key and version say every byte they must have, and chance that a seed repeats.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::Path;

use latentdb::Result;
use latentdb::backend::{LocalBackend, Mode, Operation};

/// Numbers that look random (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Between `low` and `high`, each order of magnitude as likely as another.
    pub(crate) fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        let unit = self.below(1 << 53) as f64 / (1u64 << 53) as f64;
        low * (high / low).powf(unit)
    }
}

/// A seed that no other run has.
pub(crate) fn any_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// The body of version `version` of `key`: mostly small, sometimes empty, sometimes larger than a small segment.
pub(crate) fn body(key: &str, version: u64) -> Vec<u8> {
    let mut rng = Rng(key.bytes().fold(version, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    }));
    let length = match rng.below(40) {
        0 => 0,
        1 => 10_000 + rng.below(30_000),
        _ => rng.below(1200),
    };
    let words = std::iter::repeat_with(|| rng.next().to_le_bytes()).flatten();
    words.take(length as usize).collect()
}

/// The facts of a version: they say which one it is.
pub(crate) fn facts(version: u64) -> Vec<u8> {
    let mut facts = version.to_le_bytes().to_vec();
    facts.resize(8 + (version % 50) as usize, 7);
    facts
}

/// The version whose facts these are.
pub(crate) fn version_of(found: &[u8]) -> u64 {
    let version = u64::from_le_bytes(*found.first_chunk().unwrap());
    assert_eq!(found, facts(version));
    version
}

pub(crate) fn put(key: &str, version: u64, mode: Mode) -> Operation {
    Operation::Put {
        key: key.into(),
        bytes: body(key, version),
        facts: facts(version),
        mode,
    }
}

pub(crate) fn delete(key: &str) -> Operation {
    Operation::Delete { key: key.into() }
}

/// Opens a store for writing whose segments are small, so that a test fills many.
#[cfg(feature = "fuzzing")]
pub(crate) fn open_small(path: &Path, segment_bytes: u64) -> Result<LocalBackend> {
    latentdb::fuzzing::open(path, segment_bytes)
}

/// Opens a store for writing, with segments as they are.
#[cfg(not(feature = "fuzzing"))]
pub(crate) fn open_small(path: &Path, _: u64) -> Result<LocalBackend> {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        super::skipped("segments of many sizes: without `--all-features` a segment has 256 MiB");
    });
    LocalBackend::open(path)
}
