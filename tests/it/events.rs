//! Lifecycle events: which ones are announced and to whom; listeners cannot harm anybody.

use convert_sdk::config::EntityKind;
use convert_sdk::diagnosis::DiagnosticReason;
use convert_sdk::events::{LifecycleEvent, LifecycleEventKind};
use convert_sdk::ports::DeliveryFailure;
use convert_sdk::{Core, FeatureOff, Undecided};
use crossbeam_channel::{bounded, unbounded};

use crate::support::{
    PATIENCE, convert, deadline, direct, direct_to, keyed, next, pro, serve, start, start_scripted, unready,
    until, visitor,
};

#[test]
fn an_exposure_and_a_conversion_are_announced_once() {
    let core = start(direct());
    let events = core.subscribe();
    for _ in 0..2 {
        let context = pro(&core, "v");
        context.run_experience("price").unwrap();
        assert!(context.track_conversion("purchase").tracked());
    }
    core.close();
    let told: Vec<_> = events.collect();
    let bucketing: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            LifecycleEvent::Bucketing { visitor_id, experience_id, variation_id, .. } => {
                Some((visitor_id.as_str(), experience_id.as_str(), variation_id.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(bucketing, [("v", "2", "21")]);
    let conversions: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            LifecycleEvent::Conversion { visitor_id, goal_id, goal_key, deduplicated, .. } => {
                Some((visitor_id.as_str(), goal_id.as_str(), goal_key.as_str(), *deduplicated))
            }
            _ => None,
        })
        .collect();
    assert_eq!(conversions, [("v", "71", "purchase", false), ("v", "71", "purchase", true)]);
}

#[test]
fn diagnoses_of_unresolved_names_are_announced() {
    let core = start(direct());
    let events = core.subscribe();
    let context = visitor(&core, "v");
    let _ = context.diagnose_experience("banner");
    let _ = context.diagnose_experience("price");
    let _ = context.diagnose_experience("none");
    let _ = context.diagnose_feature("none");
    let _ = context.diagnose_goal("none");
    let _ = context.diagnose_entity(EntityKind::Audience, "none");
    core.close();
    let reasons: Vec<_> = events
        .map(|event| match event {
            LifecycleEvent::Diagnostic { reason, .. } => reason,
            other => panic!("{other:?}"),
        })
        .collect();
    let official: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(
        official,
        [
            "audience_mismatch",
            "experience_not_found",
            "feature_not_found",
            "goal_not_found",
            "entity_not_found"
        ]
    );
    assert_eq!(
        reasons,
        [
            DiagnosticReason::Undecided(Undecided::Audience),
            DiagnosticReason::Undecided(Undecided::NotInConfig),
            DiagnosticReason::FeatureOff(FeatureOff::NotInConfig),
            DiagnosticReason::GoalNotFound,
            DiagnosticReason::EntityNotFound,
        ]
    );
}

#[test]
fn a_handler_receives_only_its_kind_from_the_first_event_on() {
    let emulator = serve();
    let (heard, hears) = unbounded();
    let (ready, is_ready) = unbounded();
    let core = Core::builder(keyed(&emulator).build().unwrap())
        .on(LifecycleEventKind::Ready, move |event| ready.send(event.kind()).unwrap())
        .on(LifecycleEventKind::Bucketing, move |event| heard.send(event.kind()).unwrap())
        .build()
        .unwrap();
    core.initialize().unwrap();
    visitor(&core, "v").run_experience("banner").unwrap();
    convert(&core, 0..1);
    core.close();
    assert_eq!(is_ready.iter().collect::<Vec<_>>(), [LifecycleEventKind::Ready]);
    assert_eq!(hears.iter().collect::<Vec<_>>(), [LifecycleEventKind::Bucketing]);
}

#[test]
fn a_panicking_handler_stays_subscribed_and_delays_nothing() {
    let emulator = serve();
    let core = start(direct_to(&emulator).batch_size(1));
    let (heard, hears) = unbounded();
    core.on(LifecycleEventKind::Conversion, move |_| {
        heard.send(()).unwrap();
        panic!("on purpose")
    })
    .unwrap();
    convert(&core, 0..3);
    emulator.wait_for_events(3, PATIENCE).unwrap();
    for _ in 0..3 {
        hears.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(core.close().delivered, 3);
}

/// Two panics in one drop would abort the process.
#[test]
fn handlers_whose_drop_panics_are_counted() {
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a handler's drop panics");
        }
    }

    let core = start(direct().offline());
    for _ in 0..2 {
        let bomb = Bomb;
        core.on(LifecycleEventKind::Conversion, move |_| _ = &bomb).unwrap();
    }
    core.close();
    // Their thread may outlast the close.
    until(&core, |stats| stats.panics == 2);
}

#[test]
fn a_blocking_handler_delays_nothing_else() {
    let emulator = serve();
    let core = start(direct_to(&emulator).batch_size(1));
    let (blocked, is_blocked) = bounded(1);
    let (go_on, told) = bounded::<()>(0);
    core.on(LifecycleEventKind::Conversion, move |_| {
        let _ = blocked.try_send(());
        let _ = told.recv();
    })
    .unwrap();
    convert(&core, 0..1);
    is_blocked.recv_timeout(PATIENCE).unwrap();
    convert(&core, 1..2_000);
    assert!(core.flush(PATIENCE).is_ok());
    let stats = core.stats();
    assert_eq!(stats.delivered, 2_000);
    assert!(stats.events_missed > 0, "events that exceed the handler's queue are counted");
    drop(go_on);
    core.close();
}

