//! A part of many images, the same in every run.
//!
//! Invariant: parts are disjoint, and together they are the whole.

use crate::error::{Error, Result};

/// One of `of` parts of the inputs: number `part`, counted from 0.
///
/// Parsed from `I/N`. An input belongs to the part that the BLAKE3 of its relative path says, so that the parts are
/// about equal, and the same in every run and on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    part: u64,
    of: u64,
}

impl std::str::FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text
            .split_once('/')
            .map(|(part, of)| (part.parse(), of.parse()));
        match numbers {
            Some((Ok(part), Ok(of))) if part < of => Ok(Self { part, of }),
            _ => Err(Error::invalid(format!(
                "`{}` is no part: I/N with I from 0 to N-1, such as 0/8",
                text.escape_debug()
            ))),
        }
    }
}

impl Shard {
    pub(super) fn has(self, path: &str) -> bool {
        let hash = blake3::hash(path.as_bytes());
        let (first, _) = hash.as_bytes().as_chunks::<8>();
        u64::from_le_bytes(first[0]) % self.of == self.part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_belongs_to_one_part_and_always_the_same() {
        let parts = |text: &str| text.parse::<Shard>().unwrap();
        let mut counts = [0; 4];
        for n in 0..1000 {
            let path = format!("folder/{n}.png");
            let of: Vec<_> = (0..4)
                .filter(|part| parts(&format!("{part}/4")).has(&path))
                .collect();
            assert_eq!(of.len(), 1, "{path}");
            counts[of[0]] += 1;
        }
        assert!(
            counts.iter().all(|count| (200..300).contains(count)),
            "{counts:?}"
        );
        // Computed with Python's blake3: jobs of different versions must agree.
        for (n, part) in [2, 0, 3, 1].into_iter().enumerate() {
            assert!(parts(&format!("{part}/4")).has(&format!("folder/{n}.png")));
        }
    }
}
