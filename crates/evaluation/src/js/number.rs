//! JavaScript's `Number(x)`, `parseInt`, `parseFloat`, and the numeric strings that rules accept.

use ryu_js::Buffer;

use super::text::{is_white, text};
use crate::attributes::AttributeValue;

/// `Number(value)`.
pub(crate) fn number(value: &AttributeValue) -> f64 {
    match value {
        AttributeValue::Null => 0.0,
        AttributeValue::Bool(value) => f64::from(u8::from(*value)),
        AttributeValue::Number(number) => *number,
        AttributeValue::String(text) => number_of_text(text),
        AttributeValue::Array(_) => number_of_text(&text(value, &mut Buffer::new())),
        AttributeValue::Object(_) => f64::NAN,
    }
}

/// `Number("…")`.
pub(crate) fn number_of_text(text: &str) -> f64 {
    let text = text.trim_matches(is_white);
    if text.is_empty() {
        return 0.0;
    }
    if let Some((radix, digits)) = radix_prefix(text) {
        let read = digits.bytes().take_while(|digit| digit_value(*digit, radix).is_some()).count();
        return if read == digits.len() && read > 0 { digits_value(digits, radix) } else { f64::NAN };
    }
    let (value, read) = decimal_prefix(text);
    if read == text.len() { value } else { f64::NAN }
}

/// `parseFloat("…")`: the longest decimal prefix, NaN if there is none.
pub(crate) fn parse_float(text: &str) -> f64 {
    decimal_prefix(text.trim_start_matches(is_white)).0
}

/// `parseInt("…")` without a radix.
pub(crate) fn parse_int(text: &str) -> f64 {
    let text = text.trim_start_matches(is_white);
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let (radix, digits) = match radix_prefix(digits) {
        Some((16, digits)) => (16, digits),
        _ => (10, digits),
    };
    let read = digits.bytes().take_while(|digit| digit_value(*digit, radix).is_some()).count();
    if read == 0 { f64::NAN } else { sign * digits_value(&digits[..read], radix) }
}

/// The number that `less` and `lessEqual` read from a strictly numeric string, with optional
/// thousands separators.
pub(crate) fn numeric_text(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let whole_is_valid = match whole.split_once(',') {
        None => digits(whole) || (whole.is_empty() && fraction.is_some()),
        Some((head, groups)) => {
            digits(head)
                && head.len() <= 3
                && groups.split(',').all(|group| group.len() == 3 && digits(group))
        }
    };
    if !whole_is_valid || !fraction.is_none_or(digits) {
        return None;
    }
    let number = if !text.contains(',') {
        decimal_prefix(text).0
    } else if text.starts_with("0,") {
        // A leading "0," is read as a decimal comma, and so are all further commas.
        parse_float(&text.replace(',', "."))
    } else {
        decimal_prefix(&text.replace(',', "")).0
    };
    Some(number).filter(|number| number.is_finite())
}

/// The value and length of the longest prefix that is a decimal literal; NaN and 0 if there is
/// none.
fn decimal_prefix(text: &str) -> (f64, usize) {
    let bytes = text.as_bytes();
    let digits_from = |start: usize| bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let start = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    if text[start..].starts_with("Infinity") {
        let infinity = if bytes[0] == b'-' { f64::NEG_INFINITY } else { f64::INFINITY };
        return (infinity, start + "Infinity".len());
    }
    let whole = digits_from(start);
    let mut end = start + whole;
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        fraction = digits_from(end + 1);
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return (f64::NAN, 0);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits_from(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    (text[..end].parse().unwrap_or(f64::NAN), end)
}

/// The radix and the digits of `0x…`, `0o…` and `0b…`.
fn radix_prefix(text: &str) -> Option<(u32, &str)> {
    let radix = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => 16,
        [b'0', b'o' | b'O', ..] => 8,
        [b'0', b'b' | b'B', ..] => 2,
        _ => return None,
    };
    Some((radix, &text[2..]))
}

fn digit_value(digit: u8, radix: u32) -> Option<u32> {
    char::from(digit).to_digit(radix)
}