#[test]
fn adding_a_handler_does_not_wait_for_one_that_blocks() {
    let core = start(direct());
    let (blocked, is_blocked) = bounded(1);
    let (go_on, told) = bounded::<()>(0);
    core.on(LifecycleEventKind::Conversion, move |_| {
        let _ = blocked.try_send(());
        let _ = told.recv();
    })
    .unwrap();
    convert(&core, 0..1);
    is_blocked.recv_timeout(PATIENCE).unwrap();
    convert(&core, 1..2_000);
    until(&core, |stats| stats.events_missed > 0);
    let (added, is_added) = bounded(1);
    let adder = core.clone();
    let adding = std::thread::spawn(move || {
        adder.on(LifecycleEventKind::Ready, |_| {}).unwrap();
        added.send(()).unwrap();
    });
    is_added.recv_timeout(PATIENCE).expect("`on` should not wait");
    drop(go_on);
    adding.join().unwrap();
    core.close();
}

#[test]
fn a_handler_can_add_handlers_and_use_the_core() {
    let core = start(direct());
    let (heard, hears) = unbounded();
    let own = core.clone();
    core.on(LifecycleEventKind::Bucketing, move |_| {
        let heard = heard.clone();
        own.on(LifecycleEventKind::Conversion, move |_| heard.send(()).unwrap()).unwrap();
        assert!(visitor(&own, "from-handler").track_conversion("purchase").tracked());
    })
    .unwrap();
    visitor(&core, "v").run_experience("banner").unwrap();
    hears.recv_timeout(PATIENCE).unwrap();
    core.close();
}

#[test]
fn a_slow_subscriber_misses_the_newest_events_counted() {
    let core = start(direct().batch_size(10_000));
    let events = core.subscribe();
    convert(&core, 0..1_100);
    until(&core, |stats| stats.recorded == 1_100);
    core.close();
    let first = events.try_next().unwrap();
    let LifecycleEvent::Conversion { visitor_id, .. } = first else { panic!("{first:?}") };
    assert_eq!(visitor_id.as_str(), "visitor-0");
    assert_eq!(events.count(), 1_023);
    assert!(core.stats().events_missed >= 76);
}

#[test]
fn a_dropped_subscriber_misses_nothing() {
    let core = start(direct());
    for _ in 0..100 {
        drop(core.subscribe());
    }
    let kept = core.subscribe();
    convert(&core, 0..5);
    for _ in 0..5 {
        next(&kept, |event| matches!(event, LifecycleEvent::Conversion { .. }).then_some(()));
    }
    assert_eq!(core.close().events_missed, 0, "there is no subscriber to miss anything");
}

#[test]
fn a_subscription_waits_and_ends_with_the_core() {
    let core = unready(direct());
    let events = core.subscribe();
    assert_eq!(events.try_next(), None);
    assert_eq!(events.next_before(std::time::Instant::now()), None);
    core.initialize().unwrap();
    assert!(matches!(events.next_before(deadline()), Some(LifecycleEvent::Ready { .. })));
    let waiting = std::thread::spawn(move || events.count());
    drop(core);
    assert_eq!(waiting.join().unwrap(), 0);
}

#[test]
fn delivery_events_carry_the_cause_and_the_attempts() {
    let (core, script) = start_scripted(direct());
    let events = core.subscribe();
    convert(&core, 0..2);
    script.answer(503);
    script.fail(convert_sdk::ports::TransportError::Connect);
    script.answer(200);
    core.flush(PATIENCE).unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(next(&events, |event| match event {
            LifecycleEvent::ApiQueueReleased { status, retry_attempts, error, .. } => {
                Some((*status, *retry_attempts, error.clone()))
            }
            _ => None,
        }));
    }
    let [failing, unreached, taken] = &told[..] else { panic!("{told:?}") };
    let code = |error: &Option<DeliveryFailure>| error.as_ref().map(DeliveryFailure::code);
    assert_eq!((failing.0, failing.1, code(&failing.2)), (Some(503), 0, Some("failing")));
    assert_eq!((unreached.0, unreached.1, code(&unreached.2)), (None, 1, Some("connect")));
    assert_eq!((taken.0, taken.1, code(&taken.2)), (Some(200), 2, None));
}

#[test]
fn names_are_the_official_ones() {
    let names = [
        (LifecycleEventKind::Ready, "ready"),
        (LifecycleEventKind::ConfigUpdated, "config.updated"),
        (LifecycleEventKind::Bucketing, "bucketing"),
        (LifecycleEventKind::Conversion, "conversion"),
        (LifecycleEventKind::ApiQueueReleased, "api.queue.released"),
        (LifecycleEventKind::DataStoreQueueReleased, "datastore.queue.released"),
        (LifecycleEventKind::Diagnostic, "diagnostic"),
    ];
    for (kind, name) in names {
        assert_eq!((kind.as_str(), kind.to_string().as_str()), (name, name));
    }
}
