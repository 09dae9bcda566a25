//! Any bytes as the segments of a store, opened for reading and for writing.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder for the store");
    // What it says of the bytes is as it may be; what must not be is a panic.
    let _ = latentdb::fuzzing::index_rebuild(folder.path(), bytes);
});
