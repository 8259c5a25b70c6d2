//! The WebAssembly interface for `scripts/wasm`: a text goes in and a report comes out byte by
//! byte, so no pointer crosses the boundary.
#![expect(unsafe_code, reason = "a name that the host can call has to be kept as it is")]

use std::cell::RefCell;

use serde_json::json;

use super::{Tally, check};

thread_local! {
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static REPORT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Appends a byte to the input: the name of a file, a line feed, and the contents of the file.
#[unsafe(no_mangle)]
extern "C" fn push(byte: u8) {
    TEXT.with_borrow_mut(|text| text.push(byte));
}

/// Compares the answers of the file and returns the length of the report.
#[unsafe(no_mangle)]
extern "C" fn compare() -> usize {
    let text = String::from_utf8(TEXT.take()).unwrap();
    let (file, lines) = text.split_once('\n').unwrap();
    let Tally { checked, failures } = check(file, lines);
    REPORT.set(json!({"checked": checked, "failures": failures}).to_string().into_bytes());
    REPORT.with_borrow(Vec::len)
}

/// One byte of the report.
#[unsafe(no_mangle)]
extern "C" fn pull(at: usize) -> u8 {
    REPORT.with_borrow(|report| report[at])
}
