//! Arbitrary bytes as a config: it is rejected, or two cores decide the same from it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| convert_fuzz::agree(&String::from_utf8_lossy(data)));
