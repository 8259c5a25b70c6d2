//! Refreshing the config: what replaces it, and what does not.

use std::time::Duration;

use convert_emulator::{Fault, FaultKind, RouteKind};
use convert_sdk::{
    config::{RefreshConfig, RefreshOutcome},
    error::{LoadError, RefreshError},
    events::LifecycleEvent,
    ports::TransportError,
};
use serde_json::{Value, json};

use crate::support::{KEY, PATIENCE, Script, keyed, keyed_over, network, next, serve, shop, start, visitor};

/// The shop with a different name for `shown`, one more goal and one feature less.
fn changed() -> Value {
    let mut config = shop();
    config["experiences"][0]["variations"][0]["key"] = json!("shown-anew");
    config["goals"].as_array_mut().unwrap().push(json!({"id": "79", "key": "share"}));
    config["features"] = json!([]);
    config
}

#[test]
fn an_unchanged_config_is_a_304() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let before = core.current_config().unwrap();
    assert_eq!(core.refresh_now_within(PATIENCE), Ok(RefreshOutcome::NotModified));
    assert!(std::sync::Arc::ptr_eq(&before, &core.current_config().unwrap()));
    let received = emulator.received();
    let requests: Vec<_> = received.requests_on(RouteKind::Config).collect();
    assert_eq!(requests[0].header("if-none-match"), None);
    assert!(requests[1].header("if-none-match").is_some());
    assert_eq!((requests[0].status, requests[1].status), (Some(200), Some(304)));
}

#[test]
fn a_changed_config_is_published_and_announced_with_counts() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let events = core.subscribe();
    emulator.set_config(KEY, changed()).unwrap();
    let Ok(RefreshOutcome::Updated(changes)) = core.refresh_now_within(PATIENCE) else { panic!() };
    let counts = |it: convert_sdk::config::ChangeCounts| (it.added, it.removed, it.changed);
    assert_eq!(counts(changes.experiences), (0, 0, 1));
    assert_eq!(counts(changes.goals), (1, 0, 0));
    assert_eq!(counts(changes.features), (0, 1, 0));
    assert_eq!(counts(changes.audiences), (0, 0, 0));
    let told = next(&events, |event| match event {
        LifecycleEvent::ConfigUpdated { account_id, project_id, changes, .. } => {
            Some((account_id.to_string(), project_id.to_string(), *changes))
        }
        _ => None,
    });
    assert_eq!(told, ("100".to_owned(), "200".to_owned(), changes));
}

#[test]
fn existing_contexts_keep_their_config() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let before = visitor(&core, "v");
    emulator.set_config(KEY, changed()).unwrap();
    core.refresh_now_within(PATIENCE).unwrap();
    assert_eq!(before.run_experience("banner").unwrap().variation_key(), "shown");
    assert!(before.run_feature("banner-text").is_ok());
    assert!(!before.track_conversion("share").tracked());
    let after = visitor(&core, "v");
    assert_eq!(after.run_experience("banner").unwrap().variation_key(), "shown-anew");
    assert!(after.run_feature("banner-text").is_err());
    assert!(after.track_conversion("share").tracked());
}

/// Every kind of bad response keeps the config, is reported, and does not stop the refreshes.
#[test]
fn a_bad_response_never_replaces_a_good_config() {
    let emulator = serve();
    let network = network(&emulator).max_response_bytes(1 << 20).total_timeout(Duration::from_secs(1));
    let core = start(keyed_over(network));
    let before = core.current_config().unwrap();
    emulator.set_config(KEY, changed()).unwrap();
    for (kind, code) in [
        (FaultKind::status(500), "status"),
        (FaultKind::status(404), "status"),
        (FaultKind::status(204), "status"),
        (FaultKind::too_many_requests(1), "status"),
        (FaultKind::Redirect { to: "/".to_owned() }, "status"),
        (FaultKind::Hang, "timeout"),
        (FaultKind::Reset, "broken"),
        (FaultKind::ResetBeforeBody, "broken"),
        (FaultKind::ResetMidBody, "broken"),
        (FaultKind::TruncatedBody, "broken"),
        (FaultKind::GarbageBody, "not_text"),
        (FaultKind::HugeBody { bytes: 2 << 20 }, "too_large"),
        (FaultKind::DropAfterRecording, "broken"),
    ] {
        emulator.inject(Fault::config(kind.clone()).times(1));
        match core.refresh_now_within(PATIENCE) {
            Err(RefreshError::Load(LoadError::Fetch(error))) => {
                assert_eq!(error.code(), code, "{kind:?}: {error:?}");
            }
            other => panic!("{kind:?}: {other:?}"),
        }
        assert!(std::sync::Arc::ptr_eq(&before, &core.current_config().unwrap()), "{kind:?}");
    }
    emulator.inject(Fault::config(FaultKind::EmptyBody).times(1));
    let error = core.refresh_now_within(PATIENCE).unwrap_err();
    assert_eq!(error.code(), "invalid_config");
    assert!(std::sync::Arc::ptr_eq(&before, &core.current_config().unwrap()));
    assert!(matches!(core.refresh_now_within(PATIENCE), Ok(RefreshOutcome::Updated(_))));
}

