//! Properties of every config and every visitor, tested on seeded random ones through the public API.
//!
//! The environment variables `PROPERTY_SEED` and `PROPERTY_COUNT` select other cases, or more of them; a failure prints
//! the seed that reproduces its case.

mod configs;
mod interpreter;
mod many;
mod random;
mod rules;
mod split;
mod stability;
mod traffic;
mod visitors;

use convert_sdk::{Context, Core, RunOptions, SdkConfig};
use serde_json::{Value, json};

use random::Random;

/// Runs a property on `count` cases, each with its own generator.
fn check(count: u64, property: impl Fn(&mut Random)) {
    let asked = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, count) = (asked("PROPERTY_SEED").unwrap_or(1), asked("PROPERTY_COUNT").unwrap_or(count));
    for seed in first..first + count {
        let tried =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| property(&mut Random::new(seed))));
        if let Err(reason) = tried {
            eprintln!("to reproduce this case: PROPERTY_SEED={seed} PROPERTY_COUNT=1");
            std::panic::resume_unwind(reason);
        }
    }
}

/// A ready core on this config that sends nothing.
fn decide_by(config: &Value) -> Core {
    crate::support::start(SdkConfig::builder().data(config).tracking(false))
}

/// A config with only these experiences.
fn only(experiences: Vec<Value>) -> Value {
    json!({"account_id": "1", "project": {"id": "2"}, "experiences": experiences})
}

/// A decision that leaves no trace, as a variation id.
fn variation<'a>(context: &'a Context, key: &str) -> Option<&'a str> {
    let traceless = RunOptions::new().enable_storage(false).enable_tracking(false);
    context.run_experience_with(key, &traceless).ok().map(|result| result.variation_id())
}
