//! What is recorded: exposures once, conversions once, and nothing that makes no sense.

use convert_emulator::{Emulator, EventData, Received};
use convert_sdk::{
    ConversionOptions, ConversionStatus, Core, GoalDataKey, RunOptions, attributes, events::LifecycleEvent,
};

use crate::support::{
    PATIENCE, capacity, convert, counts, direct, direct_to, keyed, next, pro, serve, start, start_scripted,
    until, visitor,
};

fn flushed(core: &Core, emulator: &Emulator) -> Received {
    core.flush(PATIENCE).unwrap();
    emulator.received()
}

#[test]
fn an_exposure_is_recorded_once_across_contexts() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    for _ in 0..3 {
        let context = pro(&core, "v");
        for _ in 0..3 {
            context.run_experience("banner").unwrap();
            context.run_experience("price").unwrap();
            context.run_experiences();
            context.run_feature("banner-text").unwrap();
        }
    }
    pro(&core, "w").run_experience("banner").unwrap();
    let received = flushed(&core, &emulator);
    assert_eq!(received.events_of("v").count(), 3, "banner, price and lab");
    assert_eq!(received.events_of("w").count(), 1);
    assert_eq!(core.stats().deduplicated, 0, "later contexts know that it was handed over");
}

/// A pump takes no record without a turn, so that what was handed over is seen.
#[test]
fn a_known_visitors_request_hands_nothing_over() {
    let (core, pump) = Core::builder(direct().build().unwrap()).pumped().unwrap();
    assert_eq!(pump.initialize().check(), Some(Ok(())));
    let request = |options: &ConversionOptions| {
        let context = core.create_context("v", attributes! { "plan" => "pro", "country" => "GR" }).unwrap();
        assert!(context.run_experience("banner").is_ok() && context.run_experience("price").is_ok());
        let sent = context.track_conversion_with("purchase", options);
        assert_eq!((sent.status, sent.goal_id.as_deref()), (ConversionStatus::Queued, Some("71")));
        let stats = core.stats();
        assert!(stats.is_balanced(), "{stats:?}");
        (stats.recorded, stats.deduplicated, stats.pending_places.in_channel)
    };
    let plain = ConversionOptions::new();
    let counts = [plain.clone(), plain.clone(), plain.force_multiple(true)].map(|it| request(&it));
    assert_eq!(counts, [(3, 0, 3), (4, 1, 3), (5, 2, 3)]);
    // What it paid is for the tracker to judge, as is another goal.
    assert_eq!(request(&ConversionOptions::new().revenue(5.0)), (6, 2, 4));
    let context = core.create_context("v", ()).unwrap();
    assert!(context.track_conversion("big-order").tracked());
    assert_eq!(core.stats().pending_places.in_channel, 5);
    core.close();
    assert_eq!(context.track_conversion("purchase").status, ConversionStatus::Closed);
}

#[test]
fn a_lost_conversion_is_recorded_again() {
    let (core, script) = start_scripted(direct().batch_size(1));
    let convert = || {
        let context = visitor(&core, "v");
        assert!(context.run_experience_with("banner", &RunOptions::new().enable_tracking(false)).is_ok());
        assert!(context.track_conversion("purchase").tracked());
    };
    (0..2).for_each(|_| convert());
    assert_eq!(counts(&core).deduplicated, 1, "it is on its way");
    script.answer(400);
    until(&core, |stats| stats.dropped.rejected.conversions == 1);
    (0..2).for_each(|_| convert());
    script.answer(200);
    let stats = until(&core, |stats| stats.delivered == 1);
    assert_eq!((stats.recorded, stats.deduplicated, stats.pending), (4, 2, 0));
}

