//! The configured split: who owns each bucket value.

use convert_sdk::diagnosis::{EdgeTrace, Step};

use super::Share;

/// The number of bucket values in the default configuration.
const BUCKETS: u32 = 10_000;

/// An experience's layout as shares of the bucket values.
pub(super) struct Configured {
    pub(super) layout: &'static str,
    /// In layout order; values without an owner come last, if there are any.
    pub(super) shares: Vec<Share>,
}

impl Configured {
    /// Reads the layout from a decision's steps; `None` if the decision ended before bucketing.
    pub(super) fn of(steps: &[Step]) -> Option<Self> {
        steps.iter().find_map(|step| match step {
            Step::Bucketing { layout, edges, .. } => Some(Self { layout, shares: shares(edges) }),
            _ => None,
        })
    }
}

/// Ranges can overlap and leave gaps; the first range that contains a value owns it.
fn shares(edges: &[EdgeTrace]) -> Vec<Share> {
    let mut owned: Vec<(Option<&str>, u32)> = Vec::with_capacity(edges.len() + 1);
    for edge in edges {
        if owned.iter().all(|(id, _)| *id != Some(edge.variation_id.as_str())) {
            owned.push((Some(&edge.variation_id), 0));
        }
    }
    owned.push((None, 0));
    for bucket in 0..BUCKETS {
        let value = f64::from(bucket);
        let owner = edges.iter().find(|edge| edge.lower <= value && value < edge.upper);
        let owner = owner.map(|edge| edge.variation_id.as_str());
        if let Some((_, count)) = owned.iter_mut().find(|(id, _)| *id == owner) {
            *count += 1;
        }
    }
    let named = |(id, count): &(Option<&str>, u32)| id.is_some() || *count > 0;
    let share = |(id, count): (Option<&str>, u32)| Share {
        variation_id: id.map(str::to_owned),
        variation_key: None,
        configured: f64::from(count) / f64::from(BUCKETS),
        observed: 0,
    };
    owned.into_iter().filter(named).map(share).collect()
}
