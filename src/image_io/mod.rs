//! File bytes to [`Pixels`](crate::pixels::Pixels) and back; the only user of `image`.
//!
//! Invariant: what is read is a whole image or an error. A file's name is shown to people and never
//! trusted, and no memory is taken for pixels before the header's size has passed the [`Limits`].

mod format;
mod inspect;
mod read;
mod resize;
mod write;

pub use format::ImageFormat;
pub use read::{ImageNote, Limits, ReadImage, read_image};
pub use resize::Resize;
pub use write::write_image;
