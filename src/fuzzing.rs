//! Ways into the store for its own tests and for the fuzz targets; no part of the API.
//!
//! Invariant: functions here call what the library calls itself, and nothing in the library calls them. Each fuzz
//! target is one of them: whatever bytes it gets, it returns, and panics only where the library broke a promise.

use twox_hash::XxHash3_64;

pub use crate::backend::local::fuzzing::{
    checkpoint, footer, frame, index_lag, index_rebuild, open, seeds, segment, store_file,
};
use crate::image_io::{Limits, read_image};
use crate::record::{Record, RecordHeader};

/// `bytes` as an image file of at most a megapixel.
pub fn image(bytes: &[u8]) {
    let limits = Limits {
        max_pixels: 1 << 20,
        // What a strip of JPEG in a TIFF may need, whatever its size.
        max_alloc_bytes: 1 << 30,
    };
    // Without any other sign it is a TGA.
    if let Ok(read) = read_image(bytes, "fuzz.tga", &limits) {
        let pixels = u64::from(read.pixels.width()) * u64::from(read.pixels.height());
        assert!((1..=limits.max_pixels).contains(&pixels));
    }
}

/// `bytes` as a record, whose checksum is put right: fuzzing would never get past it.
pub fn record(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if let Some((content, checksum)) = bytes.split_last_chunk_mut::<8>() {
        *checksum = XxHash3_64::oneshot(content).to_le_bytes();
    }
    let header = RecordHeader::from_bytes(&bytes);
    let Ok(record) = Record::from_bytes(&bytes) else {
        return;
    };
    assert_eq!(header.ok().as_ref(), Some(&record.header));
    // What can be read may be unfit for writing: an id or a name that is too long.
    if let Ok(written) = record.to_bytes() {
        assert_eq!(Record::from_bytes(&written).ok(), Some(record));
    }
}
