//! When records are sent, and what becomes of them if the endpoint does not accept them.

use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind, Project};
use convert_sdk::delivery::ReleaseReason;
use convert_sdk::events::LifecycleEvent;
use convert_sdk::ports::{DeliveryFailure, Receipt, TransportError};
use convert_sdk::{
    AttributeValue, ConversionOptions, ConversionStatus, Core, FlushError, SdkConfig, attributes,
};
use serde_json::json;

use crate::support::{
    ONCE, PATIENCE, Posted, capacity, convert, direct, direct_to, keyed, network, patient, pro, released,
    serve, shop, start, start_scripted, until, visitor,
};

fn reason_of(event: &LifecycleEvent) -> ReleaseReason {
    let LifecycleEvent::ApiQueueReleased { reason, .. } = event else { panic!("{event:?}") };
    *reason
}

#[test]
fn a_full_batch_is_sent_at_once() {
    let emulator = serve();
    let core = start(keyed(&emulator).batch_size(3));
    let events = core.subscribe();
    convert(&core, 0..3);
    emulator.wait_for_events(3, PATIENCE).unwrap();
    let LifecycleEvent::ApiQueueReleased { reason, status, retry_attempts, error, .. } = released(&events)
    else {
        unreachable!()
    };
    assert_eq!((reason, status, retry_attempts, error), (ReleaseReason::Size, Some(200), 0, None));
    until(&core, |stats| stats.delivered >= 3);
}

#[test]
fn ten_events_make_a_batch_by_default_and_nine_wait() {
    let (core, script) = start_scripted(direct());
    convert(&core, 0..9);
    let stats = until(&core, |stats| stats.recorded == 9);
    assert_eq!((stats.pending, stats.requests), (9, 0));
    assert!(script.posts.is_empty());
    convert(&core, 9..10);
    script.answer(200);
    assert!(script.posted().visitors().len() <= 10);
}

#[test]
fn a_conversion_with_goal_data_is_two_events_of_a_batch() {
    let (core, script) = start_scripted(direct().batch_size(2));
    let revenue = ConversionOptions::new().revenue(1.0);
    assert!(visitor(&core, "v").track_conversion_with("purchase", &revenue).tracked());
    script.answer(200);
    assert_eq!(script.posted().body["visitors"][0]["events"].as_array().unwrap().len(), 2);
    let stats = until(&core, |stats| stats.delivered == 1);
    assert_eq!(stats.delivered_events, 2);
}

#[test]
fn the_auto_flush_sends_what_filled_no_batch() {
    let emulator = serve();
    let core = start(keyed(&emulator).auto_flush_interval(Duration::from_millis(1)));
    let events = core.subscribe();
    convert(&core, 0..1);
    emulator.wait_for_events(1, PATIENCE).unwrap();
    assert_eq!(reason_of(&released(&events)), ReleaseReason::Timeout);
    convert(&core, 1..2);
    emulator.wait_for_events(2, PATIENCE).unwrap();
}

#[test]
fn an_unreachable_interval_is_as_good_as_none() {
    let emulator = serve();
    let core = start(keyed(&emulator).auto_flush_interval(Duration::MAX));
    convert(&core, 0..1);
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1);
}

#[test]
fn an_explicit_flush_counts_visitors_and_events() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let events = core.subscribe();
    let revenue = ConversionOptions::new().revenue(1.0);
    assert!(visitor(&core, "a").track_conversion_with("purchase", &revenue).tracked());
    pro(&core, "a").run_experience("price").unwrap();
    visitor(&core, "b").run_experience("banner").unwrap();
    core.flush(PATIENCE).unwrap();
    let LifecycleEvent::ApiQueueReleased { reason, batch_size, visitor_count, event_count, .. } =
        released(&events)
    else {
        unreachable!()
    };
    assert_eq!((reason, batch_size, visitor_count, event_count), (ReleaseReason::Explicit, 3, 2, 4));
}

/// Every transient failure keeps the records, and a later flush delivers them once.
#[test]
fn a_later_flush_delivers_what_failed_earlier() {
    for kind in [
        FaultKind::status(500),
        FaultKind::status(503),
        FaultKind::status(408),
        FaultKind::status(425),
        FaultKind::too_many_requests(1),
        FaultKind::status(302),
        FaultKind::Reset,
    ] {
        let emulator = serve();
        let core = start(direct_to(&emulator).delivery(patient()));
        emulator.inject(Fault::track(kind.clone()).times(1));
        convert(&core, 0..3);
        let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("{kind:?}") };
        assert_eq!((report.delivered, report.dropped, report.pending), (0, 0, 3), "{kind:?}");
        assert_eq!((report.stats.pending, report.stats.requests), (3, 1), "{kind:?}");
        assert!(report.stats.last_error.is_some() && report.stats.is_balanced());
        let report = core.flush(PATIENCE).unwrap();
        assert_eq!((report.delivered, report.stats.pending, report.stats.retries), (3, 0, 1), "{kind:?}");
        assert_eq!(emulator.received().totals.events, 3, "{kind:?}");
    }
}