#[test]
fn a_broken_config_or_another_projects_is_rejected() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let before = core.current_config().unwrap();
    let mut account = changed();
    account["account_id"] = json!("101");
    let mut project = changed();
    project["project"]["id"] = json!("201");
    for config in [account, project] {
        emulator.set_config(KEY, config).unwrap();
        let refused = Err(RefreshError::Load(LoadError::OtherProject));
        assert_eq!(core.refresh_now_within(PATIENCE), refused);
    }
    let mut broken = changed();
    broken["error"] = json!("no");
    emulator.set_config(KEY, broken).unwrap();
    assert_eq!(core.refresh_now_within(PATIENCE).unwrap_err().code(), "invalid_config");
    assert!(std::sync::Arc::ptr_eq(&before, &core.current_config().unwrap()));
    emulator.set_config(KEY, changed()).unwrap();
    assert!(core.refresh_now_within(PATIENCE).is_ok());
}

#[test]
fn a_rejected_configs_etag_is_not_kept() {
    let script = Script::new();
    let config = convert_sdk::SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = convert_sdk::Core::builder(config).transport(script.transport()).build().unwrap();
    script.give_config(&shop(), "\"good\"");
    core.initialize().unwrap();
    script.give_config(&json!({"account_id": "other", "project": {"id": "200"}}), "\"bad\"");
    core.refresh_now_within(PATIENCE).unwrap_err();
    script.give_config(&json!([]), "\"worse\"");
    core.refresh_now_within(PATIENCE).unwrap_err();
    script.give_config(&changed(), "\"new\"");
    core.refresh_now_within(PATIENCE).unwrap();
    script.configs.send(Err(TransportError::Connect)).unwrap();
    core.refresh_now_within(PATIENCE).unwrap_err();
    let etags: Vec<_> = (0..5).map(|_| script.fetched().etag).collect();
    let [none, first, second, third, last] = <[_; 5]>::try_from(etags).unwrap();
    assert_eq!(none, None);
    assert_eq!([first, second, third], [(); 3].map(|()| Some("\"good\"".to_owned())));
    assert_eq!(last.as_deref(), Some("\"new\""));
}

#[test]
fn a_requested_refresh_happens() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let events = core.subscribe();
    emulator.set_config(KEY, changed()).unwrap();
    core.refresh_now();
    next(&events, |event| matches!(event, LifecycleEvent::ConfigUpdated { .. }).then_some(()));
    assert_eq!(visitor(&core, "v").run_experience("banner").unwrap().variation_key(), "shown-anew");
}

#[test]
fn a_policy_fetches_repeatedly() {
    let emulator = serve();
    let policy = RefreshConfig::builder().interval(Duration::from_millis(1)).jitter(Duration::ZERO);
    let core = start(keyed(&emulator).refresh(policy.build().unwrap()));
    let events = core.subscribe();
    emulator.wait_until(PATIENCE, |received| received.totals.config_requests >= 4).unwrap();
    emulator.set_config(KEY, changed()).unwrap();
    next(&events, |event| matches!(event, LifecycleEvent::ConfigUpdated { .. }).then_some(()));
}

#[test]
fn without_a_policy_nothing_is_fetched_again() {
    let script = Script::new();
    let config = convert_sdk::SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = convert_sdk::Core::builder(config).transport(script.transport()).build().unwrap();
    script.give_config(&shop(), "\"1\"");
    core.initialize().unwrap();
    script.fetched();
    core.close();
    assert!(script.fetches.is_empty());
}

#[test]
fn an_unreachable_interval_is_as_good_as_none() {
    let emulator = serve();
    let policy = RefreshConfig::builder()
        .interval(Duration::MAX)
        .jitter(Duration::MAX)
        .backoff_ceiling(Duration::MAX)
        .build()
        .unwrap();
    let core = start(keyed(&emulator).refresh(policy));
    for _ in 0..2 {
        assert_eq!(core.refresh_now_within(PATIENCE), Ok(RefreshOutcome::NotModified));
    }
    emulator.inject(Fault::config(FaultKind::status(500)).times(1));
    assert!(core.refresh_now_within(PATIENCE).is_err());
    assert!(core.refresh_now_within(PATIENCE).is_ok());
}

#[test]
fn a_hanging_refresh_outlasts_its_callers_deadline() {
    let script = Script::new();
    let config = convert_sdk::SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = convert_sdk::Core::builder(config).transport(script.transport()).build().unwrap();
    script.give_config(&shop(), "\"1\"");
    core.initialize().unwrap();
    script.fetched();
    let events = core.subscribe();
    core.refresh_now();
    script.fetched();
    assert_eq!(core.refresh_now_within(Duration::from_millis(1)), Err(RefreshError::Timeout));
    script.give_config(&changed(), "\"2\"");
    next(&events, |event| matches!(event, LifecycleEvent::ConfigUpdated { .. }).then_some(()));
}

#[test]
fn a_refresh_whose_caller_is_gone_is_not_started() {
    let script = Script::new();
    let config = convert_sdk::SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = convert_sdk::Core::builder(config).transport(script.transport()).build().unwrap();
    script.give_config(&shop(), "\"1\"");
    core.initialize().unwrap();
    script.fetched();
    let events = core.subscribe();
    core.refresh_now();
    script.fetched();
    for _ in 0..20 {
        assert_eq!(core.refresh_now_within(Duration::ZERO), Err(RefreshError::Timeout));
    }
    script.give_config(&changed(), "\"2\"");
    next(&events, |event| matches!(event, LifecycleEvent::ConfigUpdated { .. }).then_some(()));
    core.close();
    assert!(script.fetches.is_empty(), "{:?}", script.fetches.try_recv());
}

#[test]
fn tracking_continues_across_a_refresh() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    visitor(&core, "v").run_experience("banner").unwrap();
    emulator.set_config(KEY, changed()).unwrap();
    core.refresh_now_within(PATIENCE).unwrap();
    assert!(visitor(&core, "v").track_conversion("share").tracked());
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 2);
    assert_eq!(emulator.received().totals.refused, 0);
}