/// The double nearest to a whole number whose digits are all valid in `radix`.
fn digits_value(digits: &str, radix: u32) -> f64 {
    if radix == 10 {
        return digits.parse().unwrap_or(f64::NAN);
    }
    // For a power-of-two radix, the leading bits and one sticky bit for the rest are enough to
    // round correctly.
    let bits = radix.trailing_zeros();
    let (mut mantissa, mut dropped) = (0_u128, 0_i32);
    for digit in digits.bytes().filter_map(|digit| digit_value(digit, radix)) {
        if mantissa >> 120 == 0 {
            mantissa = mantissa * u128::from(radix) + u128::from(digit);
        } else {
            mantissa |= u128::from(digit != 0);
            dropped = dropped.saturating_add(bits.cast_signed());
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "rounding to the nearest double is the point")]
    let mantissa = mantissa as f64;
    mantissa * 2_f64.powi(dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_text_follows_the_strict_pattern() {
        let cases = [
            ("5", Some(5.0)),
            ("-5.25", Some(-5.25)),
            (".5", Some(0.5)),
            ("-.5", Some(-0.5)),
            ("1,234.5", Some(1234.5)),
            ("0,500", Some(0.5)),
            ("0,500,000", Some(0.5)),
            ("-0,500", Some(-500.0)),
            ("000,500", Some(500.0)),
            ("1e3", None),
            ("+5", None),
            ("5.", None),
            (" 5", None),
            ("12,34", None),
            (",500", None),
            ("", None),
            ("-", None),
            (".", None),
            ("1234,567", None),
            ("12a.5", None),
            ("1e3.5", None),
            ("٣", None),
        ];
        for (text, expected) in cases {
            assert_eq!(numeric_text(text), expected, "{text}");
        }
        assert_eq!(numeric_text(&"9".repeat(400)), None);
    }

    #[test]
    fn number_prefixes_are_read_as_in_javascript() {
        let cases = [
            ("12abc", 12.0, 12.0),
            ("-3.99", -3.0, -3.99),
            ("+5", 5.0, 5.0),
            ("\u{a0}\u{feff} 7 8", 7.0, 7.0),
            ("1e3", 1.0, 1000.0),
            ("1e", 1.0, 1.0),
            ("1e+", 1.0, 1.0),
            ("1E-2x", 1.0, 0.01),
            ("5.", 5.0, 5.0),
            (".5", f64::NAN, 0.5),
            (".", f64::NAN, f64::NAN),
            ("-", f64::NAN, f64::NAN),
            ("0x1f", 31.0, 0.0),
            ("-0x1F", -31.0, -0.0),
            ("0b1", 0.0, 0.0),
            ("Infinityx", f64::NAN, f64::INFINITY),
            ("-Infinity", f64::NAN, f64::NEG_INFINITY),
            ("infinity", f64::NAN, f64::NAN),
        ];
        let same = |left: f64, right: f64| left == right || (left.is_nan() && right.is_nan());
        for (text, integer, float) in cases {
            assert!(same(parse_int(text), integer), "parseInt({text}) is {}", parse_int(text));
            assert!(same(parse_float(text), float), "parseFloat({text}) is {}", parse_float(text));
        }
    }

    #[test]
    fn a_text_is_a_number_as_a_whole_or_not_at_all() {
        let numbers = [
            ("", 0.0),
            (" \u{feff}\n", 0.0),
            ("5.", 5.0),
            (".5", 0.5),
            ("-1e-2", -0.01),
            ("0o17", 15.0),
            ("0B101", 5.0),
            ("-Infinity", f64::NEG_INFINITY),
        ];
        for (text, number) in numbers {
            assert_eq!(number_of_text(text), number, "{text}");
        }
        for text in ["1e", "1e+", ".", "1_0", "12abc", "0b2", "0o8", "0xg", "+0x1", "nan", "Infinit", "1 2"] {
            assert!(number_of_text(text).is_nan(), "{text}");
        }
    }

    #[test]
    fn long_hexadecimal_text_rounds_to_the_nearest_double() {
        assert_eq!(number_of_text("0x20000000000001"), 9_007_199_254_740_992.0);
        assert_eq!(number_of_text("0x20000000000003"), 9_007_199_254_740_996.0);
        let long = format!("0x1{}", "0".repeat(50));
        assert_eq!(number_of_text(&long), 2_f64.powi(200));
        // Halfway between two doubles, which rounds to even, and just above, decided far to the
        // right.
        let zeros = "0".repeat(40);
        let halfway = 2_f64.powi(52 + 4 + 4 * 40);
        assert_eq!(number_of_text(&format!("0x100000000000008{zeros}")), halfway);
        assert_eq!(
            number_of_text(&format!("0x100000000000008{zeros}1")),
            halfway * 16.0 * (1.0 + f64::EPSILON)
        );
        assert!(number_of_text("0x").is_nan());
        assert!(number_of_text("-0x1").is_nan());
    }
}
