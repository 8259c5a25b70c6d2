//! Divides the bucket space of an experience among its variations, once per config.

use smol_str::SmolStr;

use super::shape::ValueWire;
use crate::attributes::AttributeValue;
use crate::js::number::number;
use crate::js::text::{array_index, truthy};

/// The bucket space of the anchored layout, regardless of `max_traffic`.
const ANCHORED_SPACE: f64 = 10_000.0;

/// Experiences with a higher version have the anchored layout.
const LAST_PACKED_VERSION: f64 = 11.0;

/// In which order packed variations take their share of the bucket space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BucketOrder {
    /// As in the JavaScript SDK: numeric ids first, ascending, whatever the order in the config.
    #[default]
    JavaScript,
    /// The order in the config, as in the Python, PHP and Ruby SDKs. Unless ids are ascending,
    /// visitors get other variations than in JavaScript.
    Config,
}

/// The application's bucketing options. The defaults are the official SDKs'.
#[derive(Clone, Copy, Debug)]
pub struct CompileOptions {
    /// Hash the visitor id alone, which gives a visitor the same bucket in every experience.
    /// Default false.
    pub exclude_experience_id_hash: bool,
    /// The seed of the hash. Default 9,999.
    pub hash_seed: u32,
    /// The number of buckets. Default 10,000.
    pub max_traffic: u32,
    /// In which order variations take their share of the buckets.
    pub bucket_order: BucketOrder,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self {
            exclude_experience_id_hash: false,
            hash_seed: 9999,
            max_traffic: 10_000,
            bucket_order: BucketOrder::default(),
        }
    }
}

/// The edges of the variations that can be selected.
pub(crate) struct Layout {
    pub(crate) kind: LayoutKind,
    pub(crate) edges: Box<[Edge]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayoutKind {
    /// Active variations side by side: a change to one moves all that follow.
    Packed,
    /// Each variation starts where the weights of all before it end, stopped ones included.
    Anchored,
}

/// A variation owns the buckets from `lower`, inclusive, to `upper`, exclusive.
#[derive(Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) variation: u32,
}

/// What the layout needs of one variation.
pub(super) struct Share {
    id: SmolStr,
    /// A variation with a falsy id has no place in a layout.
    has_id: bool,
    active: bool,
    /// `None` when the field is missing.
    weight: Option<f64>,
    /// The position of the first variation with the same id, which is what a selection returns.
    variation: u32,
}

impl Edge {
    /// Marks buckets whose variation the first experience with this id does not have.
    pub(crate) const NO_VARIATION: u32 = u32::MAX;
}

impl Share {
    pub(super) fn new(
        id: SmolStr,
        served_id: &ValueWire,
        status: &ValueWire,
        weight: &ValueWire,
        variation: u32,
    ) -> Self {
        let active = match &status.0 {
            Some(AttributeValue::String(status)) => status.is_empty() || status == "running",
            Some(other) => !truthy(other),
            None => true,
        };
        let has_id = served_id.0.as_ref().is_some_and(truthy);
        Self { id, has_id, active, weight: weight.0.as_ref().map(number), variation }
    }

    /// Whether the variation can be selected at all.
    fn is_on(&self) -> bool {
        self.active && self.weight.is_none_or(|weight| weight > 0.0 || weight.is_nan())
    }
}

impl Layout {
    pub(super) fn new(version: &ValueWire, shares: Vec<Share>, order: BucketOrder) -> Self {
        let anchored = version.0.as_ref().is_some_and(|version| number(version) > LAST_PACKED_VERSION);
        if anchored { Self::anchored(shares) } else { Self::packed(shares, order) }
    }

    fn packed(shares: Vec<Share>, order: BucketOrder) -> Self {
        let mut packed: Vec<Share> = Vec::with_capacity(shares.len());
        // The index in `packed`, by variation.
        let mut places = vec![usize::MAX; shares.len()];
        for share in shares.into_iter().filter(|share| share.has_id && share.is_on()) {
            let Some(place) = places.get_mut(share.variation as usize) else { continue };
            // A repeated id keeps its place and takes the last weight, like a property of a
            // JavaScript object.
            match packed.get_mut(*place) {
                Some(known) => known.weight = share.weight,
                None => {
                    *place = packed.len();
                    packed.push(share);
                }
            }
        }
        if order == BucketOrder::JavaScript {
            packed.sort_by_key(|share| {
                let array_index = array_index(&share.id);
                (array_index.is_none(), array_index)
            });
        }
        let mut edges = Vec::with_capacity(packed.len());
        let mut top = 0.0;
        for share in &packed {
            let lower = top;
            top += share.weight.unwrap_or(100.0) * 100.0;
            // Nothing is below NaN, so this variation and all after it are unreachable.
            if top.is_nan() {
                break;
            }
            edges.push(Edge { lower, upper: top, variation: share.variation });
        }
        Self { kind: LayoutKind::Packed, edges: edges.into_boxed_slice() }
    }

