//! Any bytes as the footer of a sealed segment.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| latentdb::fuzzing::footer(bytes));