/// As for later contexts, judged by what is on its way, what the sink receives, and the counts.
#[test]
fn a_context_hands_a_conversion_over_once() {
    let (core, pump) = Core::builder(direct().build().unwrap()).pumped().unwrap();
    assert_eq!(pump.initialize().check(), Some(Ok(())));
    let context = visitor(&core, "v");
    let (plain, order) = (ConversionOptions::new(), ConversionOptions::new().revenue(5.0));
    let mut counts = [&plain, &plain, &order, &plain].into_iter().map(|options| {
        assert_eq!(context.track_conversion_with("purchase", options).status, ConversionStatus::Queued);
        let stats = core.stats();
        assert!(stats.is_balanced(), "{stats:?}");
        (stats.recorded, stats.deduplicated, stats.pending_places.in_channel)
    });
    assert!(counts.by_ref().eq([(1, 0, 1), (2, 1, 1), (3, 1, 2), (4, 2, 2)]));
    // A copy knows it too; another goal is another conversion.
    assert!(context.clone().track_conversion("purchase").tracked());
    assert!(context.track_conversion("big-order").tracked());
    let stats = core.stats();
    assert_eq!((stats.recorded, stats.deduplicated, stats.pending_places.in_channel), (6, 3, 3));

    let emulator = serve();
    let core = start(keyed(&emulator));
    let context = visitor(&core, "v");
    (0..3).for_each(|_| assert!(context.track_conversion("purchase").tracked()));
    assert_eq!(flushed(&core, &emulator).events_of("v").count(), 1);
    assert_eq!((core.stats().recorded, core.stats().deduplicated), (3, 2));
}

#[test]
fn a_context_hands_a_lost_conversion_over_again() {
    let (core, script) = start_scripted(direct().batch_size(1));
    let context = visitor(&core, "v");
    let convert = |times| (0..times).for_each(|_| assert!(context.track_conversion("purchase").tracked()));
    convert(2);
    assert_eq!(counts(&core).deduplicated, 1, "it is on its way");
    script.answer(400);
    until(&core, |stats| stats.dropped.rejected.conversions == 1);
    convert(2);
    script.answer(200);
    let stats = until(&core, |stats| stats.delivered == 1);
    assert_eq!((stats.recorded, stats.deduplicated, stats.pending), (4, 2, 0));
}

#[test]
fn a_lost_exposure_is_recorded_again() {
    let (core, script) = start_scripted(direct().batch_size(1));
    let run = || assert!(visitor(&core, "v").run_experience("banner").is_ok());
    run();
    script.posted();
    let before = visitor(&core, "v");
    assert!(before.run_experience("banner").is_ok());
    assert_eq!(core.stats().recorded, 1, "it is on its way");
    script.answer(400);
    until(&core, |stats| stats.dropped.rejected.exposures == 1);
    // By a context from before the loss, and by no later one.
    assert!(before.run_experience("banner").is_ok());
    run();
    script.answer(200);
    until(&core, |stats| stats.delivered == 1);
    run();
    assert_eq!(core.stats().recorded, 2);
}

#[test]
fn an_exposure_lost_to_a_full_queue_is_recorded_again() {
    let (core, script) = start_scripted(direct().batch_size(1).delivery(capacity(1)));
    convert(&core, 0..1);
    script.posted();
    let context = visitor(&core, "v");
    assert!(context.run_experience("banner").is_ok() && context.run_experience("banner").is_ok());
    until(&core, |stats| stats.pending == 2 && stats.pending_places.in_channel == 0);
    convert(&core, 1..2);
    until(&core, |stats| stats.dropped.overflow.exposures == 1);
    (0..2).for_each(|_| script.answer(200));
    until(&core, |stats| stats.delivered == 2);
    // By the same context, once.
    assert!(context.run_experience("banner").is_ok() && context.run_experience("banner").is_ok());
    script.answer(200);
    let stats = until(&core, |stats| stats.delivered == 3);
    assert_eq!((stats.recorded, stats.deduplicated, stats.pending), (4, 0, 0));
}

#[test]
fn a_context_does_not_repeat_an_exposure_that_is_refused() {
    let (core, script) = start_scripted(direct().batch_size(1));
    let context = visitor(&core, "v");
    assert!(context.run_experience("banner").is_ok());
    script.answer(400);
    until(&core, |stats| stats.dropped.rejected.exposures == 1);
    assert!(context.run_experience("banner").is_ok());
    assert_eq!(core.stats().recorded, 1);
    // Another context of the visitor tries once more.
    assert!(visitor(&core, "v").run_experience("banner").is_ok());
    script.answer(200);
    assert_eq!(until(&core, |stats| stats.delivered == 1).recorded, 2);
}

