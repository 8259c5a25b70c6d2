//! Patterns with every feature of the dialect against long texts: a search's cost is measured in its own steps, and
//! each step must be cheap.
#![no_main]

use std::fs;
use std::time::Duration;

use convert_evaluation::fuzzing::{STEPS, search};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

const ATOMS: [&str; 22] = [
    "a",
    "b",
    ".",
    "\\w",
    "\\d",
    "\\D",
    "\\s",
    "[ab]",
    "[^a]",
    "[\\S\u{e9}]",
    "[\u{430}-\u{44f}a-f]",
    "\u{e9}",
    "\\b",
    "\\B",
    "^",
    "$",
    "\\1",
    "\\2",
    "/",
    "\\u0061",
    "\\x61",
    "",
];
const OPENINGS: [&str; 7] = ["(", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?<n"];
const QUANTIFIERS: [&str; 12] =
    ["*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{0,}?", "{2,}", "{0,99999}", "{0}"];
const TEXTS: [&str; 10] = ["a", "ab", "aab/", "\u{e9}", "\u{430}b", "a b", "/a", "0", "b", "\u{1f600}"];

/// How deep groups nest here, and how many terms follow each other.
const DEEPEST: usize = 5;
const LONGEST: usize = 5;

/// The shortest time per step that counts as too long, including a run's overhead; a sanitizer makes everything tens of
/// times slower.
const STEP: Duration = Duration::from_nanos(500);
const START: Duration = Duration::from_millis(20);

fn pattern(u: &mut Unstructured<'_>, names: &mut usize, depth: usize) -> Result<String> {
    let mut pattern = String::new();
    for term in 0..u.int_in_range(1..=LONGEST)? {
        if term > 0 && u.ratio(1, 6)? {
            pattern.push('|');
        }
        if depth > 0 && u.ratio(1, 2)? {
            let opening = *u.choose(&OPENINGS)?;
            pattern.push_str(opening);
            if opening == "(?<n" {
                pattern.push_str(&format!("{names}>"));
                *names += 1;
            }
            pattern.push_str(&self::pattern(u, names, depth - 1)?);
            pattern.push(')');
        } else if *names > 0 && u.ratio(1, 8)? {
            pattern.push_str(&format!("\\k<n{}>", u.choose_index(*names)?));
        } else {
            pattern.push_str(u.choose(&ATOMS)?);
        }
        if u.ratio(1, 2)? {
            pattern.push_str(u.choose(&QUANTIFIERS)?);
        }
    }
    Ok(pattern)
}

fn input(data: &[u8]) -> Result<(String, String)> {
    let mut u = Unstructured::new(data);
    let pattern = pattern(&mut u, &mut 0, DEEPEST)?;
    let mut text = String::new();
    for _ in 0..u.int_in_range(1..=3)? {
        text.push_str(&u.choose(&TEXTS)?.repeat(u.int_in_range(0..=20_000)?));
    }
    Ok((pattern, text))
}

/// This thread's CPU time, which other processes do not affect. Zero if the system does not provide it: then only steps
/// are compared.
fn on_processor() -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(told.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default())
}

fuzz_target!(|data: &[u8]| {
    let Ok((pattern, text)) = input(data) else { return };
    let mut slow = None;
    // A single slow run may have had cold caches.
    for _ in 0..3 {
        let start = on_processor();
        let Some((_, steps)) = search(&pattern, &text) else { return };
        let taken = on_processor().saturating_sub(start);
        assert!(steps <= STEPS);
        assert!(slow.is_none_or(|(before, _)| before == steps), "the steps of {pattern:?} differ");
        if taken <= START + STEP * steps {
            return;
        }
        slow = Some((steps, taken));
    }
    panic!("{pattern:?} in {} bytes does more work than it counts: {slow:?}", text.len());
});