    fn anchored(mut shares: Vec<Share>) -> Self {
        shares.retain(|share| share.has_id);
        let weight = |share: &Share| share.weight.filter(|weight| !weight.is_nan()).unwrap_or(100.0);
        let mut total = 0.0;
        for share in &shares {
            total += weight(share);
        }
        let mut edges = Vec::with_capacity(shares.len());
        let mut before = 0.0;
        for share in &shares {
            if total > 0.0 && share.is_on() {
                let lower = (before / total) * ANCHORED_SPACE;
                let upper = lower + weight(share) * 100.0;
                edges.push(Edge { lower, upper, variation: share.variation });
            }
            before += weight(share);
        }
        Self { kind: LayoutKind::Anchored, edges: edges.into_boxed_slice() }
    }

    /// A layout that selects nobody.
    pub(super) fn empty() -> Self {
        Self { kind: LayoutKind::Packed, edges: Box::default() }
    }
}

impl LayoutKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Packed => "packed",
            Self::Anchored => "anchored",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: serde_json::Value) -> ValueWire {
        ValueWire(Some(json.into()))
    }

    /// Running variations with these ids and weights.
    fn layout(version: i32, order: BucketOrder, variations: &[(&str, f64)]) -> Layout {
        let shares = variations.iter().zip(0..).map(|((id, weight), position)| {
            let served = |number: f64| value(serde_json::json!(number));
            Share::new((*id).into(), &value((*id).into()), &ValueWire(None), &served(*weight), position)
        });
        Layout::new(&value(version.into()), shares.collect(), order)
    }

    fn edges(layout: &Layout) -> Vec<(u32, f64, f64)> {
        layout.edges.iter().map(|edge| (edge.variation, edge.lower, edge.upper)).collect()
    }

    #[test]
    fn only_variations_that_can_be_selected_have_edges() {
        let weights = [("a", 0.0), ("b", -1.0), ("c", 41.0)];
        let packed = layout(11, BucketOrder::JavaScript, &weights);
        assert_eq!((packed.kind, edges(&packed)), (LayoutKind::Packed, vec![(2, 0.0, 4100.0)]));
        let anchored = layout(12, BucketOrder::JavaScript, &weights);
        assert_eq!(anchored.kind, LayoutKind::Anchored);
        assert_eq!(edges(&anchored), [(2, -1.0 / 40.0 * 10_000.0, -250.0 + 4100.0)]);
    }

    #[test]
    fn a_repeated_id_keeps_its_place_and_takes_the_last_weight() {
        let share = |id: &str, weight: i32, first: u32| {
            Share::new(id.into(), &value(id.into()), &ValueWire(None), &value(weight.into()), first)
        };
        let shares = vec![share("b", 10, 0), share("a", 20, 1), share("b", 30, 0)];
        let layout = Layout::new(&ValueWire(None), shares, BucketOrder::JavaScript);
        assert_eq!(edges(&layout), [(0, 0.0, 3000.0), (1, 3000.0, 5000.0)]);
    }

    #[test]
    fn an_anchored_layout_without_positive_total_selects_nobody() {
        for weights in [[("a", 50.0), ("b", -50.0)], [("a", -50.0), ("b", 50.0)], [("a", 10.0), ("b", -50.0)]]
        {
            assert_eq!(edges(&layout(12, BucketOrder::JavaScript, &weights)), [], "{weights:?}");
        }
    }

    #[test]
    fn only_array_index_ids_come_first() {
        let ids = ["x", "4294967295", "-1", "01", "", "4294967294", "7", "0"];
        let variations = ids.map(|id| (id, 10.0));
        let order = |order| {
            let layout = layout(0, order, &variations);
            layout.edges.iter().map(|edge| ids[edge.variation as usize]).collect::<Vec<_>>()
        };
        // The variation without an id has no place at all.
        let javascript = ["0", "7", "4294967294", "x", "4294967295", "-1", "01"];
        assert_eq!(order(BucketOrder::JavaScript), javascript);
        assert_eq!(order(BucketOrder::Config), ["x", "4294967295", "-1", "01", "4294967294", "7", "0"]);
    }
}