#[test]
fn an_exposure_is_recorded_again_if_its_mark_may_be_gone() {
    let emulator = serve();
    // Eight marks are kept.
    let core = start(direct_to(&emulator).max_visitors(1));
    let run = || assert!(visitor(&core, "v").run_experience("banner").is_ok());
    run();
    for other in 0..8 {
        let _ = visitor(&core, &format!("other-{other}")).track_conversion("purchase");
    }
    until(&core, |stats| stats.marks_evicted == 1);
    run();
    assert_eq!(core.stats().recorded, 10);
    // Marks with a time to live may expire at any moment.
    let core = start(direct_to(&emulator).visitor_ttl(PATIENCE));
    let run = || assert!(visitor(&core, "v").run_experience("banner").is_ok());
    run();
    run();
    assert_eq!(until(&core, |stats| stats.deduplicated == 1).recorded, 2);
}

#[test]
fn feature_calls_record_exposures() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    assert_eq!(visitor(&core, "v").run_feature("banner-text").unwrap().string("text"), Some("Hello"));
    let only = RunOptions::new().experience_keys(["banner"]);
    assert_eq!(visitor(&core, "w").run_features_with(&only).len(), 1);
    let received = flushed(&core, &emulator);
    assert_eq!(received.events_of("v").count(), 2, "every experience on the way is decided");
    assert_eq!(received.events_of("w").count(), 1);
    assert!(visitor(&core, "u").run_feature("no-such-feature").is_err());
    assert!(core.flush(PATIENCE).unwrap().is_complete());
    assert_eq!(core.stats().recorded, 3);
}

#[test]
fn untracked_calls_record_nothing_and_a_later_one_once() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let context = visitor(&core, "v");
    let quietly = RunOptions::new().enable_tracking(false);
    assert!(context.run_experience_with("banner", &quietly).is_ok());
    assert!(context.run_feature_with("banner-text", &quietly).is_ok());
    assert!(core.flush(PATIENCE).unwrap().is_complete());
    assert_eq!(core.stats().recorded, 0);
    context.run_experience("banner").unwrap();
    context.run_experience("banner").unwrap();
    assert_eq!(flushed(&core, &emulator).totals.events, 1);
}

#[test]
fn disabled_storage_remembers_nothing_and_records_once() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let lightly = RunOptions::new().enable_storage(false);
    let context = visitor(&core, "v");
    for _ in 0..2 {
        let result = context.run_experience_with("banner", &lightly).unwrap();
        assert!(matches!(result.source(), convert_sdk::DecisionSource::Hashed { .. }));
    }
    assert!(context.track_conversion("purchase").tracked());
    let received = flushed(&core, &emulator);
    assert_eq!(received.totals.bucketing, 1);
    let EventData::Conversion { bucketing_data, .. } = &received.events[1].event else { panic!() };
    assert_eq!(*bucketing_data, None, "nothing is stored that could go with it");
    let again = visitor(&core, "v").run_experience("banner").unwrap().source();
    assert!(matches!(again, convert_sdk::DecisionSource::Hashed { .. }));
    let stored = visitor(&core, "v").run_experience("banner").unwrap().source();
    assert_eq!(stored, convert_sdk::DecisionSource::Stored);
}

#[test]
fn disabled_tracking_records_nothing() {
    let core = start(direct().tracking(false));
    let context = visitor(&core, "v");
    assert!(context.run_experience("banner").is_ok());
    assert_eq!(context.track_conversion("purchase").status, ConversionStatus::TrackingDisabled);
    assert_eq!(counts(&core), convert_sdk::Stats::default());
}

#[test]
fn a_conversion_is_recorded_once_per_visitor_and_goal() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    for _ in 0..3 {
        assert!(visitor(&core, "v").track_conversion("purchase").tracked());
        assert!(visitor(&core, "v").track_conversion("signup").tracked());
        assert!(visitor(&core, "w").track_conversion("purchase").tracked());
    }
    assert_eq!(flushed(&core, &emulator).totals.conversion, 3);
    assert_eq!(core.stats().deduplicated, 6);
}

