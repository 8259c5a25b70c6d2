//! The store keys of the official Python SDK, byte for byte, so that both SDKs can share a store.

use std::fmt::Write as _;

/// Where a visitor's state is kept: `state:["visitor"]`.
pub(crate) fn state_key(visitor_id: &str) -> String {
    json_list("state:", &[visitor_id])
}

/// The mark that a visitor has converted a goal: `dedup:["visitor", "goal id"]`.
pub(crate) fn goal_key(visitor_id: &str, goal_id: &str) -> String {
    json_list("dedup:", &[visitor_id, goal_id])
}

/// The mark that a visitor's exposure was recorded: `bucketing:["visitor", "experience id"]`.
pub(crate) fn bucketing_key(visitor_id: &str, experience_id: &str) -> String {
    json_list("bucketing:", &[visitor_id, experience_id])
}

/// Python's `json.dumps` of a list of strings: `", "` between them, everything outside printable ASCII as
/// `\uXXXX` of its UTF-16 units.
fn json_list(prefix: &str, texts: &[&str]) -> String {
    let mut key = String::with_capacity(prefix.len() + texts.iter().map(|t| t.len() + 4).sum::<usize>());
    key.push_str(prefix);
    key.push('[');
    for (index, text) in texts.iter().enumerate() {
        key.push_str(if index == 0 { "\"" } else { ", \"" });
        for c in text.chars() {
            push_escaped(&mut key, c);
        }
        key.push('"');
    }
    key.push(']');
    key
}

fn push_escaped(key: &mut String, c: char) {
    match c {
        '"' => key.push_str("\\\""),
        '\\' => key.push_str("\\\\"),
        '\n' => key.push_str("\\n"),
        '\r' => key.push_str("\\r"),
        '\t' => key.push_str("\\t"),
        '\u{8}' => key.push_str("\\b"),
        '\u{c}' => key.push_str("\\f"),
        ' '..='~' => key.push(c),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(key, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each expectation was printed by `json.dumps` of CPython 3.11.
    #[test]
    fn keys_are_those_of_python() {
        assert_eq!(state_key("v"), r#"state:["v"]"#);
        assert_eq!(goal_key("v", "goalId"), r#"dedup:["v", "goalId"]"#);
        assert_eq!(bucketing_key("a:b", "c"), r#"bucketing:["a:b", "c"]"#);
        assert_eq!(
            state_key("q\"b\\n\nt\tr\rb\u{8}f\u{c}\u{1}\u{7f}ü\u{1f600}"),
            "state:[\"q\\\"b\\\\n\\nt\\tr\\rb\\bf\\f\\u0001\\u007f\\u00fc\\ud83d\\ude00\"]"
        );
    }
}