#[test]
fn a_lost_response_is_retried_and_counted_as_fate_unknown() {
    let emulator = serve();
    let core = start(direct_to(&emulator).delivery(patient()));
    emulator.inject(Fault::track(FaultKind::DropAfterRecording).times(1));
    convert(&core, 0..2);
    let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("no answer") };
    assert_eq!((report.pending, report.stats.fate_unknown), (2, 1));
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 2);
    assert_eq!(emulator.received().totals.events, 4, "the endpoint has them twice, as the count warned");
}

/// A 2xx is a delivery whatever becomes of its body.
#[test]
fn a_2xx_delivers_whatever_its_body_is() {
    for kind in [FaultKind::status(202), FaultKind::status(204), FaultKind::EmptyBody, FaultKind::GarbageBody]
    {
        let emulator = serve();
        let core = start(direct_to(&emulator));
        emulator.inject(Fault::track(kind.clone()));
        convert(&core, 0..1);
        assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1, "{kind:?}");
    }
}

/// The visitor whose record makes the endpoint reject a whole request.
fn poisoned(posted: &Posted) -> bool {
    posted.visitors().contains(&"visitor-13")
}

#[test]
fn one_bad_record_does_not_cost_the_others() {
    for status in [400, 422] {
        // Only a flush releases them, so that it covers them all.
        let (core, script) = start_scripted(direct().batch_size(100).delivery(capacity(100)));
        convert(&core, 0..50);
        let flusher = core.clone();
        let flush = std::thread::spawn(move || flusher.flush(PATIENCE));
        let (mut requests, mut taken) = (0, 0);
        while taken < 49 {
            let posted = script.posted();
            requests += 1;
            taken += if poisoned(&posted) { 0 } else { posted.visitors().len() };
            script.answer(if poisoned(&posted) { status } else { 200 });
        }
        let Err(FlushError::Incomplete(report)) = flush.join().unwrap() else { panic!("one is dropped") };
        assert_eq!((report.delivered, report.dropped, report.pending), (49, 1, 0));
        assert_eq!(report.stats.dropped.rejected.total(), 1);
        assert!(requests <= 2 + 6, "{requests} requests for one culprit among fifty");
        // It can be recorded again, and what was reported is not reported again.
        let again = visitor(&core, "visitor-13");
        let confirmed = again.track_conversion_confirmed("purchase", &ConversionOptions::new(), PATIENCE);
        assert_eq!(confirmed.status, ConversionStatus::Queued);
        script.answer(200);
        assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1);
    }
}

#[test]
fn a_rejected_key_drops_nothing_and_is_reported_once() {
    for status in [401, 403, 404, 410] {
        let emulator = serve();
        let core = start(direct_to(&emulator));
        let events = core.subscribe();
        emulator.inject(Fault::track(FaultKind::status(status)).times(3));
        convert(&core, 0..2);
        for _ in 0..3 {
            let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("{status}") };
            assert_eq!((report.delivered, report.dropped, report.pending), (0, 0, 2));
            assert_eq!(report.stats.last_error.unwrap().cause.status(), Some(status));
        }
        assert_eq!(core.flush(PATIENCE).unwrap().delivered, 2);
        core.close();
        let refused = |event: &LifecycleEvent| matches!(event, LifecycleEvent::DeliveryRefused { .. });
        assert_eq!(events.filter(refused).count(), 1);
    }
}

#[test]
fn rejected_segments_are_left_out_and_counted() {
    let emulator = serve();
    let core = start(direct_to(&emulator).batch_size(10_000));
    let odd = attributes! {
        "country" => AttributeValue::from(json!([1])),
        "browser" => AttributeValue::from(json!([null, "firefox"])),
        "customSegments" => "x",
        "source" => "mail",
    };
    core.create_context("odd", odd).unwrap().track_conversion("purchase");
    convert(&core, 0..49);
    let report = core.flush(PATIENCE).unwrap();
    assert_eq!((report.delivered, report.stats.requests, report.stats.segments_left_out), (50, 1, 3));
    let received = emulator.received();
    assert_eq!((received.totals.events, received.totals.refused), (50, 0));
    let odd = received.events.iter().find(|event| event.visitor_id == "odd").unwrap();
    let segments = odd.segments.clone().unwrap();
    assert_eq!(serde_json::Value::Object(segments), json!({"browser": ["firefox"], "source": "mail"}));
}

#[test]
fn only_a_2xx_counts_as_delivered() {
    let (core, script) = start_scripted(direct().delivery(patient()));
    convert(&core, 0..1);
    for status in [100, 199, 300, 304, 307, 500] {
        script.answer(status);
        let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("{status}") };
        assert_eq!((report.delivered, report.pending), (0, 1), "{status}");
    }
    script.answer(299);
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1);
}

