//! The regular expressions of the rules.

/// A compiled pattern, searched without regard to case.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: regress::Regex,
}

impl Pattern {
    /// `None` when the pattern is not valid.
    pub(crate) fn compile(pattern: &str) -> Option<Self> {
        regress::Regex::with_flags(pattern, "i").ok().map(|regex| Self { regex })
    }

    /// Whether the pattern matches anywhere in `text`.
    pub(crate) fn is_match(&self, text: &str) -> Option<bool> {
        let units: Vec<u16> = text.encode_utf16().collect();
        Some(self.regex.find_from_ucs2(&units, 0).next().is_some())
    }
}
