//! Where tiles lie in an image.
//!
//! Invariant: pure geometry; knows no model and no pixels.

/// How an image is cut for a model: squares that overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tiling {
    /// Side of a tile, in pixels.
    pub size: u32,
    /// How far neighbouring tiles lie over each other, in pixels.
    pub overlap: u32,
}

/// `SIZE:OVERLAP`, such as `512:64`.
impl std::fmt::Display for Tiling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.size, self.overlap)
    }
}
