//! Handles and decisions for many visitors, requested by tasks.

use std::sync::Arc;

use convert_sdk::{
    Attributes, Core, DecisionSource, ExperienceHandle, ExperienceResult, FeatureOff, RunOptions, Undecided,
    adapters::InMemoryDataStore,
    attributes,
    error::LookupError,
    ports::{BoxFuture, DataStore},
};
use serde_json::{Value, json};

use super::stores::Shelf;
use super::{block_on, poll_once, start_async};
use crate::support::{direct, start, unready};

/// A visitor whose stored variation differs from every bucket's.
fn decided() -> Value {
    json!({"attributes": {}, "segments": {}, "bucketing": {"2": "22"}})
}

#[test]
fn handles_equal_those_of_the_other_surface() {
    let core = unready(direct()).to_async();
    assert_eq!(core.experience("price").unwrap_err(), LookupError::NotReady);
    block_on(core.initialize()).unwrap();
    let (price, banner) = (core.experience("price").unwrap(), core.feature("banner-text").unwrap());
    assert_eq!(core.goal("nowhere").unwrap_err(), LookupError::NotInConfig);
    let visitor = block_on(core.create_context("v", attributes! { "plan" => "pro" })).unwrap();
    assert_eq!(visitor.run_experience(&price).unwrap().variation_id(), "21");
    assert_eq!(visitor.run_feature(&banner).unwrap().string("text"), Some("Hello"));
    assert!(visitor.track_conversion(&core.goal("purchase").unwrap()).tracked());
    let nobody = block_on(core.create_context("", ())).unwrap();
    assert_eq!(nobody.run_experience(&price).unwrap_err(), Undecided::NoVisitor);
    assert_eq!(nobody.run_feature(&banner).unwrap_err(), FeatureOff::NotCarried);
}

#[test]
fn decide_many_agrees_across_stores_and_surfaces() {
    let shelf = Arc::new(Shelf::default());
    shelf.put(r#"state:["v1"]"#, decided());
    let memory = InMemoryDataStore::new();
    memory.set(r#"state:["v1"]"#, decided(), None).unwrap();
    let cores: [Core; 3] = [
        start(direct().tracking(false).shared_async_data_store(shelf)),
        start(direct().tracking(false).data_store(memory)),
        start(direct().tracking(false)),
    ];
    let (pro, free) = (attributes! { "plan" => "pro" }, Attributes::new());
    let visitors = [("v0", &pro), ("v1", &pro), ("", &pro), ("v2", &free)];
    for (core, stored) in cores.iter().zip([true, true, false]) {
        let tasks = core.to_async();
        let config = core.current_config().unwrap();
        for key in ["price", "nowhere"] {
            let (handle, options) = (ExperienceHandle::new(key), RunOptions::new());
            let (mut here, mut there) = (vec![Err(Undecided::Archived)], Vec::new());
            block_on(tasks.decide_many(&config, &handle, visitors, &options, &mut here));
            core.decide_many(&config, &handle, visitors, &options, &mut there);
            let seen = |results: &[Result<ExperienceResult<'_>, Undecided>]| {
                let seen = |it: ExperienceResult<'_>| (it.variation_id().to_owned(), it.source());
                results.iter().map(|result| result.map(seen)).collect::<Vec<_>>()
            };
            assert_eq!(seen(&here), seen(&there));
            if key == "nowhere" {
                assert_eq!(seen(&here), vec![Err(Undecided::NotInConfig); 4]);
                continue;
            }
            let remembered = Ok(("22".to_owned(), DecisionSource::Stored));
            assert_eq!(seen(&here)[1] == remembered, stored);
            assert_eq!(seen(&here)[2..], [Err(Undecided::NoVisitor), Err(Undecided::Audience)]);
        }
    }
}

#[test]
fn a_dropped_future_keeps_the_decisions_made_so_far() {
    let shelf = Arc::new(Shelf::default());
    let core = start_async(direct().tracking(false).shared_async_data_store(shelf.clone()));
    let (price, options, pro) =
        (core.experience("price").unwrap(), RunOptions::new(), attributes! { "plan" => "pro" });
    let config = core.current_config().unwrap();
    let mut results = Vec::new();
    let closing = ["v0", "v1", "v2"].into_iter().inspect(|id| {
        if *id == "v1" {
            shelf.close();
        }
    });
    let visitors = closing.map(|id| (id, &pro));
    let mut deciding: BoxFuture<'_, _> =
        Box::pin(core.decide_many(&config, &price, visitors, &options, &mut results));
    poll_once(&mut deciding);
    drop(deciding);
    assert_eq!(results.len(), 1);
    assert!(results[0].is_ok());
}
