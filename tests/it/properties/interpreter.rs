//! The compiled snapshot against the naive interpreter, over whole visits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use convert_sdk::{
    Context, ConversionOptions, ConversionStatus, Core, DecisionSource, ExperienceResult, FeatureResult,
    SdkConfig, adapters::InMemoryDataStore, config::BucketOrder, ports::DataStore,
};
use serde_json::{Map, Value};

use super::configs::{self, Kinds};
use super::random::Random;
use super::visitors::{self, Given};
use super::{check, rules};
use crate::naive::{Carried, Decision, Naive, Settings, Visitor, in_doubles};

const CONFIGS: u64 = 500;
const VISITORS: usize = 6;
const CALLS: usize = 6;

/// How often each kind of result occurred: agreeing on nothing would prove nothing.
type Tally = RefCell<BTreeMap<&'static str, u32>>;

#[test]
fn the_naive_interpreter_agrees_on_every_visit() {
    let tally = Tally::default();
    check(CONFIGS, |random| {
        let config = configs::config(random, Kinds { stored: true, odd: true });
        let naive = Naive { config: &config, settings: visitors::settings(random) };
        let given = random.several(VISITORS, |random, at| Given::new(random, &config, at));
        let store = Arc::new(InMemoryDataStore::new());
        for one in &given {
            store.set(&format!("state:[{}]", ascii(&one.id)), one.envelope(), None).unwrap();
        }
        let core = core(&config, &naive.settings, store);
        for one in &given {
            let context = core.create_context(&one.id, one.attributes.clone()).unwrap();
            let mut context = context.with_location(one.location.clone());
            let (bucketing, segments) = (one.bucketing.clone(), one.segments.clone());
            let mut visitor =
                Visitor::new(&one.id, bucketing, segments, &one.attributes, one.location.clone());
            for _ in 0..CALLS {
                visit(random, &naive, &mut visitor, &mut context, &tally);
            }
        }
        core.close();
    });
    let tally = tally.into_inner();
    let enough = tally.len() == 9 && tally.values().all(|count| *count > 100);
    assert!(enough || std::env::var_os("PROPERTY_COUNT").is_some(), "{tally:?}");
}

/// One call, made twice.
fn visit(
    random: &mut Random,
    naive: &Naive<'_>,
    visitor: &mut Visitor,
    context: &mut Context,
    tally: &Tally,
) {
    let seen = |kind: &'static str| *tally.borrow_mut().entry(kind).or_default() += 1;
    let call = visitors::call(random, naive.config);
    let options = visitors::options(&call);
    let about = || format!("\n{call:?}\n{:?}\n{}", naive.settings, naive.config);
    let key = random.pick(&["e0", "e1", "e2", "e3", "e4", "e5", "nowhere", "", "5"]);
    let feature = random.pick(&["f0", "f1", "f2", "nowhere", "", "5"]);
    match random.below(10) {
        0..=3 => {
            let diagnosed = context.diagnose_experience_with(key, &options);
            let expected = naive.run(visitor, key, &call);
            let actual = context.run_experience_with(key, &options).ok();
            seen(match actual.map(|result| result.source()) {
                Some(DecisionSource::Hashed { .. }) => "hashed",
                Some(DecisionSource::Stored) => "stored",
                Some(DecisionSource::Forced) => "forced",
                _ => "undecided",
            });
            assert_eq!(diagnosed.bucket_value, actual.and_then(|it| it.bucket_value()), "{key} {}", about());
            assert_eq!(actual.map(decision), expected, "{key} {}", about());
        }
        4 => {
            let actual: Vec<_> = context.run_experiences_with(&options).into_iter().map(decision).collect();
            assert_eq!(actual, naive.run_all(visitor, &call), "{}", about());
        }
        5 | 6 => {
            let actual: Vec<_> = context.run_features_with(&options).into_iter().map(carried).collect();
            assert_eq!(actual, naive.features(visitor, &call), "{}", about());
        }
        7 => {
            let actual = context.run_feature_with(feature, &options).ok().map(carried);
            seen(if actual.is_some() { "feature" } else { "no feature" });
            assert_eq!(actual, naive.feature(visitor, feature, &call), "{feature} {}", about());
        }
        8 => {
            let keys = ["5", "s-0", "s-2", "nowhere", "s-1", ""];
            let keys = &keys[random.below(keys.len())..];
            let matched = context.run_custom_segments_with(keys, call.attributes.clone());
            let actual: Vec<_> = matched.matched_segment_ids().collect();
            if matched.matched() {
                seen("custom segments");
            }
            assert_eq!(actual, naive.custom_segments(visitor, keys, &call.attributes), "{}", about());
        }
        _ => {
            let (goal, data) = (random.pick(&["g-0", "g-1", "nowhere", ""]), rules::data(random));
            let options = ConversionOptions::new().rule_data(data.clone());
            let expected = match naive.goal_takes(goal, &data) {
                None => ConversionStatus::GoalNotFound,
                Some(false) => ConversionStatus::GoalNotMatched,
                Some(true) => ConversionStatus::TrackingDisabled,
            };
            seen(if naive.goal_takes(goal, &data) == Some(true) { "goal" } else { "no goal" });
            assert_eq!(
                context.track_conversion_with(goal, &options).status,
                expected,
                "{goal} {data:?} {}",
                about()
            );
            let segments = rules::data(random);
            visitor.set_segments(&segments);
            context.set_segments(segments);
        }
    }
}

fn core(config: &Value, settings: &Settings, store: Arc<InMemoryDataStore>) -> Core {
    let order = if settings.config_order { BucketOrder::Config } else { BucketOrder::JavaScript };
    let mut builder = SdkConfig::builder()
        .data(config)
        .tracking(false)
        .shared_data_store(store)
        .exclude_experience_id_hash(settings.exclude_experience_id_hash)
        .hash_seed(settings.seed)
        .max_traffic(NonZeroU32::new(settings.max_traffic).unwrap())
        .bucket_order(order);
    if let Some(environment) = &settings.environment {
        builder = builder.environment(environment.as_str());
    }
    crate::support::start(builder)
}

fn decision(result: ExperienceResult<'_>) -> Decision {
    Decision {
        experience_key: result.experience_key().to_owned(),
        variation_id: result.variation_id().to_owned(),
        source: result.source(),
    }
}

fn carried(result: FeatureResult<'_>) -> Carried {
    let variables: Map<String, Value> =
        result.variables().map(|(key, value)| (key.to_owned(), in_doubles(value))).collect();
    Carried {
        feature_id: result.feature_id().to_owned(),
        experience_key: result.experience_key().to_owned(),
        variation_id: result.variation_id().to_owned(),
        variables,
    }
}

/// JSON text in ASCII, as the data store's keys are written.
pub(super) fn ascii(text: &str) -> String {
    let mut spelled = String::from('"');
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => spelled.push(char::from(byte)),
            _ => spelled.push_str(&format!("\\u{unit:04x}")),
        }
    }
    spelled + "\""
}
