//! How patterns without `u` fold case: unit by unit, upwards, and never from outside ASCII into it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// ECMAScript's `Canonicalize` with `i` and without `u`.
pub(super) fn fold(unit: u16) -> u16 {
    if unit < 0x80 {
        return if (0x61..=0x7a).contains(&unit) { unit - 0x20 } else { unit };
    }
    // Half of a surrogate pair is no character and folds to itself.
    let Some(character) = char::from_u32(u32::from(unit)) else { return unit };
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => {
            u16::try_from(u32::from(one)).ok().filter(|upper| *upper >= 0x80).unwrap_or(unit)
        }
        _ => unit,
    }
}

/// The other units that fold to a unit outside ASCII.
pub(super) fn alike(folded: u16) -> &'static [u16] {
    static GROUPS: OnceLock<Vec<(u16, Vec<u16>)>> = OnceLock::new();
    let groups = GROUPS.get().unwrap_or_else(|| {
        // Made before the cell is touched, which a fork meanwhile would leave locked in the child.
        let made = make_groups();
        GROUPS.get_or_init(|| made)
    });
    let at = groups.binary_search_by_key(&folded, |(folded, _)| *folded);
    at.map_or(&[], |at| &groups[at].1)
}

fn make_groups() -> Vec<(u16, Vec<u16>)> {
    let mut groups: BTreeMap<u16, Vec<u16>> = BTreeMap::new();
    for unit in 0x80..=u16::MAX {
        let folded = fold(unit);
        if folded != unit {
            groups.entry(folded).or_default().push(unit);
        }
    }
    groups.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_twice_changes_nothing_more() {
        assert!((0..=u16::MAX).all(|unit| fold(fold(unit)) == fold(unit)));
    }

    #[test]
    fn nothing_outside_ascii_folds_into_it() {
        assert_eq!(fold(u16::from(b's')), u16::from(b'S'));
        assert_eq!(fold(0x17f), 0x17f); // ſ, whose upper case is S
        assert_eq!(fold(0x131), 0x131); // ı, whose upper case is I
        assert_eq!(fold(0xdf), 0xdf); // ß, whose upper case is two letters
        assert_eq!(fold(0xe9), 0xc9); // é
        assert_eq!(fold(0xd83d), 0xd83d);
    }
}
