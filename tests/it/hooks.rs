//! The hooks of evaluations: what they are told, and when.

use std::sync::{Arc, Mutex};

use convert_sdk::adapters::InMemoryDataStore;
use convert_sdk::events::Evaluation;
use convert_sdk::{Core, CoreBuilder, DecisionSource, RunOptions, SdkConfigBuilder, Undecided, attributes};

use crate::support::{direct, pro};

/// `experience variation first`, or the reason.
type Told = Arc<Mutex<Vec<String>>>;

fn line(it: &Evaluation<'_>) -> String {
    let outcome = match it.outcome {
        Ok(assigned) => format!("{} first={}", assigned.variation_key, assigned.first),
        Err(reason) => reason.code().to_owned(),
    };
    format!("{} {} {outcome}", it.visitor_id, it.experience_key)
}

fn core(config: SdkConfigBuilder, hooked: impl FnOnce(CoreBuilder, Told) -> CoreBuilder) -> (Core, Told) {
    let told = Told::default();
    let builder = Core::builder(config.offline().build().unwrap());
    let core = hooked(builder, Arc::clone(&told)).build().unwrap();
    core.initialize().unwrap();
    (core, told)
}

fn every(builder: CoreBuilder, told: Told) -> CoreBuilder {
    builder.on_evaluation(move |it| told.lock().unwrap().push(line(it)))
}

fn first(builder: CoreBuilder, told: Told) -> CoreBuilder {
    builder.on_first_assignment(move |it| told.lock().unwrap().push(line(it)))
}

fn take(told: &Told) -> Vec<String> {
    std::mem::take(&mut told.lock().unwrap())
}

#[test]
fn a_hook_is_told_of_every_evaluation_by_keys() {
    let (core, told) = core(direct(), every);
    let visitor = pro(&core, "v");
    let shown = visitor.run_experience("price").unwrap().variation_key().to_owned();
    visitor.run_experience("price").unwrap();
    pro(&core, "v").run_experience("price").unwrap();
    let again = format!("v price {shown} first=false");
    assert_eq!(take(&told), [format!("v price {shown} first=true"), again.clone(), again]);
    let free = core.create_context("w", attributes! { "plan" => "free" }).unwrap();
    assert_eq!(free.run_experience("price").unwrap_err(), Undecided::Audience);
    assert!(free.run_experience("no-such-key").is_err());
    assert_eq!(take(&told), ["w price audience_mismatch"]);
}

#[test]
fn a_hook_of_first_assignments_is_told_once() {
    let (core, told) = core(direct(), first);
    for visitor in ["v", "w", "v"] {
        let visitor = pro(&core, visitor);
        let quiet = RunOptions::new().enable_tracking(false);
        visitor.run_experience_with("price", &quiet).unwrap();
        visitor.run_experience("price").unwrap();
        visitor.run_experience("price").unwrap();
    }
    let visitors: Vec<_> = take(&told).iter().map(|line| line[..1].to_owned()).collect();
    assert_eq!(visitors, ["v", "w"]);
}

/// There each context hands its exposures over again, as only the store, or the time, tells what counts.
#[test]
fn a_first_assignment_is_told_once_with_a_store_or_a_ttl_too() {
    let hour = std::time::Duration::from_secs(3_600);
    for config in [direct().data_store(InMemoryDataStore::new()), direct().visitor_ttl(hour)] {
        let (core, told) = core(config, first);
        for _ in 0..3 {
            pro(&core, "v").run_experience("price").unwrap();
        }
        assert_eq!(take(&told).len(), 1);
    }
}

#[test]
fn without_tracking_the_first_is_the_decision() {
    let (core, told) = core(direct().tracking(false), first);
    for _ in 0..3 {
        pro(&core, "v").run_experience("price").unwrap();
    }
    assert_eq!(take(&told).len(), 1);
}

#[test]
fn a_preview_is_not_an_evaluation() {
    let (core, told) = core(direct(), every);
    let mut visitor = pro(&core, "v");
    let (experience, variation) = {
        let shown = visitor.run_experience("price").unwrap();
        assert!(matches!(shown.source(), DecisionSource::Hashed { .. }));
        (shown.experience_id().to_owned(), shown.variation_id().to_owned())
    };
    take(&told);
    visitor.set_preview(&experience, &variation).unwrap();
    visitor.run_experience("price").unwrap();
    visitor.run_features();
    assert!(take(&told).is_empty());
}

#[test]
fn a_hook_that_panics_is_counted_and_the_decision_stands() {
    let (core, _) = core(direct(), |builder, _| builder.on_evaluation(|_| panic!("a hook")));
    assert!(pro(&core, "v").run_experience("price").is_ok());
    assert_eq!(core.stats().panics, 1);
}
