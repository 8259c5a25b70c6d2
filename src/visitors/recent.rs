//! Segments that many visitors have alike, which take memory once.

use crate::attributes::{AttributeValue, Attributes, Measured};

/// How many different ones a shard knows.
const SLOTS: usize = 256;

/// Larger ones are not shared.
const MOST_BYTES: usize = 512;

/// The segments that visitors of a shard had lately, each in a slot by what they are.
#[derive(Default)]
pub(super) struct Recent(Vec<Measured>);

impl Recent {
    /// Equal segments that another visitor has; if there are none, these, which later visitors may share.
    pub(super) fn share(&mut self, segments: Attributes) -> Measured {
        let Some(slot) = slot(&segments) else { return Measured::new(segments) };
        if self.0.is_empty() {
            self.0 = vec![Measured::default(); SLOTS];
        }
        let held = &mut self.0[slot];
        if **held != segments {
            let segments = Measured::new(segments);
            if segments.bytes() > MOST_BYTES {
                return segments;
            }
            *held = segments;
        }
        held.clone()
    }
}

/// The slot of segments that are all text; no others are shared. Whoever chooses values that share a slot costs
/// memory only.
fn slot(segments: &Attributes) -> Option<usize> {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = 0_u64;
    for (name, value) in segments.iter() {
        let AttributeValue::String(text) = value else { return None };
        let mut start = [0; 8];
        let length = text.len().min(8);
        start[..length].copy_from_slice(&text.as_bytes()[..length]);
        let word = u64::from_le_bytes(start) ^ (text.len() as u64) << 56 ^ (name.len() as u64) << 48;
        hash = (hash ^ word).wrapping_mul(ODD).rotate_left(29);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a remainder")]
    Some((hash % SLOTS as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(country: &str) -> Attributes {
        Attributes::new().with("country", country).with("browser", "firefox")
    }

    #[test]
    fn equal_segments_are_shared() {
        let mut recent = Recent::default();
        let first = recent.share(segments("GR"));
        assert!(recent.share(segments("GR")).is(&first));
        assert_eq!(*recent.share(segments("DE")), segments("DE"));
    }

    #[test]
    fn what_only_looks_equal_is_not_shared() {
        let mut recent = Recent::default();
        let long = |end: &str| segments(&format!("a long name that ends with {end}"));
        let mut is_shared = |first: Attributes, second: Attributes| {
            let [first, second] = [first, second].map(|it| (it.clone(), recent.share(it)));
            assert!(*first.1 == first.0 && *second.1 == second.0, "nobody's are changed");
            first.1.is(&second.1)
        };
        assert!(is_shared(long("1"), long("1")));
        assert!(!is_shared(long("1"), long("2")), "one slot");
        let number = Attributes::new().with("country", 1);
        assert!(!is_shared(number.clone(), number), "not text");
        let large = segments(&"x".repeat(MOST_BYTES));
        assert!(!is_shared(large.clone(), large));
    }
}
