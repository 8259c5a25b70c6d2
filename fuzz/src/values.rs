//! JSON and attribute values from bytes, with a preference for odd ones.

use convert_sdk::{AttributeValue, Attributes};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use serde_json::Value;

/// Numbers at the limits of conversions and comparisons.
const NUMBERS: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    1e-7,
    100.0,
    10_000.0,
    9_007_199_254_740_993.0,
    1e21,
    -1e300,
    f64::MIN_POSITIVE,
    f64::MAX,
    -0.000_001,
];

/// Texts that JavaScript, a parser, a hash or a regular expression could misread.
const TEXTS: [&str; 31] = [
    "",
    " ",
    "0",
    "-0",
    " 12 ",
    "0x1F",
    "1e400",
    "NaN",
    "Infinity",
    "true",
    "null",
    "a|b",
    "[1,2]",
    "\u{feff}",
    "\u{130}",
    "\u{df}",
    "\u{1f600}",
    "__proto__",
    "a",
    "^(a+)+$",
    "(a|a)*b",
    "(?=a)[^\\d\\s]",
    "(?<n>a)\\k<n>\\1",
    "a{2,}?b{0,99999}",
    "[z-a]",
    "(",
    "\\u{1F600}\\cA\\x41",
    "(?:(?:a?){9}){9}",
    "^(?:(?=(a))a)*$",
    "(?<=(?<n>a|b))(?!\\k<n>)",
    ".*a.*b.*c",
];

/// The maximum nesting around a value.
const LEVELS: usize = 100;

/// Any text.
///
/// # Errors
/// The bytes are used up.
pub fn text(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=4)? {
        0 | 1 => u.arbitrary::<&str>()?.to_owned(),
        2 | 3 => (*u.choose(&TEXTS)?).to_owned(),
        _ => u.choose(&TEXTS)?.repeat(u.int_in_range(1..=2_000)?),
    })
}

/// Any JSON value, nested at most this deep.
///
/// # Errors
/// The bytes are used up.
pub fn json(u: &mut Unstructured<'_>, levels: usize) -> Result<Value> {
    Ok(match u.int_in_range(0..=if levels == 0 { 5 } else { 7 })? {
        0 => Value::Null,
        1 => u.arbitrary::<bool>()?.into(),
        2 => u.arbitrary::<i64>()?.into(),
        3 => number(u)?.into(),
        4 | 5 => text(u)?.into(),
        6 => (0..u.int_in_range(0..=4)?).map(|_| json(u, levels - 1)).collect::<Result<_>>()?,
        _ => {
            let entries = (0..u.int_in_range(0..=4)?).map(|_| Ok((text(u)?, json(u, levels - 1)?)));
            Value::Object(entries.collect::<Result<_>>()?)
        }
    })
}

/// Any attribute value: a JSON value, one that only a program can produce, or something deep.
///
/// # Errors
/// The bytes are used up.
pub fn attribute(u: &mut Unstructured<'_>) -> Result<AttributeValue> {
    Ok(match u.int_in_range(0..=5)? {
        0 => AttributeValue::Number(number(u)?),
        1 => (*u.choose(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY])?).into(),
        2 => {
            let levels = u.int_in_range(0..=LEVELS)?;
            let in_lists: bool = u.arbitrary()?;
            (0..levels).fold(json(u, 1)?.into(), |inner, _| {
                if in_lists { vec![inner].into() } else { Attributes::new().with("k", inner).into() }
            })
        }
        _ => json(u, 3)?.into(),
    })
}

fn number(u: &mut Unstructured<'_>) -> Result<f64> {
    if u.arbitrary()? { u.arbitrary() } else { u.choose(&NUMBERS).copied() }
}
