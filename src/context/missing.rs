//! What is said of a key that a config does not have, as one that is mistyped.

use std::fmt;

use crate::config::{ConfigSnapshot, SnapshotExt};
use crate::decide::Undecided;
use crate::results::FeatureOff;

/// A key in a line. It is the application's, but nobody knows where from.
struct Key<'a>(&'a str);

/// The most characters of a key that are shown.
const MOST: usize = 64;

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.chars();
        let shown: String = rest.by_ref().take(MOST).collect();
        let cut = if rest.next().is_some() { "…" } else { "" };
        write!(f, "{shown:?}{cut}")
    }
}

/// Why a config has no such experience. That one has ended is nothing to warn of.
#[cold]
pub(crate) fn absent(snapshot: &ConfigSnapshot, key: &str) -> Undecided {
    if snapshot.is_withdrawn() {
        return Undecided::Withdrawn;
    }
    logged!(info, limited, "asked for an experience that the config does not have: {}", Key(key));
    Undecided::NotInConfig
}

/// Why a config has no such feature.
#[cold]
pub(super) fn undeclared(snapshot: &ConfigSnapshot, key: &str) -> FeatureOff {
    if snapshot.is_withdrawn() {
        return FeatureOff::Withdrawn;
    }
    logged!(info, limited, "asked for a feature that the config does not have: {}", Key(key));
    FeatureOff::NotInConfig
}

/// A conversion is for a goal that the config does not have, and not recorded.
#[cold]
pub(super) fn no_goal(snapshot: &ConfigSnapshot, key: &str) {
    if !snapshot.is_withdrawn() {
        logged!(
            warn,
            limited,
            "a conversion was not recorded, for a goal that the config does not have: {}",
            Key(key)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_on_one_line_and_not_without_end() {
        assert_eq!(Key("pur\nchase").to_string(), r#""pur\nchase""#);
        assert_eq!(Key(&"ü".repeat(MOST)).to_string().chars().count(), MOST + 2);
        assert!(Key(&"k".repeat(1 << 20)).to_string().ends_with("k\"…"));
    }
}
