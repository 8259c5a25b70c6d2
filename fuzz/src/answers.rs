//! Everything that a core decides about visitors, as one text on which two cores must agree.

use std::fmt::{self, Write};

use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt};
use convert_sdk::{ConversionOptions, Core, InitializeError, RunOptions, SdkConfig};
use serde_json::Value;

use crate::visitors::{Visitor, visitors_of};

/// Two cores with this config must give the same results to visitors derived from its rules, or reject the config for
/// the same reason.
pub fn agree(config: &str) {
    let served = serde_json::from_str(config).unwrap_or_default();
    agree_about(config, &served, &visitors_of(&served));
}

/// Like [`agree`], for the caller's visitors; `served` is the same config.
pub fn agree_about(config: &str, served: &Value, visitors: &[Visitor]) {
    let segments = texts_at(served, "segments");
    let answers = || {
        let core = offline(config).map_err(|error| error.to_string())?;
        let mut answers = String::new();
        for visitor in visitors {
            // The second visit finds what the first one left behind.
            for _ in 0..2 {
                visit(&core, visitor, &segments, &mut answers).expect("text takes everything");
            }
        }
        Ok::<_, String>(answers)
    };
    assert_eq!(answers(), answers(), "two cores disagree");
}

/// A core with this config that records nothing and so needs no thread.
///
/// # Errors
/// Like `Core::initialize`.
pub fn offline(config: &str) -> Result<Core, InitializeError> {
    let config = SdkConfig::builder().data_json(config).tracking(false);
    let config = config.build().expect("a source and defaults are valid");
    let core = Core::builder(config).event_sink(NoNetwork).build().expect("no handler, no thread");
    core.initialize()?;
    Ok(core)
}

struct NoNetwork;

impl EventSink for NoNetwork {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        unreachable!("nothing is recorded")
    }
}

fn visit(core: &Core, visitor: &Visitor, segments: &[&str], answers: &mut String) -> fmt::Result {
    let Visitor { id, attributes } = visitor;
    let config = core.current_config().expect("the core is ready");
    let mut context = core.create_context(id, attributes.clone()).expect("the core is ready");
    context.set_location(attributes.clone());
    let options = RunOptions::new().attributes(attributes.clone()).type_casting(false);

    for result in context.run_experiences() {
        let (key, variation) = (result.experience_key(), result.variation_id());
        writeln!(answers, "{key} {variation} {:?} {:?}", result.bucket_value(), result.source())?;
    }
    for result in context.run_features_with(&options) {
        writeln!(answers, "{}", result.feature_key())?;
    }
    for key in config.experience_keys() {
        let shown = context.run_experience(key).ok().map(|result| result.variation_key());
        assert_eq!(context.run_experience(key).ok().map(|result| result.variation_key()), shown, "twice");
        let why = context.diagnose_experience(key);
        assert_eq!(why.variation_key.as_deref(), shown, "a diagnosis and its decision");
        assert_eq!(why.resolved(), shown.is_some());
        writeln!(answers, "{}", serde_json::to_string(&why).expect("a diagnosis is JSON"))?;
        let _ = context.run_experience_with(key, &options);
    }
    for key in config.feature_keys() {
        if let Ok(feature) = context.run_feature(key) {
            let variables: Vec<_> = feature.variables().collect();
            writeln!(answers, "{key} {variables:?}")?;
        }
        writeln!(answers, "{:?}", context.diagnose_feature(key))?;
    }
    let reached = ConversionOptions::new().rule_data(attributes.clone());
    for key in config.goal_keys() {
        let goal = context.diagnose_goal(key);
        writeln!(answers, "{goal:?} {:?}", context.track_conversion_with(key, &reached).status)?;
    }
    let matched = context.run_custom_segments(segments);
    writeln!(answers, "{matched:?}")?;
    for result in context.run_experiences() {
        writeln!(answers, "{} {}", result.experience_key(), result.variation_id())?;
    }
    Ok(())
}

/// The keys of all entities of one kind.
fn texts_at<'a>(served: &'a Value, kind: &str) -> Vec<&'a str> {
    let entities = served[kind].as_array().map(Vec::as_slice).unwrap_or_default();
    entities.iter().filter_map(|entity| entity["key"].as_str()).collect()
}
