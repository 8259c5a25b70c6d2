//! JavaScript's `String(x)`, truthiness, and case-insensitive comparisons that do not allocate.

use std::borrow::Cow;
use std::cmp::Ordering;

use ryu_js::Buffer;

use crate::attributes::AttributeValue;
use crate::short::same;

/// Above this length a case-insensitive search copies its text: the in-place loop of
/// [`contains_lowered`] is quadratic in the worst case.
const LONGEST_PLAIN_SEARCH: usize = 256;

/// `String(value)`. Only lists allocate; a number is written into `buffer`.
pub(crate) fn text<'a>(value: &'a AttributeValue, buffer: &'a mut Buffer) -> Cow<'a, str> {
    match value {
        AttributeValue::Null => Cow::Borrowed("null"),
        AttributeValue::Bool(true) => Cow::Borrowed("true"),
        AttributeValue::Bool(false) => Cow::Borrowed("false"),
        AttributeValue::Number(number) => Cow::Borrowed(number_text(*number, buffer)),
        AttributeValue::String(text) => Cow::Borrowed(text),
        AttributeValue::Array(values) => {
            let mut joined = String::new();
            join(values, &mut joined);
            Cow::Owned(joined)
        }
        AttributeValue::Object(_) => Cow::Borrowed("[object Object]"),
    }
}

/// Whether `String(value)` has an answer. JavaScript throws for an object with its own `toString`,
/// which in JSON is never a function, and for a list that contains one.
pub(crate) fn has_text(value: &AttributeValue) -> bool {
    match value {
        AttributeValue::Object(map) => map.get("toString").is_none(),
        AttributeValue::Array(values) => values.iter().all(has_text),
        _ => true,
    }
}

/// `String(number)`: the shortest string that parses back to the same double, in ECMAScript's
/// notation.
pub(crate) fn number_text(number: f64, buffer: &mut Buffer) -> &str {
    if number == 0.0 {
        return "0";
    }
    buffer.format(number)
}

/// The elements joined with commas; `null` is empty and nested lists are flattened.
fn join(values: &[AttributeValue], joined: &mut String) {
    for (position, value) in values.iter().enumerate() {
        if position > 0 {
            joined.push(',');
        }
        match value {
            AttributeValue::Null => {}
            AttributeValue::Array(nested) => join(nested, joined),
            other => joined.push_str(&text(other, &mut Buffer::new())),
        }
    }
}

/// Whether the value is truthy in JavaScript.
pub(crate) fn truthy(value: &AttributeValue) -> bool {
    match value {
        AttributeValue::Null => false,
        AttributeValue::Bool(value) => *value,
        AttributeValue::Number(number) => *number != 0.0 && !number.is_nan(),
        AttributeValue::String(text) => !text.is_empty(),
        AttributeValue::Array(_) | AttributeValue::Object(_) => true,
    }
}

/// A name as a JavaScript array index; objects list those before all other properties.
pub(crate) fn array_index(name: &str) -> Option<u32> {
    let canonical = name == "0" || (!name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit()));
    if !canonical {
        return None;
    }
    name.parse().ok().filter(|index| *index < u32::MAX)
}

/// White space and line terminators as in `trim()` and `\s`: with U+FEFF, without U+0085.
pub(crate) const fn is_white(character: char) -> bool {
    matches!(
        character,
        '\u{9}'..='\u{d}'
            | ' '
            | '\u{a0}'
            | '\u{1680}'
            | '\u{2000}'..='\u{200a}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202f}'
            | '\u{205f}'
            | '\u{3000}'
            | '\u{feff}'
    )
}

/// The order of JavaScript strings: by UTF-16 code unit, so that an emoji sorts before U+FFFD.
pub(crate) fn compare_utf16(left: &str, right: &str) -> Ordering {
    left.encode_utf16().cmp(right.encode_utf16())
}

/// `toLowerCase()`, borrowed if nothing changes.
pub(crate) fn lowered(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte >= 0x80 || byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether `text` in lower case equals `lower`, which is already lower case.
#[inline]
pub(crate) fn equals_lowered(text: &str, lower: &str) -> bool {
    // Lowercasing is idempotent.
    same(text, lower) || equals_changed(text, lower)
}

#[inline(never)]
fn equals_changed(text: &str, lower: &str) -> bool {
    if text.is_ascii() {
        return text.len() == lower.len() && ascii_matches(text.as_bytes(), lower.as_bytes());
    }
    // Only a final sigma depends on its neighbours; everything else is lowercased character by
    // character.
    if text.contains('Σ') {
        return text.to_lowercase() == lower;
    }
    text.chars().flat_map(char::to_lowercase).eq(lower.chars())
}

/// Whether `text` in lower case contains `lower`.
pub(crate) fn contains_lowered(text: &str, lower: &str) -> bool {
    if !text.is_ascii() || text.len() > LONGEST_PLAIN_SEARCH {
        return lowered(text).contains(lower);
    }
    let (text, lower) = (text.as_bytes(), lower.as_bytes());
    lower.is_empty() || text.windows(lower.len()).any(|window| ascii_matches(window, lower))
}

/// Whether `text` in lower case starts with `lower`.
pub(crate) fn starts_with_lowered(text: &str, lower: &str) -> bool {
    if !text.is_ascii() {
        return text.to_lowercase().starts_with(lower);
    }
    text.as_bytes().get(..lower.len()).is_some_and(|head| ascii_matches(head, lower.as_bytes()))
}

/// Whether `text` in lower case ends with `lower`.
pub(crate) fn ends_with_lowered(text: &str, lower: &str) -> bool {
    if !text.is_ascii() {
        return text.to_lowercase().ends_with(lower);
    }
    let start = text.len().checked_sub(lower.len());
    start.is_some_and(|start| ascii_matches(&text.as_bytes()[start..], lower.as_bytes()))
}

fn ascii_matches(text: &[u8], lower: &[u8]) -> bool {
    text.iter().zip(lower).all(|(a, b)| a.to_ascii_lowercase() == *b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_insensitive_comparison_equals_lowercasing_both_sides() {
        let texts =
            ["", "a", "ABC", "abc", "ΟΔΟΣ", "οδος", "Straße", "ÄÖ", "aÄÖb", "\u{212a}m", "İ", "x abc", "ab"];
        for text in texts {
            for operand in texts {
                let (whole, lower) = (text.to_lowercase(), operand.to_lowercase());
                assert_eq!(equals_lowered(text, &lower), whole == lower, "{text} = {operand}");
                assert_eq!(
                    contains_lowered(text, &lower),
                    whole.contains(&lower),
                    "{text} contains {operand}"
                );
                assert_eq!(
                    starts_with_lowered(text, &lower),
                    whole.starts_with(&lower),
                    "{text} ^ {operand}"
                );
                assert_eq!(ends_with_lowered(text, &lower), whole.ends_with(&lower), "{text} $ {operand}");
            }
        }
    }

    #[test]
    fn lowercasing_is_idempotent() {
        for character in '\0'..=char::MAX {
            let lower = lowered(&character.to_string()).into_owned();
            assert_eq!(lowered(&lower), lower, "{character:?}");
        }
    }

    #[test]
    fn order_is_by_utf16_code_unit() {
        assert_eq!(compare_utf16("\u{1f600}", "\u{fffd}"), Ordering::Less);
        assert_eq!("\u{1f600}".cmp("\u{fffd}"), Ordering::Greater);
        assert_eq!(compare_utf16("a", "ab"), Ordering::Less);
    }
}
