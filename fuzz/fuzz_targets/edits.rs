//! A served config after a few edits: it is rejected, or two cores decide the same from it.
#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(config) = convert_fuzz::edited(&mut Unstructured::new(data)) else { return Corpus::Reject };
    convert_fuzz::agree(&config.to_string());
    Corpus::Keep
});
