//! What must not change a decision: another core or context, the order of calls or attributes, an unrelated experience.

use convert_sdk::{Attributes, Context, Core, RunOptions};
use serde_json::{Map, Value, json};

use super::configs::{self, Kinds};
use super::random::Random;
use super::visitors::Given;
use super::{check, decide_by};

const CONFIGS: u64 = 150;
const VISITORS: usize = 8;

/// No decision depends on another, nor on its own repetition. The exception, as in JavaScript: if a permanent audience
/// stands beside another one under "any", a visitor admitted only by the permanent one is checked against the other one
/// later, and loses the variation.
const INDEPENDENT: Kinds = Kinds { stored: false, odd: true };

#[test]
fn a_visitor_gets_the_same_variations_in_any_order() {
    check(CONFIGS, |random| {
        let config = configs::config(random, INDEPENDENT);
        let (core, other) = (decide_by(&config), decide_by(&config));
        for at in 0..VISITORS {
            let given = Given::new(random, &config, at);
            let mut keys: Vec<String> = (0..8).map(|at| format!("e{at}")).collect();
            let first = decisions(&visitor(&core, &given), &keys);
            random.shuffle(&mut keys);
            // Remembered by the first core, made anew by the second.
            assert_eq!(decisions(&visitor(&core, &given), &keys), first, "{config}");
            let context = visitor(&other, &given);
            assert_eq!(decisions(&context, &keys), first, "{config}");
            random.shuffle(&mut keys);
            assert_eq!(decisions(&context, &keys), first, "{config}");
        }
    });
}

#[test]
fn the_order_of_attributes_changes_nothing() {
    check(CONFIGS, |random| {
        let config = configs::config(random, Kinds { stored: true, odd: true });
        let (core, other) = (decide_by(&config), decide_by(&config));
        for at in 0..VISITORS {
            let given = Given::new(random, &config, at);
            let forward = core.create_context(&given.id, given.attributes.clone()).unwrap();
            let forward = forward.with_location(given.location.clone());
            let attributes = shuffled(random, &given.attributes);
            let mut backward = other.create_context(&given.id, ()).unwrap();
            backward.set_location(shuffled(random, &given.location).into_iter().collect::<Attributes>());
            // One by one, so that not even the timing of a segment matters.
            for (name, value) in attributes {
                backward.set_attributes(Attributes::new().with(name, value));
            }
            assert_eq!(everything(&backward), everything(&forward), "{config}");
        }
    });
}

#[test]
fn an_unrelated_experience_changes_nothing_for_the_others() {
    check(CONFIGS, |random| {
        let config = configs::config(random, Kinds { stored: true, odd: true });
        let mut more = config.clone();
        let mut unrelated = configs::experience(random, 9);
        unrelated["audiences"] = json!([]);
        unrelated["key"] = json!("unrelated");
        let experiences = more["experiences"].as_array_mut().unwrap();
        let place = random.below(experiences.len() + 1);
        experiences.insert(place, unrelated);
        let (core, other) = (decide_by(&config), decide_by(&more));
        for at in 0..VISITORS {
            let given = Given::new(random, &config, at);
            let mut with_it = everything(&visitor(&other, &given));
            with_it.retain(|part| !part.contains("unrelated"));
            assert_eq!(with_it, everything(&visitor(&core, &given)), "{more}");
        }
    });
}

fn visitor(core: &Core, given: &Given) -> Context {
    let context = core.create_context(&given.id, given.attributes.clone()).unwrap();
    context.with_location(given.location.clone())
}

/// What the visitor gets, by key; the calls are made in the order of `keys`.
fn decisions(context: &Context, keys: &[String]) -> Map<String, Value> {
    let run = |key: &String| context.run_experience(key).map(|result| result.variation_id());
    keys.iter().map(|key| (key.clone(), json!(run(key)))).collect()
}

/// Every experience and feature of a visitor, in order.
fn everything(context: &Context) -> Vec<String> {
    let experiences = context.run_experiences().into_iter();
    let experiences = experiences.map(|it| format!("{} {}", it.experience_key(), it.variation_id()));
    // The unrelated experience may carry a feature before the others do, and is not run.
    let related = RunOptions::new().experience_keys((0..8).map(|at| format!("e{at}")));
    let features = context.run_features_with(&related).into_iter().map(|it| {
        let variables: Vec<_> = it.variables().collect();
        format!("{} {} {variables:?}", it.experience_key(), it.feature_key())
    });
    experiences.chain(features).collect()
}

fn shuffled(random: &mut Random, data: &Map<String, Value>) -> Vec<(String, Value)> {
    let mut pairs: Vec<_> = data.clone().into_iter().collect();
    random.shuffle(&mut pairs);
    pairs
}