#[test]
fn a_confirmed_conversion_returns_the_trackers_verdict() {
    let core = start(direct());
    let context = visitor(&core, "v");
    let plain = ConversionOptions::new();
    let confirm = |options: &ConversionOptions| {
        context.track_conversion_confirmed("purchase", options, PATIENCE).status
    };
    assert_eq!(confirm(&plain), ConversionStatus::Queued);
    assert_eq!(confirm(&plain), ConversionStatus::Deduplicated);
    assert_eq!(confirm(&ConversionOptions::new().revenue(1.0)), ConversionStatus::Deduplicated);
    assert_eq!(
        confirm(&ConversionOptions::new().revenue(1.0).force_multiple(true)),
        ConversionStatus::Queued
    );
    let unknown = context.track_conversion_confirmed("nothing", &plain, PATIENCE);
    assert_eq!((unknown.status, unknown.goal_id), (ConversionStatus::GoalNotFound, None));
    let late = context.track_conversion_confirmed("signup", &plain, std::time::Duration::ZERO);
    assert!(late.tracked(), "{late:?}");
}

#[test]
fn a_result_has_the_goals_id_even_if_nothing_is_sent() {
    let core = start(direct().tracking(false));
    let plain = ConversionOptions::new();
    let cases = [
        ("", ConversionOptions::new(), ConversionStatus::NoVisitor),
        ("v", ConversionOptions::new().revenue(f64::NAN), ConversionStatus::InvalidData),
        ("v", ConversionOptions::new().rule_data(attributes! {}), ConversionStatus::GoalNotMatched),
        ("v", plain.clone(), ConversionStatus::TrackingDisabled),
    ];
    for (visitor_id, options, status) in cases {
        let result = visitor(&core, visitor_id).track_conversion_with("purchase", &options);
        assert_eq!((result.status, result.goal_id.as_deref()), (status, Some("71")));
    }
    let unknown = visitor(&core, "").track_conversion_with("nothing", &plain);
    assert_eq!((unknown.status, unknown.goal_id), (ConversionStatus::NoVisitor, None));
}

/// As in the official Python SDK: a forced repetition sends its data again, never the bare event.
#[test]
fn force_multiple_sends_goal_data_again() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let events = core.subscribe();
    let context = visitor(&core, "v");
    let forced = ConversionOptions::new().force_multiple(true);
    let paid = forced.clone().revenue(5.0);
    for options in [&forced, &forced, &paid, &paid] {
        assert!(context.track_conversion_with("purchase", options).tracked());
    }
    let received = flushed(&core, &emulator);
    let has_data: Vec<_> = received
        .events
        .iter()
        .map(|event| matches!(&event.event, EventData::Conversion { goal_data: Some(_), .. }))
        .collect();
    assert_eq!(has_data, [false, true, true]);
    let stats = core.stats();
    assert_eq!((stats.recorded, stats.deduplicated, stats.delivered), (4, 1, 3));
    let judged: Vec<bool> = (0..4)
        .map(|_| {
            next(&events, |event| match event {
                LifecycleEvent::Conversion { deduplicated, .. } => Some(*deduplicated),
                _ => None,
            })
        })
        .collect();
    assert_eq!(judged, [false, true, false, false], "a repetition of which nothing is sent says so");
}

#[test]
fn goal_data_of_a_first_conversion_is_a_second_event() {
    let (core, script) = start_scripted(direct());
    let order = ConversionOptions::new()
        .data(GoalDataKey::TransactionId, "a")
        .data(GoalDataKey::TransactionId, "b")
        .revenue(1.5);
    assert!(visitor(&core, "v").track_conversion_with("purchase", &order).tracked());
    script.answer(200);
    core.flush(PATIENCE).unwrap();
    let body = script.posted().body;
    let events = body["visitors"][0]["events"].as_array().unwrap();
    assert_eq!(events[0]["data"], serde_json::json!({"goalId": "71"}));
    let data = serde_json::json!([{"key": "transactionId", "value": "b"}, {"key": "amount", "value": 1.5}]);
    assert_eq!(events[1]["data"]["goalData"], data);
}

