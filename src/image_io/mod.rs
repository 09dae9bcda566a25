//! File bytes to [`Pixels`](crate::pixels::Pixels) and back; the only user of `image` and of the decoders under it.
//!
//! Invariant: what is read is a whole image or an error. A file's name is shown to people and never
//! trusted, and no memory is taken for pixels before the header's size has passed the [`Limits`].

mod avif;
mod colors;
mod decode;
mod directory;
mod foreign;
mod format;
mod metadata;
mod profile;
mod raster;
mod read;
mod refusal;
mod resize;
mod tables;
mod to_pixels;
mod write;

pub use format::ImageFormat;
pub use read::{ImageNote, ReadImage, read_image};
pub use refusal::Limits;
pub use resize::Resize;
pub use write::{WriteOptions, write_image};
