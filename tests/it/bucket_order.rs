//! The worked example of `docs/parity.md`: one config, two orders of packed variations.

use convert_sdk::{DecisionSource, SdkConfig, config::BucketOrder};
use serde_json::json;

use crate::support::start;

/// Visitor, bucket, variation in JavaScript's order, variation in the config's order.
const VISITORS: [(&str, u32, &str, &str); 3] = [
    ("bob", 1530, "original", "one-page"),
    ("fay", 5847, "original", "original"),
    ("ann", 9462, "one-page", "original"),
];

#[test]
fn the_example_of_the_parity_page_holds() {
    let config = json!({"account_id": "1", "project": {"id": "2"}, "experiences": [
        {"id": "100", "key": "checkout", "version": 8, "variations": [
            {"id": "302", "key": "one-page", "traffic_allocation": 30},
            {"id": "301", "key": "original", "traffic_allocation": 70},
        ]},
    ]});
    let page = include_str!("../../docs/parity.md");
    for order in [BucketOrder::JavaScript, BucketOrder::Config] {
        let core = start(SdkConfig::builder().data(&config).tracking(false).bucket_order(order));
        for (visitor, bucket, in_javascript, in_config) in VISITORS {
            let context = core.create_context(visitor, ()).unwrap();
            let result = context.run_experience("checkout").unwrap();
            let expected = if order == BucketOrder::Config { in_config } else { in_javascript };
            assert_eq!(
                (result.variation_key(), result.source()),
                (expected, DecisionSource::Hashed { bucket })
            );
            let thousands = format!("{},{:03}", bucket / 1000, bucket % 1000);
            let row =
                format!("| visitor `{visitor}`, bucket {thousands} | `{in_javascript}` | `{in_config}` |");
            assert!(page.contains(&row), "{row}");
        }
    }
}
