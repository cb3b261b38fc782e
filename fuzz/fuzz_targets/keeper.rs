//! What keeper and client say to each other, as libFuzzer makes it up. What must hold is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| livemount_fuzz::keeper(bytes));