#[test]
fn an_impossible_conversion_is_reported_and_not_recorded() {
    let core = start(direct());
    let status = |id: &str, goal: &str, options: &ConversionOptions| {
        visitor(&core, id).track_conversion_with(goal, options).status
    };
    let plain = ConversionOptions::new();
    assert_eq!(status("", "purchase", &plain), ConversionStatus::NoVisitor);
    assert_eq!(status("v", "no-such-goal", &plain), ConversionStatus::GoalNotFound);
    assert_eq!(status("v", "", &plain), ConversionStatus::GoalNotFound);
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(
            status("v", "purchase", &ConversionOptions::new().revenue(number)),
            ConversionStatus::InvalidData
        );
        let other = ConversionOptions::new().data(GoalDataKey::CustomDimension1, number);
        assert_eq!(status("v", "purchase", &other), ConversionStatus::InvalidData);
    }
    let with = |data| ConversionOptions::new().rule_data(data);
    assert_eq!(
        status("v", "big-order", &with(attributes! { "total" => 99 })),
        ConversionStatus::GoalNotMatched
    );
    assert_eq!(status("v", "big-order", &with(attributes! {})), ConversionStatus::GoalNotMatched);
    assert_eq!(status("v", "purchase", &with(attributes! {})), ConversionStatus::GoalNotMatched);
    assert_eq!(core.stats().recorded, 0);
    assert_eq!(status("v", "big-order", &with(attributes! { "total" => 100 })), ConversionStatus::Queued);
    assert_eq!(status("v", "purchase", &plain), ConversionStatus::Queued);
}

#[test]
fn an_empty_visitor_id_decides_and_records_nothing() {
    let core = start(direct());
    let mut nobody = pro(&core, "");
    assert!(nobody.run_experience("banner").is_err());
    assert!(nobody.run_experiences().is_empty());
    assert!(nobody.run_feature("banner-text").is_err());
    assert!(nobody.run_features().is_empty());
    assert!(!nobody.run_custom_segments(&["vip"]).matched());
    nobody.set_preview("1", "12").unwrap();
    assert!(nobody.run_experience("banner").is_err(), "nobody sees no preview either");
    assert!(nobody.run_experiences().is_empty());
    assert_eq!(core.stats().recorded, 0);
}

#[test]
fn an_experience_that_does_not_exist_has_no_result() {
    let core = start(direct());
    let context = visitor(&core, "v");
    for key in ["", "no-such-experience", "Banner", "1"] {
        assert!(context.run_experience(key).is_err(), "{key}");
    }
    assert!(context.run_experience("price").is_err(), "not in the audience");
    assert_eq!(core.stats().recorded, 0);
}

#[test]
fn numbers_of_any_size_are_valid_attributes() {
    let core = start(direct());
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -0.0, 5e-324, 1e300] {
        let context = core.create_context("v", attributes! { "plan" => number, "tier" => number }).unwrap();
        assert!(context.run_experience("price").is_err());
        assert!(context.run_experience("banner").is_ok());
        let _ = context.diagnose_experience("price");
        let forced = context
            .run_experience_with("price", &RunOptions::new().attributes(attributes! { "plan" => "pro" }));
        assert!(forced.is_ok());
    }
}

#[test]
fn very_long_and_odd_visitor_ids_are_accepted() {
    let emulator = serve();
    let core = start(direct_to(&emulator));
    let long = "x".repeat(100_000);
    for id in [long.as_str(), "ü\u{1f600}", "a\"b\\c\n", " ", "\u{0}"] {
        assert!(visitor(&core, id).run_experience("banner").is_ok());
    }
    let received = flushed(&core, &emulator);
    assert_eq!((received.totals.events, received.totals.refused), (5, 0));
    assert_eq!(received.events_of(&long).count(), 1);
}

#[test]
fn goal_data_without_entries_is_goal_data() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let nothing = ConversionOptions::new().goal_data([]);
    assert!(visitor(&core, "v").track_conversion_with("purchase", &nothing).tracked());
    let received = flushed(&core, &emulator);
    let data: Vec<_> = received
        .events_of("v")
        .map(|event| match &event.event {
            EventData::Conversion { goal_data, .. } => goal_data.as_ref().map(Vec::len),
            EventData::Bucketing { .. } => panic!("nothing was decided"),
        })
        .collect();
    assert_eq!(data, [None, Some(0)], "a bare event, and one with an empty list");
}

#[test]
fn a_feature_carried_by_several_experiences_is_listed_once() {
    let core = start(direct());
    let context = pro(&core, "v");
    let features = context.run_features();
    let mut keys: Vec<_> = features.iter().map(|feature| feature.feature_key()).collect();
    let declared: Vec<_> = context.config().feature_keys().filter(|key| keys.contains(key)).collect();
    assert_eq!(keys, declared, "in the order of the config");
    keys.dedup();
    assert_eq!(keys.len(), features.len());
}
