//! The bucket of a visitor and the variation that owns it.

use std::hint::select_unpredictable;

use ryu_js::Buffer;

use crate::config::{Edge, Layout};
use crate::js::number::parse_int;
use crate::js::text::number_text;

/// The bucket of a hash: a whole number below `max_traffic`.
#[inline]
pub(super) fn bucket(hash: u32, max_traffic: u32) -> u32 {
    let value = f64::from(hash) / 4_294_967_296.0 * f64::from(max_traffic);
    // JavaScript truncates with `parseInt`, which goes through a string. Below a millionth that
    // string has an exponent, and only its first digit is parsed. With a `max_traffic` above 4294
    // no value is that small.
    let whole = if value < 1e-6 { first_digit(value) } else { value };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "truncation is the point")]
    {
        whole as u32
    }
}

#[cold]
fn first_digit(value: f64) -> f64 {
    parse_int(number_text(value, &mut Buffer::new()))
}

/// The first edge that contains the bucket. Which one that is cannot be predicted, so every edge is
/// checked, without branches.
#[inline]
pub(super) fn select(layout: &Layout, bucket: u32) -> Option<&Edge> {
    let bucket = f64::from(bucket);
    let mut owner = layout.edges.len();
    for (at, edge) in layout.edges.iter().enumerate().rev() {
        owner = select_unpredictable((edge.lower <= bucket) & (bucket < edge.upper), at, owner);
    }
    layout.edges.get(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_traffic_reads_the_first_digit_of_an_exponent() {
        assert_eq!(bucket(1, 1), 2); // 2.3283064365386963e-10
        assert_eq!(bucket(1, 10_000), 0);
        assert_eq!(bucket(u32::MAX, 10_000), 9999);
    }
}
