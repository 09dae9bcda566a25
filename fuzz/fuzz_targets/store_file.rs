//! Any bytes as a `store.json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| latentdb::fuzzing::store_file(bytes));
