//! ECMAScript regular expressions with the flag `i` and without `u`, on UTF-16 code units, as the
//! JavaScript SDK builds them.
//!
//! A separate engine, because rules need two things that no published one combines: the dialect
//! without `u` (Annex B leniency, `\u{61}` as sixty-one `u`, its own case folding), and a bound.
//! JavaScript can spend practically forever on `(a+)+$`; here each search has a budget of
//! [`Steps`], and one that exceeds it has no answer, which a rule counts as false even when
//! negated. Compile time depends on the length of the pattern alone.
//!
//! Known differences from Node 20: group names are checked for alphabetic and numeric characters
//! and cannot contain escapes; patterns nested deeper than [`parse::DEEPEST`] are rejected; newly
//! assigned letters fold by the Unicode version of the Rust compiler.

mod case;
mod class;
mod escape;
mod parse;
mod program;
mod search;

use program::Program;
pub(crate) use search::Steps;

/// A compiled, case-insensitive pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    program: Program,
}

impl Pattern {
    /// `None` if JavaScript would reject the pattern.
    pub(crate) fn compile(pattern: &str) -> Option<Self> {
        let units: Vec<u16> = pattern.encode_utf16().collect();
        let parsed = parse::parse(&units)?;
        Some(Self { program: Program::compile(&parsed)? })
    }

