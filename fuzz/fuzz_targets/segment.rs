//! Any bytes as a segment's file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| latentdb::fuzzing::segment(bytes));