#[test]
fn an_oversized_request_is_split_until_it_fits() {
    let project = Project::from_json(shop());
    let emulator = Emulator::builder().project(project).max_body(1500).start().unwrap();
    let core = start(direct_to(&emulator).batch_size(10_000));
    convert(&core, 0..40);
    let report = core.flush(PATIENCE).unwrap();
    assert_eq!((report.delivered, report.dropped), (40, 0));
    assert_eq!(emulator.received().totals.events, 40);
    assert!(report.stats.requests > 4 && report.stats.retries > 0, "{:?}", report.stats);
}

#[test]
fn a_single_oversized_record_is_dropped() {
    let (core, script) = start_scripted(direct().delivery(capacity(10)));
    convert(&core, 0..3);
    for status in [413, 413, 413, 200, 200] {
        script.answer(status);
    }
    let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("one is dropped") };
    assert_eq!((report.delivered, report.dropped, report.pending), (2, 1, 0));
    let sizes: Vec<_> = script.posts.try_iter().map(|posted| posted.visitors().len()).collect();
    assert_eq!(sizes, [3, 2, 1, 1, 1]);
    // Every request repeats records, except the first one and the one that met record 2 in the remaining half.
    assert_eq!(report.stats.retries, 4);
}

#[test]
fn order_is_kept_across_failures() {
    let (core, script) = start_scripted(direct().batch_size(2).delivery(capacity(100)));
    convert(&core, 0..2);
    assert_eq!(script.posted().visitors(), ["visitor-0", "visitor-1"]);
    convert(&core, 2..4);
    until(&core, |stats| stats.recorded == 4);
    script.fail(TransportError::Connect);
    script.answer(200);
    assert_eq!(core.flush(PATIENCE).unwrap().stats.delivered, 4);
    assert_eq!(script.posted().visitors(), ["visitor-0", "visitor-1", "visitor-2", "visitor-3"]);
}

#[test]
fn a_panicking_transport_loses_nothing() {
    struct Panicking;
    impl convert_sdk::ports::ConfigSource for Panicking {
        fn fetch_config(
            &self,
            _: &convert_sdk::ports::ConfigRequest<'_>,
        ) -> Result<convert_sdk::ports::ConfigResponse, TransportError> {
            panic!("on purpose")
        }
    }

    impl convert_sdk::ports::EventSink for Panicking {
        fn deliver(&self, _: &convert_sdk::ports::EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
            panic!("on purpose")
        }
    }
    let core = Core::builder(direct().build().unwrap()).transport(Panicking).build().unwrap();
    core.initialize().unwrap();
    convert(&core, 0..1);
    let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("it panics") };
    assert_eq!(report.pending, 1);
    assert_eq!(report.stats.last_error.unwrap().cause, DeliveryFailure::Unknown(TransportError::Panicked));
    assert!(core.stats().panics > 0);

    let keyed = SdkConfig::builder().sdk_key("k").build().unwrap();
    let core = Core::builder(keyed).transport(Panicking).build().unwrap();
    let fetch = convert_sdk::error::LoadError::Fetch(TransportError::Panicked);
    assert_eq!(core.initialize(), Err(convert_sdk::InitializeError::Load(fetch)));
}

#[test]
fn a_shutdowns_release_reason_is_exit() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let events = core.subscribe();
    convert(&core, 0..1);
    core.shutdown(PATIENCE).unwrap();
    assert_eq!(reason_of(&released(&events)), ReleaseReason::Exit);
}

#[test]
fn an_account_no_url_can_hold_is_dropped_and_counted() {
    let emulator = serve();
    let mut config = shop();
    config["account_id"] = "acc ount".into();
    let core = start(SdkConfig::builder().data(&config).transport(network(&emulator).build().unwrap()));
    convert(&core, 0..2);
    let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("nothing can be sent") };
    assert_eq!((report.pending, report.dropped, report.stats.dropped.rejected.total()), (0, 2, 2));
    assert_eq!(
        report.stats.last_error.unwrap().cause,
        DeliveryFailure::NotSent(TransportError::InvalidRequest)
    );
}

#[test]
fn a_project_id_cannot_choose_the_host() {
    let emulator = serve();
    let mut config = shop();
    config["project"]["id"] = "localhost/x?".into();
    let network =
        network(&emulator).track_base_url("https://[project_id].example.invalid/v1").build().unwrap();
    let core = start(SdkConfig::builder().data(&config).transport(network));
    convert(&core, 0..1);
    let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("nothing can be sent") };
    assert_eq!(
        report.stats.last_error.unwrap().cause,
        DeliveryFailure::NotSent(TransportError::InvalidRequest)
    );
    assert_eq!(emulator.received().totals.requests, 0);
}
