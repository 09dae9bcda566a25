//! What a camera wrote into an image file, as far as it is kept.
//!
//! Invariant: plain values; an image file's bytes are read in `image_io`, a record's in `record`.

/// What is kept of an image file's EXIF. Empty and zero where the file says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exif {
    /// When the picture was taken: `2026-11-22T10:31:05`, with the offset from UTC behind it (`+01:00`) where the
    /// camera knew it.
    pub taken: String,
    /// The camera's make and model.
    pub camera: String,
    /// The orientation as the file says it, 1 to 8 (CIPA DC-008, tag 274); 0 if it says none. It was applied: pixels
    /// are upright.
    pub orientation: u8,
    /// Where the picture was taken.
    pub position: Option<Position>,
}

/// A place on Earth, in degrees (WGS 84).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// -90 (south) to 90 (north).
    pub latitude: f64,
    /// -180 (west) to 180 (east).
    pub longitude: f64,
}
