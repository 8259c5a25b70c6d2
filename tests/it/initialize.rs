//! The first config: from data or the network, valid, invalid, late, twice, and after a failure.

use std::time::Duration;

use convert_emulator::{Fault, FaultKind, Project};
use convert_sdk::{
    ContextError, Core, InitializeError, SdkConfig,
    error::{ConfigError, LoadError, RefreshError},
    events::LifecycleEvent,
    ports::{ConfigResponse, TransportError},
};
use serde_json::json;

use crate::support::{
    KEY, PATIENCE, Script, deadline, direct, keyed, keyed_over, network, serve, serve_project, shop, start,
    unready,
};

fn from_text(text: &str) -> Core {
    Core::new(SdkConfig::builder().data_json(text).build().unwrap())
}

#[test]
fn direct_data_is_ready_once_without_a_network() {
    let core = unready(direct());
    let events = core.subscribe();
    assert!(!core.is_ready() && core.current_config().is_none());
    assert_eq!(core.create_context("v", ()).unwrap_err(), ContextError::NotReady);
    core.initialize().unwrap();
    core.initialize().unwrap();
    assert!(core.is_ready());
    let config = core.current_config().unwrap();
    assert_eq!((config.account_id(), config.project_id()), ("100", "200"));
    assert!(matches!(events.try_next(), Some(LifecycleEvent::Ready { .. })));
    assert_eq!(events.try_next(), None);
    assert_eq!(core.refresh_now_within(PATIENCE), Err(RefreshError::DirectConfig));
    core.refresh_now();
}

#[test]
fn data_can_come_from_a_file_or_a_reader() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/shop.json");
    start(SdkConfig::builder().data_file(file));
    start(SdkConfig::builder().data_reader(&include_bytes!("shop.json")[..]));
}

