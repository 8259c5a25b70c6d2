//! Sets of UTF-16 code units.

use super::case::{alike, fold};

/// A set of units as inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Set {
    ranges: Vec<(u16, u16)>,
}

/// A set to test folded units against: it contains a unit if it contains any that folds to the same
/// one.
#[derive(Debug)]
pub(super) struct FoldedSet {
    /// One bit per ASCII unit; ASCII folds to ASCII.
    ascii: u128,
    /// Sorted, disjoint, and outside ASCII; not folded, so that compiling takes time linear in the
    /// length of the pattern.
    ranges: Box<[(u16, u16)]>,
    negated: bool,
}

const DIGITS: &[(u16, u16)] = &[(0x30, 0x39)];
const WORDS: &[(u16, u16)] = &[(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)];
const SPACES: &[(u16, u16)] = &[
    (0x9, 0xd),
    (0x20, 0x20),
    (0xa0, 0xa0),
    (0x1680, 0x1680),
    (0x2000, 0x200a),
    (0x2028, 0x2029),
    (0x202f, 0x202f),
    (0x205f, 0x205f),
    (0x3000, 0x3000),
    (0xfeff, 0xfeff),
];
/// The 26 lowest bits.
const LETTERS: u128 = (1 << 26) - 1;
const LINE_ENDS: &[(u16, u16)] = &[(0xa, 0xa), (0xd, 0xd), (0x2028, 0x2029)];

pub(super) fn is_word(unit: u16) -> bool {
    WORDS.iter().any(|(first, last)| (*first..=*last).contains(&unit))
}

impl Set {
    /// The set of `\d`, `\D`, `\s`, `\S`, `\w` or `\W`.
    pub(super) fn escape(letter: u8) -> Option<Self> {
        let ranges = match letter.to_ascii_lowercase() {
            b'd' => DIGITS,
            b's' => SPACES,
            b'w' => WORDS,
            _ => return None,
        };
        let set = Self { ranges: ranges.to_vec() };
        Some(if letter.is_ascii_uppercase() { set.complement() } else { set })
    }

    /// The set of `.`.
    pub(super) fn dot() -> Self {
        Self { ranges: LINE_ENDS.to_vec() }.complement()
    }

    pub(super) fn add(&mut self, first: u16, last: u16) {
        self.ranges.push((first, last));
    }

    pub(super) fn add_set(&mut self, other: &Self) {
        self.ranges.extend_from_slice(&other.ranges);
    }

    fn normalize(&mut self) {
        self.ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(self.ranges.len());
        for (first, last) in self.ranges.drain(..) {
            match merged.last_mut() {
                Some((_, end)) if u32::from(first) <= u32::from(*end) + 1 => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        self.ranges = merged;
    }

    fn complement(mut self) -> Self {
        self.normalize();
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        let mut next = Some(0);
        for (first, last) in &self.ranges {
            if let Some(start) = next.filter(|start| start < first) {
                ranges.push((start, first - 1));
            }
            next = last.checked_add(1);
        }
        ranges.extend(next.map(|start| (start, u16::MAX)));
        Self { ranges }
    }

    pub(super) fn folded(mut self, negated: bool) -> FoldedSet {
        self.normalize();
        let mut ascii =
            self.ranges.iter().filter(|(first, _)| *first < 0x80).fold(0, |bits, (first, last)| {
                let below = |count: u16| if count < 0x80 { (1_u128 << count) - 1 } else { u128::MAX };
                bits | below(last.saturating_add(1)) & !below(*first)
            });
        let letters = (ascii >> 0x41 | ascii >> 0x61) & LETTERS;
        ascii |= letters << 0x41 | letters << 0x61;
        let outside = self.ranges.iter().filter(|(_, last)| *last >= 0x80);
        let ranges = outside.map(|(first, last)| ((*first).max(0x80), *last)).collect();
        FoldedSet { ascii: if negated { !ascii } else { ascii }, ranges, negated }
    }
}

impl FoldedSet {
    /// Whether an already folded unit is in the set.
    pub(super) fn contains(&self, unit: u16) -> bool {
        debug_assert_eq!(fold(unit), unit);
        if unit < 0x80 {
            return self.ascii >> unit & 1 == 1;
        }
        let inside = !self.ranges.is_empty()
            && (in_ranges(&self.ranges, unit) || alike(unit).any(|other| in_ranges(&self.ranges, other)));
        inside != self.negated
    }

    #[cfg(test)]
    pub(super) const fn ranges(&self) -> &[(u16, u16)] {
        &self.ranges
    }

    /// The extra steps of a test that searches the ranges outside ASCII.
    pub(super) fn steps(&self, unit: u16) -> u32 {
        if unit < 0x80 || self.ranges.is_empty() { 0 } else { 4 + self.ranges.len().ilog2() }
    }
}

fn in_ranges(ranges: &[(u16, u16)], unit: u16) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= unit);
    after > 0 && unit <= ranges[after - 1].1
}
