//! The border to the page: a text goes in and an answer comes out byte by byte, so that no pointer crosses.
#![expect(
    unsafe_code,
    reason = "names that the page calls, and functions of the page, are outside of what Rust checks"
)]

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convert_sdk::pump::HostClock;

use crate::sdk;

thread_local! {
    static QUESTION: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[link(wasm_import_module = "host")]
unsafe extern "C" {
    /// Milliseconds that never go back: `performance.now()`.
    safe fn now() -> f64;
    /// Milliseconds since 1970: `Date.now()`.
    safe fn time_of_day() -> f64;
    /// 64 random bits.
    safe fn entropy() -> u64;
}

/// Adds a byte to the question.
#[unsafe(no_mangle)]
extern "C" fn push(byte: u8) {
    QUESTION.with_borrow_mut(|question| question.push(byte));
}

/// Answers the question and returns the length of the answer.
#[unsafe(no_mangle)]
extern "C" fn ask() -> usize {
    let answer = sdk::answer(&QUESTION.take()).to_string().into_bytes();
    let length = answer.len();
    ANSWER.set(answer);
    length
}

/// A byte of the answer; 0 after its end.
#[unsafe(no_mangle)]
extern "C" fn pull(at: usize) -> u8 {
    ANSWER.with_borrow(|answer| answer.get(at).copied().unwrap_or_default())
}

/// The page's clock.
pub(crate) struct PageClock;

impl HostClock for PageClock {
    fn now(&self) -> Duration {
        milliseconds(now())
    }

    fn time_of_day(&self) -> SystemTime {
        UNIX_EPOCH + milliseconds(time_of_day())
    }

    fn entropy(&self) -> Option<u64> {
        Some(entropy())
    }
}

fn milliseconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number / 1e3).unwrap_or_default()
}
