//! Short strings, such as names and keys, compared and copied without calling into the C library.

use smol_str::SmolStr;

/// Whether two strings are equal, for the SDK's own code.
#[inline(always)]
pub fn same(left: &str, right: &str) -> bool {
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

/// A copy of a string, for the SDK's own code.
#[inline(never)]
pub fn copied(text: &str) -> SmolStr {
    // Each length has instructions of its own.
    macro_rules! of_length {
        ($($length:literal)+) => {
            match text.len() {
                $($length => inline::<$length>(text),)+
                _ => long(text),
            }
        };
    }
    #[cold]
    #[inline(never)]
    fn long(text: &str) -> SmolStr {
        SmolStr::new(text)
    }
    of_length!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23)
}

#[inline(always)]
fn inline<const LENGTH: usize>(text: &str) -> SmolStr {
    SmolStr::new_inline(text.get(..LENGTH).unwrap_or_default())
}

/// Whether the first and the last `N` bytes are equal, of two texts of one length, which is not below `N`.
#[inline(always)]
pub(crate) fn ends<const N: usize>(left: &[u8], right: &[u8]) -> bool {
    let last = left.len() - N;
    left[..N] == right[..N] && left[last..] == right[last..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_every_byte() {
        for length in 0..70 {
            for text in ["abcdefghij".repeat(7)[..length].to_owned(), "\u{e9}".repeat(length)] {
                assert_eq!(copied(&text), *text);
                assert_eq!(copied(&text).is_heap_allocated(), text.len() > 23);
            }
        }
    }

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
