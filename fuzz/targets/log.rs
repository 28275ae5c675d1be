#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dsc_fuzz::log(data));
