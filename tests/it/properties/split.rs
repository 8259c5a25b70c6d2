//! A million visitors are split as configured.

use serde_json::json;

use super::{decide_by, only};

const VISITORS: u32 = 1_000_000;

/// A binomial count is this many standard deviations from its mean less than once in 10^10 times; with the dozen counts
/// below, a false alarm is rarer than once in 10^9.
const DEVIATIONS: f64 = 6.6;

/// Weights in percent: the packed ones add up to 99.75, the anchored ones leave gaps.
const PACKED: [f64; 4] = [50.0, 33.3, 16.4, 0.05];
const ANCHORED: [f64; 3] = [12.5, 60.0, 0.25];

#[test]
fn a_million_visitors_are_split_as_configured() {
    let experience = |id: &str, key: &str, version: u32, weights: &[f64]| {
        let variation = |at: usize| json!({"id": at.to_string(), "traffic_allocation": weights[at]});
        let variations: Vec<_> = (0..weights.len()).map(variation).collect();
        json!({"id": id, "key": key, "version": version, "variations": variations})
    };
    let core = decide_by(&only(vec![
        experience("1001", "packed", 8, &PACKED),
        experience("1002", "anchored", 12, &ANCHORED),
    ]));
    let traceless = convert_sdk::RunOptions::new().enable_storage(false).enable_tracking(false);
    // The last row and column are the visitors without a variation.
    let mut counts = [[0_u32; ANCHORED.len() + 1]; PACKED.len() + 1];
    let mut id = String::new();
    for visitor in 0..VISITORS {
        use std::fmt::Write as _;
        id.clear();
        write!(id, "visitor-{visitor}").unwrap();
        let context = core.create_context(&id, ()).unwrap();
        let place = |key: &str, none: usize| {
            let result = context.run_experience_with(key, &traceless);
            result.map_or(none, |result| result.variation_id().parse().unwrap())
        };
        counts[place("packed", PACKED.len())][place("anchored", ANCHORED.len())] += 1;
    }
    let expect = |what: &str, count: u32, share: f64| {
        let mean = f64::from(VISITORS) * share;
        let bound = DEVIATIONS * (mean * (1.0 - share)).sqrt();
        let off = (f64::from(count) - mean).abs();
        assert!(off <= bound, "{what}: {count}, not {mean} within {bound}");
    };
    for (at, weight) in PACKED.iter().enumerate() {
        expect(&format!("packed {weight}"), counts[at].iter().sum(), weight / 100.0);
    }
    for (at, weight) in ANCHORED.iter().enumerate() {
        let count = counts.iter().map(|row| row[at]).sum();
        expect(&format!("anchored {weight}"), count, weight / 100.0);
    }
    for (row, first) in PACKED.iter().enumerate().take(3) {
        for (column, second) in ANCHORED.iter().enumerate().take(2) {
            let share = first / 100.0 * second / 100.0;
            expect(&format!("packed {first} and anchored {second}"), counts[row][column], share);
        }
    }
}
