//! JavaScript's conversions between text, numbers and truth.

use std::cmp::Ordering;
use std::sync::LazyLock;

use regress::Regex;
use serde_json::Value;

/// What `parseFloat` accepts; `Number` accepts the same if nothing is left over.
const FLOAT: &str = r"[+-]?(?:Infinity|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)";
const NUMERIC: &str = r"^-?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)$";

/// `String(x)`.
pub(super) fn string(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => number_text(value.as_f64().unwrap()),
        Value::String(text) => text.clone(),
        Value::Array(elements) => elements
            .iter()
            .map(|one| if one.is_null() { String::new() } else { string(one) })
            .collect::<Vec<_>>()
            .join(","),
        Value::Object(_) => "[object Object]".to_owned(),
    }
}

/// Whether `String(x)` does not throw: JSON cannot make `toString` a function.
pub(super) fn has_text(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().all(has_text),
        Value::Object(map) => !map.contains_key("toString"),
        _ => true,
    }
}

/// `String(x)` in lower case, as most comparisons use it.
pub(super) fn lower(value: &Value) -> String {
    string(value).to_lowercase()
}

/// The decimal text of a double, according to ECMAScript's `Number::toString`.
pub(super) fn number_text(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{:e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap();
    let digits = mantissa.replace('.', "");
    let (count, point) = (digits.len() as i32, exponent.parse::<i32>().unwrap() + 1);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap());
    let text = if count <= point && point <= 21 {
        format!("{digits}{}", zeros(point - count))
    } else if 0 < point && point <= 21 {
        let (whole, rest) = digits.split_at(usize::try_from(point).unwrap());
        format!("{whole}.{rest}")
    } else if -6 < point && point <= 0 {
        format!("0.{}{digits}", zeros(-point))
    } else {
        let sign = if point > 0 { "+" } else { "" };
        format!("{mantissa}e{sign}{}", point - 1)
    };
    if number < 0.0 { format!("-{text}") } else { text }
}

/// `Number(x)`.
pub(super) fn number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Number(value) => value.as_f64().unwrap(),
        Value::String(text) => number_of_text(text),
        Value::Array(_) => number_of_text(&string(value)),
        Value::Object(_) => f64::NAN,
    }
}

fn number_of_text(text: &str) -> f64 {
    static WHOLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(&format!("^{FLOAT}$")).unwrap());
    let text = text.trim_matches(is_white);
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).map_or(f64::NAN, |it| it as f64);
    match text.get(..2) {
        _ if text.is_empty() => 0.0,
        Some("0x" | "0X") => radix(&text[2..], 16),
        Some("0o" | "0O") => radix(&text[2..], 8),
        Some("0b" | "0B") => radix(&text[2..], 2),
        _ if WHOLE.find(text).is_some() => text.parse().unwrap(),
        _ => f64::NAN,
    }
}

/// `parseFloat(x)`.
pub(super) fn parse_float(text: &str) -> f64 {
    static PREFIX: LazyLock<Regex> = LazyLock::new(|| Regex::new(&format!("^{FLOAT}")).unwrap());
    let text = text.trim_start_matches(is_white);
    PREFIX.find(text).map_or(f64::NAN, |found| text[found.range()].parse().unwrap())
}

/// `parseInt(x)`.
pub(super) fn parse_int(text: &str) -> f64 {
    let text = text.trim_start_matches(is_white);
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((text, 10), |rest| (rest, 16));
    let digits: String = digits.chars().take_while(|it| it.is_digit(radix)).collect();
    match radix {
        10 => sign * digits.parse::<f64>().unwrap_or(f64::NAN),
        _ => sign * u64::from_str_radix(&digits, radix).map_or(f64::NAN, |it| it as f64),
    }
}

/// The number that `less` and `lessEqual` compare, from a number or text that looks like one.
pub(super) fn numeric(value: &Value) -> Option<f64> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| Regex::new(NUMERIC).unwrap());
    let text = match value {
        Value::Number(value) => return value.as_f64(),
        Value::String(text) => text,
        _ => return None,
    };
    PATTERN.find(text)?;
    let number = match text.split_once(',') {
        Some(("0", _)) => parse_float(&text.replace(',', ".")),
        _ => text.replace(',', "").parse().unwrap(),
    };
    number.is_finite().then_some(number)
}

/// Truthiness.
pub(super) fn truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(value)) => value.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(_) | Value::Object(_)) => true,
    }
}

/// `===` of two values that are not the same object.
pub(super) fn strictly_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => false,
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (left, right) => left == right,
    }
}

/// The order of `<` for two values of the same `typeof`; `None` if one is NaN.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    let by_number = |value: &Value| matches!(value, Value::Null | Value::Bool(_) | Value::Number(_));
    if by_number(left) || by_number(right) {
        let primitive = |value: &Value| if by_number(value) { value.clone() } else { string(value).into() };
        return number(&primitive(left)).partial_cmp(&number(&primitive(right)));
    }
    Some(string(left).encode_utf16().cmp(string(right).encode_utf16()))
}

/// What JavaScript trims.
pub(super) fn is_white(it: char) -> bool {
    matches!(it, '\t'..='\r' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}')
        || matches!(it, '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\u{feff}')
}
