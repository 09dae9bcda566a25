//! Any bytes as a checkpoint of the index.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| latentdb::fuzzing::checkpoint(bytes));
