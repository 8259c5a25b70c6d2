//! What the texts of several commands are drawn with.

use indicatif::HumanCount;

/// The longest name of an experience or a variation that is shown whole, in characters.
pub(crate) const NAME: usize = 24;

/// A bar of `width` characters for shares of `whole`, one after the other, each with its own character.
pub(crate) fn bar(width: usize, whole: f64, shares: &[(f64, char)]) -> String {
    let (mut bar, mut top) = (String::new(), 0.0);
    for (share, character) in shares {
        top += share;
        let end = place(width, whole, top);
        let length = end.saturating_sub(bar.chars().count());
        bar.extend(std::iter::repeat_n(*character, length));
    }
    bar
}

/// Where a share ends, from 0 to `width`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a small width")]
#[expect(clippy::cast_precision_loss, reason = "a small width")]
pub(crate) fn place(width: usize, whole: f64, share: f64) -> usize {
    if whole > 0.0 { ((share / whole).clamp(0.0, 1.0) * width as f64).round() as usize } else { 0 }
}

/// A count as a part of another.
#[expect(clippy::cast_precision_loss, reason = "counts of visitors are far below 2^53")]
pub(crate) fn part(count: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { count as f64 / of as f64 }
}

/// A count with its noun, such as `1 visitor` or `20,000 visitors`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}

/// A text of at most `length` characters.
pub(crate) fn short(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_shares() {
        assert_eq!(bar(10, 1.0, &[(0.5, '#'), (0.2, '+')]), "#####++");
        assert_eq!(bar(10, 0.5, &[(0.5, '#')]).len(), 10);
        assert_eq!(bar(10, 0.0, &[(0.0, '#')]), "");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            (counted(1, "visitor"), counted(2_000, "visitor")),
            ("1 visitor".into(), "2,000 visitors".into())
        );
    }

    #[test]
    fn a_long_text_ends_with_an_ellipsis() {
        assert_eq!((short("abc", 3).as_str(), short("abcd", 3).as_str()), ("abc", "ab\u{2026}"));
    }
}
