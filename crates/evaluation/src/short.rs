//! Equality of short strings, such as names and keys, without calling into the C library.

/// Whether two strings are equal.
#[inline(always)]
pub(crate) fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    // The first and last bytes overlap if the length is between two sizes.
    match left.len() {
        0 => true,
        1..4 => {
            let middle = left.len() / 2;
            left[0] == right[0] && left[middle] == right[middle] && left.last() == right.last()
        }
        4..8 => ends::<4>(left, right),
        8..=16 => ends::<8>(left, right),
        17..=32 => ends::<16>(left, right),
        _ => left == right,
    }
}

/// Whether the first and the last `N` bytes are equal, of two texts of one length, which is not below `N`.
#[inline(always)]
fn ends<const N: usize>(left: &[u8], right: &[u8]) -> bool {
    let last = left.len() - N;
    left[..N] == right[..N] && left[last..] == right[last..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_equal_exactly_if_every_byte_is() {
        for length in 0..70 {
            let text = "abcdefghij".repeat(7)[..length].to_owned();
            assert!(same(&text, &text.clone()), "{length}");
            assert!(!same(&text, &format!("{text}x")));
            for at in 0..length {
                let mut other = text.clone();
                other.replace_range(at..=at, "Z");
                assert!(!same(&text, &other), "{length} {at}");
            }
        }
    }
}
