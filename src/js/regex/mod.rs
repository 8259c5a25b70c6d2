//! ECMAScript regular expressions with the flag `i` and without `u`, on UTF-16 units, as the
//! JavaScript SDK builds them.
//!
//! This is an engine of its own because rules need two things that no published one has together:
//! the dialect without `u` (Annex B leniency, `\u{61}` as sixty-one `u`, its own case folding), and
//! a bound. JavaScript searches `(a+)+$` for longer than anybody waits; here every search has a
//! budget of steps, and one that uses it up has no answer, which a rule counts as false whether it
//! is negated or not.
//!
//! Known differences from Node 20: names of groups are checked by alphabetic and numeric characters
//! and may not hold escapes; patterns that nest deeper than [`parse::DEEPEST`] are refused; newly
//! assigned letters fold as the Unicode version of the Rust compiler says.

mod case;
mod class;
mod escape;
mod parse;
mod program;
mod search;

use program::Program;

/// A compiled pattern, searched without regard to case.
#[derive(Debug)]
pub(crate) struct Pattern {
    program: Program,
}

impl Pattern {
    /// `None` when JavaScript would refuse the pattern.
    pub(crate) fn compile(pattern: &str) -> Option<Self> {
        let units: Vec<u16> = pattern.encode_utf16().collect();
        let parsed = parse::parse(&units)?;
        Some(Self { program: Program::compile(&parsed)? })
    }

    /// Whether the pattern matches anywhere in `text`; `None` when the search was given up.
    pub(crate) fn is_match(&self, text: &str) -> Option<bool> {
        search::is_match(&self.program, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> Option<bool> {
        Pattern::compile(pattern).and_then(|pattern| pattern.is_match(text))
    }

    #[test]
    fn a_search_that_backtracks_for_ever_is_given_up() {
        let text = format!("{}!", "a".repeat(40));
        for pattern in ["(a+)+$", "(a|a)*$", "(?:a?){40}a{40}b", "(.*)*\\1x", "(?=(a+)+$)b|(a*)*c"] {
            assert_eq!(found(pattern, &text), None, "{pattern}");
        }
        assert_eq!(found("(?:a{0,60000}){0,60000}b", &"a".repeat(70_000)), None);
        assert_eq!(found("(a*)*b", &"ab".repeat(50_000)), Some(true));
    }

    #[test]
    fn a_class_that_comes_again_is_compiled_once() {
        let pattern = Pattern::compile(&"\\D[^\\d\\s]\\d[^\\d]\\D".repeat(50_000)).unwrap();
        assert_eq!(pattern.program.sets.len(), 4);
        assert_eq!(found("^\\D[^\\d]\\D\\d$", "abc1"), Some(true));
        assert_eq!(found("^\\D[^\\d]\\d\\d$", "abc1"), Some(false));
    }

    #[test]
    fn no_pattern_overflows_the_stack_or_panics() {
        for open in ["(", "(?:", "(?=", "(?<!", "[", "(?<a", "a{1,", "[a-", "\\\\1("] {
            let pattern = open.repeat(100_000);
            assert!(Pattern::compile(&pattern).is_none() || open == "a{1,", "{open}");
        }
        let nested = format!("{}a{}", "(?:".repeat(100_000), ")*".repeat(100_000));
        assert!(Pattern::compile(&nested).is_none());
        let wide = "a|".repeat(100_000);
        assert_eq!(found(&wide, "b"), Some(true));
        assert!(Pattern::compile(&"(a)".repeat(70_000)).is_none());
    }
}
