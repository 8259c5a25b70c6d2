//! Who moves when traffic changes, and who must not.
//!
//! Packed layout, raising one variation: the edges up to its lower one stay, its upper edge rises, and all edges after
//! it rise by the same amount. So a visitor who moves comes from the right of the raised variation, or from outside,
//! and moves left: into the raised one or, if the rise is smaller than the distance, into one between it and the old
//! one. If the raised one is the last, every move ends in it.
//!
//! Anchored layout: where a variation starts depends on the share of all weights before it, including those of stopped
//! variations. Stopping, starting and ramping all weights alike move nobody between variations. Raising a single weight
//! does change those shares, so nothing is promised; an example pins what it does.

use convert_sdk::Core;
use serde_json::{Value, json};

use super::random::Random;
use super::{check, decide_by, only, variation};

const CONFIGS: u64 = 60;
const VISITORS: usize = 1_500;
const PACKED: u32 = 8;
const ANCHORED: u32 = 12;

struct Split {
    version: u32,
    weights: Vec<f64>,
    stopped: Option<usize>,
}

impl Split {
    /// Weights with two decimals that add up to at most `sum`.
    fn new(random: &mut Random, version: u32, sum: usize) -> Self {
        let count = 2 + random.below(4);
        let weights =
            random.several(count, |random, _| random.below(sum * 100 / count) as f64 / 100.0 + 0.01);
        Self { version, weights, stopped: None }
    }

    /// A core with this split; the variations' ids count up from 100.
    fn core(&self) -> Core {
        let variations: Vec<Value> = self
            .weights
            .iter()
            .enumerate()
            .map(|(at, weight)| {
                let status = if self.stopped == Some(at) { "stopped" } else { "running" };
                json!({"id": (100 + at).to_string(), "traffic_allocation": weight, "status": status})
            })
            .collect();
        decide_by(&only(vec![
            json!({"id": "7", "key": "e", "version": self.version, "variations": variations}),
        ]))
    }

    /// The position of each visitor's variation.
    fn places(&self) -> Vec<Option<usize>> {
        let core = self.core();
        let place = |at| {
            let context = core.create_context(format!("visitor-{at}"), ()).unwrap();
            variation(&context, "e").map(|id| id.parse::<usize>().unwrap() - 100)
        };
        (0..VISITORS).map(place).collect()
    }
}

#[test]
fn raising_a_packed_variation_moves_visitors_only_towards_it() {
    check(CONFIGS, |random| {
        let mut split = Split::new(random, PACKED, 90);
        let before = split.places();
        let raised = random.below(split.weights.len());
        split.weights[raised] += 1.0 + random.below(30) as f64;
        let mut moved = 0;
        for (before, after) in before.iter().zip(split.places()) {
            if *before == after {
                continue;
            }
            moved += 1;
            let after = after.expect("nobody loses a variation");
            assert!(after >= raised, "{before:?} to {after}, raised {raised}: {:?}", split.weights);
            assert!(before.is_none_or(|before| after < before), "{before:?} to {after}: {:?}", split.weights);
            if raised + 1 == split.weights.len() {
                assert_eq!((*before, after), (None, raised));
            }
        }
        assert!(moved > 0, "one percent of {VISITORS} visitors should move");
    });
}

#[test]
fn stopping_an_anchored_variation_moves_only_its_visitors() {
    check(CONFIGS, |random| {
        let mut split = Split::new(random, ANCHORED, 100);
        let before = split.places();
        let stopped = random.below(split.weights.len());
        split.stopped = Some(stopped);
        for (before, after) in before.iter().zip(split.places()) {
            let expected = before.filter(|place| *place != stopped);
            assert_eq!(after, expected, "stopped {stopped}: {:?}", split.weights);
        }
        split.stopped = None;
        assert_eq!(split.places(), before);
    });
}

#[test]
fn ramping_anchored_weights_alike_moves_no_bucketed_visitor() {
    check(CONFIGS, |random| {
        let mut split = Split::new(random, ANCHORED, 50);
        let before = split.places();
        // Doubling keeps every quotient exact.
        split.weights.iter_mut().for_each(|weight| *weight *= 2.0);
        let mut came = 0;
        for (before, after) in before.iter().zip(split.places()) {
            came += usize::from(before.is_none() && after.is_some());
            assert!(before.is_none() || *before == after, "{before:?} to {after:?}: {:?}", split.weights);
        }
        assert!(came > 0);
    });
}

#[test]
fn raising_one_anchored_weight_moves_its_neighbours() {
    let edges = |first: f64| {
        let split = Split { version: ANCHORED, weights: vec![first, 10.0, 10.0], stopped: None };
        let core = split.core();
        let diagnosed = core.create_context("visitor", ()).unwrap().diagnose_experience("e");
        let steps = serde_json::to_value(diagnosed.explanation.unwrap()).unwrap();
        let edges = steps["steps"].as_array().unwrap().last().unwrap()["edges"].clone();
        let of = |edge: &Value| (edge["lower"].as_f64().unwrap(), edge["upper"].as_f64().unwrap());
        edges.as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let third = 10_000.0 / 3.0;
    let near = |edges: Vec<(f64, f64)>, expected: [(f64, f64); 3]| {
        for ((lower, upper), wanted) in edges.into_iter().zip(expected) {
            assert!((lower - wanted.0).abs() < 1e-6 && (upper - wanted.1).abs() < 1e-6, "{lower} {upper}");
        }
    };
    near(edges(10.0), [(0.0, 1000.0), (third, third + 1000.0), (2.0 * third, 2.0 * third + 1000.0)]);
    near(edges(20.0), [(0.0, 2000.0), (5000.0, 6000.0), (7500.0, 8500.0)]);
}
