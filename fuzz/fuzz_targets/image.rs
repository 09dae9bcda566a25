//! Any bytes as an image file.
#![no_main]

// The decoders' panics are caught, and libFuzzer would take each for the end: what is looked for is what can't be
// caught, and what takes too long or too much.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| latentdb::fuzzing::image(bytes)
);
