#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| micro::fuzzing::run("content_type", data));
