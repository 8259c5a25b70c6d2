//! Segments that many visitors have alike, which take memory once.

use crate::attributes::{AttributeValue, Attributes, AttributesExt, Measured};
use crate::engine::{REPORT_KEYS, is_report_key, may_be_report_key};

/// How many different ones a shard knows.
const SLOTS: usize = 256;

/// Report keys among more attributes than these are not looked for.
const MOST_GIVEN: usize = u32::BITS as usize;

/// Larger ones are not shared.
const MOST_BYTES: usize = 512;

/// The segments that visitors of a shard had lately, each in a slot by what they are.
#[derive(Default)]
pub(super) struct Recent(Vec<Measured>);

impl Recent {
    /// Equal segments that another visitor has; if there are none, these, which later visitors may share.
    pub(super) fn share(&mut self, segments: Attributes) -> Measured {
        let Some(slot) = slot(segments.iter()) else { return Measured::new(segments) };
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

    /// Whether no visitor had any.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The segments of another visitor that are exactly the report keys among these attributes, which leave them.
    pub(super) fn among(&self, given: &mut Attributes) -> Option<Measured> {
        if given.len() > MOST_GIVEN {
            return None;
        }
        let (mut reported, mut count) = ([("", &AttributeValue::Null); REPORT_KEYS.len()], 0);
        let (mut places, mut place) = (0_u32, 1);
        given.iter().for_each(|(name, value)| {
            if may_be_report_key(name.len()) && is_report_key(name) {
                reported[count] = (name, value);
                count += 1;
                places |= place;
            }
            place <<= 1;
        });
        if count == 0 {
            return None;
        }
        let reported = &reported[..count];
        let held = self.0.get(slot(reported.iter().copied())?).filter(|held| held.len() == count)?;
        let is_held = |(at, (name, value)): (usize, &(&str, &AttributeValue))| match value {
            AttributeValue::String(text) => held.has_text_at(at, name, text),
            _ => false,
        };
        if !reported.iter().enumerate().all(is_held) {
            return None;
        }
        given.retain(|_, _| {
            let is_reported = places & 1 == 1;
            places >>= 1;
            !is_reported
        });
        Some(held.clone())
    }
}

/// The slot of segments that are all text; no others are shared. Whoever chooses values that share a slot costs
/// memory only.
#[inline(always)]
fn slot<'a>(segments: impl Iterator<Item = (&'a str, &'a AttributeValue)>) -> Option<usize> {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = 0_u64;
    for (name, value) in segments {
        let AttributeValue::String(text) = value else { return None };
        let bytes = text.as_bytes();
        let ends = match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
            }
            _ => bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        let word = ends ^ (text.len() as u64) << 56 ^ (name.len() as u64) << 48;
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
    fn report_keys_that_are_known_segments_are_taken_out() {
        let mut recent = Recent::default();
        let plain = |count: usize| (0..count).map(|at| (format!("name {at}"), 1)).collect::<Attributes>();
        let given =
            |country: &str, count: usize| plain(count).with("country", country).with("browser", "firefox");
        assert!(recent.among(&mut given("GR", 2)).is_none(), "nobody has them");
        let held = recent.share(segments("GR"));
        for count in [0, 2, MOST_GIVEN - 2] {
            let mut left = given("GR", count);
            assert!(recent.among(&mut left).is_some_and(|found| found.is(&held)));
            assert!(left == plain(count), "{count}");
        }
        let other = [
            given("DE", 2),
            given("GR", 2).with("source", "ads"),
            given("GR", 2).with("devices", 1),
            plain(2).with("country", "GR"),
            plain(2),
            given("GR", MOST_GIVEN - 1),
        ];
        for other in other {
            let mut left = other.clone();
            assert!(recent.among(&mut left).is_none() && left == other);
        }
    }

    #[test]
    fn what_only_looks_equal_is_not_shared() {
        let mut recent = Recent::default();
        let long = |number: &str| segments(&format!("a long name with number {number} in it"));
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
