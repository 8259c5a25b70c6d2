//! Case folding of patterns without `u`: unit by unit, to upper case, never from outside ASCII into it.

/// ECMAScript's `Canonicalize` with `i` and without `u`.
pub(super) fn fold(unit: u16) -> u16 {
    if unit < 0x80 {
        return if (0x61..=0x7a).contains(&unit) { unit - 0x20 } else { unit };
    }
    // A lone surrogate is not a character and folds to itself.
    let Some(character) = char::from_u32(u32::from(unit)) else { return unit };
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => {
            u16::try_from(u32::from(one)).ok().filter(|upper| *upper >= 0x80).unwrap_or(unit)
        }
        _ => unit,
    }
}

/// The other units that fold to the same unit, for a unit outside ASCII.
pub(super) fn alike(folded: u16) -> impl Iterator<Item = u16> {
    let others = OTHERS.iter().filter(move |(_, upper)| *upper == folded).map(|(unit, _)| *unit);
    lower(folded).filter(|lower| *lower != folded && fold(*lower) == folded).into_iter().chain(others)
}

fn lower(unit: u16) -> Option<u16> {
    let mut lower = char::from_u32(u32::from(unit))?.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => u16::try_from(u32::from(one)).ok(),
        _ => None,
    }
}

/// Pairs of a unit and its fold where the unit is not the fold's lower case. A constant, because
/// lazy initialization takes a lock, which a fork can leave locked in the child.
const OTHERS: &[(u16, u16)] = &[
    (0xb5, 0x39c),
    (0x1c5, 0x1c4),
    (0x1c8, 0x1c7),
    (0x1cb, 0x1ca),
    (0x1f2, 0x1f1),
    (0x345, 0x399),
    (0x3c2, 0x3a3),
    (0x3d0, 0x392),
    (0x3d1, 0x398),
    (0x3d5, 0x3a6),
    (0x3d6, 0x3a0),
    (0x3f0, 0x39a),
    (0x3f1, 0x3a1),
    (0x3f5, 0x395),
    (0x1c80, 0x412),
    (0x1c81, 0x414),
    (0x1c82, 0x41e),
    (0x1c83, 0x421),
    (0x1c84, 0x422),
    (0x1c85, 0x422),
    (0x1c86, 0x42a),
    (0x1c87, 0x462),
    (0x1c88, 0xa64a),
    (0x1e9b, 0x1e60),
    (0x1fbe, 0x399),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_is_idempotent() {
        assert!((0..=u16::MAX).all(|unit| fold(fold(unit)) == fold(unit)));
    }

    #[test]
    fn alike_finds_every_unit_that_folds_to_another() {
        let mut expected = vec![Vec::new(); 1 << 16];
        for unit in 0x80..=u16::MAX {
            if fold(unit) != unit {
                expected[usize::from(fold(unit))].push(unit);
            }
        }
        for folded in 0x80..=u16::MAX {
            let mut found: Vec<u16> = alike(folded).collect();
            found.sort_unstable();
            assert_eq!(found, expected[usize::from(folded)], "{folded:#x}");
        }
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