#[test]
fn a_text_that_is_not_a_config_is_reported() {
    let table = [
        ("", "config_not_json"),
        ("not json", "config_not_json"),
        (r#"{"account_id": "1", "#, "config_not_json"),
        ("[]", "config_not_an_object"),
        ("null", "config_not_an_object"),
        ("5", "config_not_an_object"),
        ("{}", "config_missing_field"),
        (r#"{"account_id": "1"}"#, "config_missing_field"),
        (r#"{"account_id": "1", "project": {}}"#, "config_missing_field"),
        (r#"{"account_id": "", "project": {"id": "2"}}"#, "config_missing_field"),
        (r#"{"account_id": "1", "project": {"id": "2"}, "error": "no"}"#, "config_served_error"),
        (r#"{"account_id": "1", "project": {"id": "2"}, "goals": {"1": {}}}"#, "config_list_expected"),
    ];
    for (text, code) in table {
        let core = from_text(text);
        let Err(InitializeError::Load(LoadError::Config(error))) = core.initialize() else {
            panic!("{text} should not be a config")
        };
        assert_eq!(error.code(), code, "{text}");
        assert!(!core.is_ready());
    }
}

#[test]
fn a_broken_entity_of_each_kind_fails_alone() {
    for kind in ["experiences", "audiences", "locations", "segments", "features", "goals"] {
        for broken in [json!(5), json!(null), json!("text"), json!([]), json!({}), json!({"id": null})] {
            let mut config = shop();
            let list = config.as_object_mut().unwrap().entry(kind).or_insert_with(|| json!([]));
            list.as_array_mut().unwrap().insert(0, broken.clone());
            let core = start(SdkConfig::builder().data(&config));
            let visitor = core.create_context("v", ()).unwrap();
            assert!(visitor.run_experience("banner").is_ok(), "{kind} {broken}");
        }
    }
}

#[test]
fn a_broken_part_of_an_experience_lets_nobody_new_in() {
    let mut config = shop();
    config["experiences"][0]["variations"].as_array_mut().unwrap().push(json!("@twice"));
    config["audiences"][0]["rules"] = json!({"OR": "not a list"});
    let text = config.to_string().replace("\"@twice\"", r#"{"id":"19","id":"19"}"#);
    let core = start(SdkConfig::builder().data_json(text));
    let visitor = crate::support::pro(&core, "v");
    assert!(visitor.run_experience("banner").is_err());
    assert!(visitor.run_experience("price").is_err());
}

#[test]
fn one_fetch_makes_the_core_ready_for_all_callers() {
    let emulator = serve();
    let core = unready(keyed(&emulator));
    let events = core.subscribe();
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| core.initialize().unwrap());
        }
    });
    core.initialize().unwrap();
    assert_eq!(emulator.received().totals.config_requests, 1, "a ready core fetches nothing");
    core.close();
    assert_eq!(events.filter(|event| matches!(event, LifecycleEvent::Ready { .. })).count(), 1);
}

#[test]
fn a_status_is_reported_and_a_retry_can_succeed() {
    let emulator = serve();
    for status in [204, 301, 400, 401, 403, 404, 429, 500, 503] {
        emulator.inject(Fault::config(FaultKind::status(status)).times(1));
        let core = unready(keyed(&emulator));
        let error = core.initialize().unwrap_err();
        let LoadError::Fetch(cause) = (match &error {
            InitializeError::Load(error) => error,
            other => panic!("{other}"),
        }) else {
            panic!("{error}")
        };
        assert_eq!((cause.status(), cause.code()), (Some(status), "status"));
        assert_eq!(error.code(), "config_load_failed");
        assert!(!core.is_ready());
        core.initialize().unwrap();
    }
}

#[test]
fn an_unknown_key_is_a_404() {
    let emulator = serve();
    let config = SdkConfig::builder().sdk_key("nobody").transport(network(&emulator).build().unwrap());
    let fetch = LoadError::Fetch(TransportError::Status(404));
    assert_eq!(unready(config).initialize(), Err(InitializeError::Load(fetch)));
}

#[test]
fn a_corrupted_body_is_reported() {
    let emulator = serve();
    let network = || network(&emulator).max_response_bytes(1 << 20);
    let fetch = |kind: FaultKind| {
        emulator.inject(Fault::config(kind).times(1));
        match unready(keyed_over(network())).initialize() {
            Err(InitializeError::Load(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(
        fetch(FaultKind::EmptyBody),
        LoadError::Config(ConfigError::NotJson { line: 1, column: 0 })
    ));
    assert_eq!(fetch(FaultKind::GarbageBody), LoadError::Fetch(TransportError::NotText));
    let huge = fetch(FaultKind::HugeBody { bytes: 100_000_000 });
    assert_eq!(huge, LoadError::Fetch(TransportError::TooLarge(1 << 20)));
    for cut in
        [FaultKind::TruncatedBody, FaultKind::ResetMidBody, FaultKind::ResetBeforeBody, FaultKind::Reset]
    {
        let error = fetch(cut.clone());
        let LoadError::Fetch(cause) = error else { panic!("{cut:?}: {error}") };
        assert!(matches!(cause.code(), "broken" | "protocol"), "{cut:?}: {cause:?}");
    }
    assert!(unready(keyed_over(network())).initialize().is_ok());
}

#[test]
fn a_body_of_100_mb_is_rejected_by_default() {
    let emulator = serve();
    emulator.inject(Fault::config(FaultKind::HugeBody { bytes: 100_000_000 }).times(1));
    let limit = convert_sdk::config::TransportConfig::DEFAULT_MAX_RESPONSE_BYTES;
    let too_large = LoadError::Fetch(TransportError::TooLarge(limit));
    assert_eq!(unready(keyed(&emulator)).initialize(), Err(InitializeError::Load(too_large)));
}

#[test]
fn a_body_of_exactly_the_limit_is_accepted() {
    let mut config = shop();
    // Drafts are left out of what is served.
    config["experiences"].as_array_mut().unwrap().pop();
    let bytes = config.to_string().len() as u64;
    let emulator = serve_project(Project::from_json(config));
    assert!(bytes > 1024);
    start(keyed_over(network(&emulator).max_response_bytes(bytes)));
    let smaller = unready(keyed_over(network(&emulator).max_response_bytes(bytes - 1))).initialize();
    let too_large = LoadError::Fetch(TransportError::TooLarge(bytes - 1));
    assert_eq!(smaller, Err(InitializeError::Load(too_large)));
}

#[test]
fn a_hanging_host_ends_at_the_request_timeout() {
    let emulator = serve();
    emulator.inject(Fault::config(FaultKind::Hang));
    let core = unready(keyed_over(network(&emulator).total_timeout(Duration::from_millis(50))));
    let Err(InitializeError::Load(LoadError::Fetch(error))) = core.initialize() else {
        panic!("the fetch should fail")
    };
    assert_eq!(error.code(), "timeout");
}

#[test]
fn a_late_response_still_makes_the_core_ready() {
    let script = Script::new();
    let config = SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = Core::builder(config).transport(script.transport()).build().unwrap();
    let events = core.subscribe();
    assert_eq!(core.initialize_within(Duration::from_millis(1)), Err(InitializeError::Timeout));
    script.fetched();
    script.give_config(&shop(), "\"1\"");
    assert!(matches!(events.next_before(deadline()), Some(LifecycleEvent::Ready { .. })));
    assert!(core.is_ready());
}

#[test]
fn not_modified_does_not_make_a_core_without_config_ready() {
    let script = Script::new();
    let config = SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = Core::builder(config).transport(script.transport()).build().unwrap();
    script.configs.send(Ok(ConfigResponse::NotModified)).unwrap();
    let error = core.initialize().unwrap_err();
    assert_eq!(error, InitializeError::Load(LoadError::Fetch(TransportError::Protocol)));
    assert!(!core.is_ready());
}

#[test]
fn a_closed_core_cannot_be_initialized() {
    let core = unready(direct());
    core.close();
    assert_eq!(core.initialize(), Err(InitializeError::Closed));
    assert_eq!(core.create_context("v", ()).unwrap_err(), ContextError::Closed);
}

#[test]
fn unreachable_timeouts_are_fine() {
    let emulator = serve();
    let network = network(&emulator).total_timeout(Duration::MAX).connect_timeout(Duration::MAX);
    let core = unready(keyed_over(network).initialize_timeout(Duration::MAX));
    core.initialize().unwrap();
    core.refresh_now_within(Duration::MAX).unwrap();
    crate::support::convert(&core, 0..1);
    assert_eq!(core.flush(Duration::MAX).unwrap().delivered, 1);
}
