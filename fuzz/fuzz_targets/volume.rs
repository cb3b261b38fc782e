//! Volume sources in the words of a pod spec, as libFuzzer makes them up. What must hold is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| livemount_fuzz::volume(bytes));