    /// Whether the pattern matches anywhere in `text`; `None` if the search ran out of steps. Its
    /// cost is taken from `steps`.
    pub(crate) fn is_match(&self, text: &str, steps: &mut Steps) -> Option<bool> {
        search::is_match(&self.program, text, steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> Option<bool> {
        searched(pattern, text).0
    }

    /// The answer, and how many of a decision's steps it took.
    fn searched(pattern: &str, text: &str) -> (Option<bool>, u32) {
        let mut steps = Steps::of_a_decision();
        let found = Pattern::compile(pattern).and_then(|pattern| pattern.is_match(text, &mut steps));
        (found, Steps::of_a_decision().left() - steps.left())
    }

    /// The cost of one more unit of size, at two sizes: equal if the cost is linear.
    fn slope(cost: impl Fn(usize) -> u32) -> [u32; 2] {
        [(cost(2_000) - cost(1_000)) / 1_000, (cost(20_000) - cost(10_000)) / 10_000]
    }

    #[test]
    fn a_lookaround_costs_as_much_as_its_own_search() {
        for (pattern, text) in [
            ("^(?:(?=a)a)*$", "a"),
            ("^(?:(?=(a))a)*$", "a"),
            ("^(?:(?=(?=(?=a)))a)*$", "a"),
            ("^(?:(?!b)a)*$", "a"),
            ("^(?:a(?<=(a)))*$", "a"),
            ("^(?:(?=(?<name>[a-z]))\\k<name>/?)*$", "ab/"),
        ] {
            let cost = |size: usize| {
                let (found, steps) = searched(pattern, &text.repeat(size / text.len()));
                assert_eq!(found, Some(true), "{pattern}");
                steps
            };
            let [small, large] = slope(cost);
            assert!(small.abs_diff(large) <= 1 && large <= 50, "{pattern}: {small}, {large}");
        }
    }

    #[test]
    fn an_ordinary_pattern_on_a_long_url_stays_far_below_the_bound() {
        let url = format!("https://shop.example.com/{}?utm_source=a&x=1", "category/shoes-42/".repeat(455));
        for (pattern, found) in [
            ("^(?=.*utm_source=)(?!.*preview)(?:(?=[^?#])[^?#])*\\?", true),
            (".*boots.*shoes.*", false),
            ("^https?://(?:www\\.)?shop\\.example\\.com/(?:[a-z0-9-]+/)+\\?(?!.*preview=)", true),
            ("(?<=[?&])utm_source=(?<source>[^&]+)", true),
        ] {
            let (answer, steps) = searched(pattern, &url);
            assert_eq!(answer, Some(found), "{pattern}");
            assert!(steps < 200_000, "{pattern}: {steps}");
        }
    }

    #[test]
    fn preparing_a_search_counts_towards_its_bound() {
        assert_eq!(searched("^b", &"a".repeat(1_000)).1 - searched("^b", "").1, 2_000);
        let groups = "(a)".repeat(1_000);
        assert!(searched(&groups, "").1 >= 2_000);
        assert_eq!(found("a", &"a".repeat(5_000_000)), None, "longer than a search may read");
        let wide: String = (0..64).map(|at| char::from_u32(0x1000 + 2 * at).unwrap()).collect();
        assert!(searched(&format!("[{wide}]+"), &"中".repeat(100)).1 > 100 * 10);
    }

    #[test]
    fn searches_of_one_decision_share_one_step_budget() {
        let pattern = Pattern::compile("(a|a)*b").unwrap();
        let mut steps = Steps::of_a_decision();
        let text = "a".repeat(60);
        assert_eq!(pattern.is_match(&text, &mut steps), None);
        assert_eq!(Pattern::compile("^a").unwrap().is_match(&text, &mut steps), Some(true), "some are left");
        (0..3).for_each(|_| assert_eq!(pattern.is_match(&text, &mut steps), None));
        assert_eq!(Pattern::compile("^a").unwrap().is_match(&text, &mut steps), None, "{steps:?}");
    }

    #[test]
    fn lookarounds_keep_and_restore_captures() {
        for (pattern, text, expected) in [
            ("^(?:(?=(a|ab))\\1c|abd)", "abd", true),
            ("^(?=(a+))\\1b", "aaab", true),
            ("^(?:(?=(a))x|(?=(b))\\1b)", "b", true),
            ("^(?=(?=(a))(?=(ab)))\\1b$", "ab", true),
            ("(?=(a*?))\\1b", "aab", true),
            ("^(?!(a)b)\\1a", "aa", true),
            ("(?<=a(?=(b)))\\1c", "abc", true),
            ("^(?:(?=(\\w))\\1,?)+$", "a,b,c", true),
            ("^(?:(?=(\\w))\\1,?)+\\1$", "a,b,c", false),
        ] {
            assert_eq!(found(pattern, text), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn group_names_are_looked_up_not_searched() {
        // A search for each name would take far too long.
        let groups: String = (0..65_000).map(|at| format!("(?<g{at}>a)")).collect();
        let pattern = Pattern::compile(&format!("{groups}|b\\k<g64999>")).unwrap();
        assert_eq!(pattern.is_match("b", &mut Steps::of_a_decision()), Some(true));
        assert!(Pattern::compile("(?<a>x)(?<a>y)").is_none());
        assert!(Pattern::compile("(?<a>x)\\k<b>").is_none());
    }

    #[test]
    fn a_class_takes_no_more_memory_than_its_text() {
        let classes: String =
            (0..10_000).map(|at| format!("[\\S{at}\\u{:04x}]", 0x400 + at % 0x400)).collect();
        let program = Pattern::compile(&classes).unwrap().program;
        assert!(program.sets.iter().all(|set| set.ranges().len() <= 12));
    }

    #[test]
    fn a_search_that_backtracks_for_ever_is_abandoned() {
        let text = format!("{}!", "a".repeat(40));
        for pattern in ["(a+)+$", "(a|a)*$", "(?:a?){40}a{40}b", "(.*)*\\1x", "(?=(a+)+$)b|(a*)*c"] {
            assert_eq!(found(pattern, &text), None, "{pattern}");
        }
        assert_eq!(found("(?:a{0,60000}){0,60000}b", &"a".repeat(70_000)), None);
        assert_eq!(found("(a*)*b", &"ab".repeat(50_000)), Some(true));
    }

    #[test]
    fn a_repeated_class_is_compiled_once() {
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
