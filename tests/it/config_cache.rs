//! What keeps a config through restarts, outages and bad releases: the cache, the age, the application's check.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind, RouteKind};
use convert_sdk::config::{ConfigOrigin, RefreshConfig, RefreshOutcome};
use convert_sdk::diagnosis::DiagnosticReason;
use convert_sdk::error::{ConfigCacheError, LoadError, RefreshError};
use convert_sdk::events::{LifecycleEvent, LifecycleEventKind, Subscription};
use convert_sdk::{Core, FeatureOff, InitializeError, SdkConfig, SdkConfigBuilder, Undecided};
use serde_json::{Value, json};

use crate::support::{KEY, PATIENCE, Script, direct, keyed, next, serve, shop, start, unready, visitor};

/// A directory of its own, removed at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("config")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The shop with another name for `shown`.
fn changed() -> Value {
    let mut config = shop();
    config["experiences"][0]["variations"][0]["key"] = json!("shown-anew");
    config
}

fn shown(core: &Core) -> String {
    visitor(core, "v").run_experience("banner").unwrap().variation_key().to_owned()
}

fn told(events: &Subscription, kind: LifecycleEventKind) -> LifecycleEvent {
    next(events, |event| (event.kind() == kind).then(|| event.clone()))
}

fn cache_error(events: &Subscription) -> ConfigCacheError {
    match told(events, LifecycleEventKind::ConfigCacheFailed) {
        LifecycleEvent::ConfigCacheFailed { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

/// A process that had a config, and ended.
fn left_behind(emulator: &Emulator, directory: &Directory) {
    let core = start(keyed(emulator).config_cache(directory.file()));
    assert_eq!(core.stats().config_origin, Some(ConfigOrigin::Fetched));
    // Waits for the thread that writes.
    core.close();
}

fn scripted(config: SdkConfigBuilder) -> (Core, Script) {
    let script = Script::new();
    let core = Core::builder(config.build().unwrap()).transport(script.transport()).build().unwrap();
    (core, script)
}

#[test]
fn a_restart_while_the_endpoint_is_down_starts_from_the_cache() {
    let (mut emulator, directory) = (serve(), Directory::new("restart"));
    left_behind(&emulator, &directory);
    emulator.go_offline();
    let core = start(keyed(&emulator).config_cache(directory.file()));
    let stats = core.stats();
    assert_eq!((stats.config_origin, shown(&core)), (Some(ConfigOrigin::Cached), "shown".to_owned()));
    assert!(core.refresh_now_within(PATIENCE).is_err());
    assert_eq!(core.stats().config_at, stats.config_at, "as old as it was");
    emulator.go_online().unwrap();
    assert_eq!(core.refresh_now_within(PATIENCE), Ok(RefreshOutcome::NotModified), "its ETag was kept");
    assert_eq!(core.stats().config_origin, Some(ConfigOrigin::Fetched));
    assert!(core.stats().config_at > stats.config_at);
    emulator.shutdown();
}

#[test]
fn a_process_that_only_starts_leaves_its_config() {
    let (emulator, directory) = (serve(), Directory::new("starts"));
    let core = start(keyed(&emulator).config_cache(directory.file()));
    // As if it ended here, without a close.
    let left = Directory::new("left");
    fs::copy(directory.file(), left.file()).unwrap();
    emulator.go_offline();
    let next = start(keyed(&emulator).config_cache(left.file()));
    assert_eq!(next.stats().config_origin, Some(ConfigOrigin::Cached));
    core.close();
}

#[test]
fn without_a_cache_file_the_fault_of_the_fetch_is_told() {
    let (emulator, directory) = (serve(), Directory::new("none"));
    emulator.inject(Fault::config(FaultKind::status(500)).times(1));
    let core = unready(keyed(&emulator).config_cache(directory.file()));
    assert_eq!(core.initialize().unwrap_err().code(), "config_load_failed");
    core.initialize().unwrap();
}

#[test]
fn an_endpoint_that_hangs_costs_the_patience_and_no_more() {
    let (emulator, directory) = (serve(), Directory::new("hangs"));
    left_behind(&emulator, &directory);
    for patience in [Duration::ZERO, Duration::from_millis(1)] {
        let config = SdkConfig::builder().sdk_key(KEY).config_cache(directory.file());
        let (core, script) = scripted(config.config_cache_patience(patience));
        let events = core.subscribe();
        core.initialize_within(Duration::MAX).unwrap();
        assert_eq!((core.stats().config_origin, &*shown(&core)), (Some(ConfigOrigin::Cached), "shown"));
        told(&events, LifecycleEventKind::Ready);
        script.fetched();
        script.give_config(&changed(), "\"new\"");
        told(&events, LifecycleEventKind::ConfigUpdated);
        assert_eq!((core.stats().config_origin, &*shown(&core)), (Some(ConfigOrigin::Fetched), "shown-anew"));
        core.close();
        left_behind(&emulator, &directory);
    }
}

#[test]
fn patience_lost_before_the_file_was_read_counts() {
    let (emulator, directory) = (serve(), Directory::new("early"));
    left_behind(&emulator, &directory);
    let (core, _script) = scripted(SdkConfig::builder().sdk_key(KEY).config_cache(directory.file()));
    let events = core.subscribe();
    // The endpoint never answers.
    let _ = core.initialize_within(Duration::from_nanos(1));
    told(&events, LifecycleEventKind::Ready);
    assert_eq!(core.initialize(), Ok(()));
    core.close();
}

#[test]
fn a_short_initialize_leaves_half_of_its_time_to_the_endpoint() {
    let (emulator, directory) = (serve(), Directory::new("short"));
    left_behind(&emulator, &directory);
    let config = SdkConfig::builder().sdk_key(KEY).config_cache(directory.file());
    let (core, _script) = scripted(config.config_cache_patience(PATIENCE));
    assert_eq!(core.initialize_within(Duration::from_secs(4)), Ok(()));
    core.close();
}

#[test]
fn a_damaged_or_foreign_cache_is_told_and_no_start() {
    let (mut emulator, directory) = (serve(), Directory::new("bad"));
    left_behind(&emulator, &directory);
    let good = fs::read(directory.file()).unwrap();
    emulator.go_offline();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let config = || keyed(&emulator).config_cache(directory.file());
    for (bytes, config, error) in [
        (&good[..good.len() / 2], config(), ConfigCacheError::Damaged),
        (&flipped, config(), ConfigCacheError::Damaged),
        (b"", config(), ConfigCacheError::Damaged),
        (&good, config().sdk_key("another/key"), ConfigCacheError::Foreign),
        (&good, config().environment("staging"), ConfigCacheError::Foreign),
    ] {
        fs::write(directory.file(), bytes).unwrap();
        let core = unready(config);
        let events = core.subscribe();
        assert!(matches!(core.initialize(), Err(InitializeError::Load(LoadError::Fetch(_)))), "{error:?}");
        assert_eq!(cache_error(&events), error);
    }
    emulator.go_online().unwrap();
    fs::write(directory.file(), &flipped).unwrap();
    left_behind(&emulator, &directory);
    emulator.go_offline();
    start(config());
    emulator.shutdown();
}

#[test]
fn a_cache_that_cannot_be_written_is_told_and_fetched_around() {
    let (emulator, directory) = (serve(), Directory::new("unwritable"));
    let core = unready(keyed(&emulator).config_cache(directory.file().join("below")));
    let mut events = core.subscribe();
    core.initialize().unwrap();
    assert!(matches!(cache_error(&events), ConfigCacheError::Lock(_)));
    assert!(core.refresh_now_within(PATIENCE).is_ok());
    core.close();
    let failed = |event: LifecycleEvent| matches!(event, LifecycleEvent::ConfigCacheFailed { .. });
    assert!(!events.by_ref().any(failed), "told once");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_cache_file_is_told_and_no_obstacle() {
    let emulator = serve();
    for (name, error) in [
        ("config", ConfigCacheError::Unsafe),
        ("config.lock", ConfigCacheError::Lock(std::io::ErrorKind::InvalidInput)),
    ] {
        let directory = Directory::new("pipe");
        let pipe = directory.file().with_file_name(name);
        assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
        let config = keyed(&emulator).config_cache(directory.file());
        let core = unready(config.refresh(RefreshConfig::builder().build().unwrap()));
        let events = core.subscribe();
        assert_eq!(core.initialize(), Ok(()), "{name}");
        assert_eq!(cache_error(&events), error);
        core.close();
    }
}

#[test]
fn while_the_cache_cannot_be_written_each_process_fetches() {
    let (emulator, directory) = (serve(), Directory::new("full"));
    // As a full disk would, whoever runs the test.
    fs::create_dir(directory.file().with_extension("tmp")).unwrap();
    let policy = RefreshConfig::builder().interval(Duration::from_millis(500)).jitter(Duration::ZERO);
    let policy = policy.build().unwrap();
    let cores: Vec<_> = (0..3)
        .map(|_| {
            let core = unready(keyed(&emulator).config_cache(directory.file()).refresh(policy.clone()));
            let events = core.subscribe();
            core.initialize().unwrap();
            assert!(matches!(cache_error(&events), ConfigCacheError::Write(_)));
            (core, events)
        })
        .collect();
    emulator.set_config(KEY, changed()).unwrap();
    for (core, events) in &cores {
        told(events, LifecycleEventKind::ConfigUpdated);
        assert_eq!(shown(core), "shown-anew");
    }
}

#[test]
fn the_cache_of_another_key_is_not_overwritten() {
    let (emulator, directory) = (serve(), Directory::new("other-key"));
    left_behind(&emulator, &directory);
    let before = fs::read(directory.file()).unwrap();
    let core = unready(keyed(&emulator).config_cache(directory.file()).environment("staging"));
    let events = core.subscribe();
    core.initialize().unwrap();
    assert_eq!(cache_error(&events), ConfigCacheError::Foreign);
    // Waits for the thread that would write.
    core.close();
    assert!(fs::read(directory.file()).unwrap() == before);
}

#[test]
fn cores_that_share_a_cache_share_its_fetches() {
    let (emulator, directory) = (serve(), Directory::new("cores"));
    // All three start within it, each after a write to the disk.
    let policy = RefreshConfig::builder().interval(Duration::from_secs(3)).jitter(Duration::ZERO);
    let config = || keyed(&emulator).config_cache(directory.file()).refresh(policy.clone().build().unwrap());
    let cores: Vec<Core> = (0..3).map(|_| start(config())).collect();
    let events: Vec<_> = cores.iter().map(Core::subscribe).collect();
    let whole =
        || emulator.received().requests_on(RouteKind::Config).filter(|it| it.status == Some(200)).count();
    assert_eq!(whole(), 1);
    emulator.set_config(KEY, changed()).unwrap();
    for (core, events) in cores.iter().zip(&events) {
        told(events, LifecycleEventKind::ConfigUpdated);
        assert_eq!(shown(core), "shown-anew");
    }
    assert_eq!(whole(), 2);
    // The one that fetches leaves; another one continues.
    cores[0].close();
    emulator.set_config(KEY, shop()).unwrap();
    for events in &events[1..] {
        told(events, LifecycleEventKind::ConfigUpdated);
    }
    assert_eq!(whole(), 3);
}

#[test]
fn given_data_start_at_once_and_the_key_is_followed() {
    let script = Script::new();
    let config = direct().sdk_key(KEY).build().unwrap();
    assert!(!config.is_direct_config());
    let core = Core::builder(config).transport(script.transport()).build().unwrap();
    let events = core.subscribe();
    core.initialize().unwrap();
    assert_eq!((core.stats().config_origin, &*shown(&core)), (Some(ConfigOrigin::Direct), "shown"));
    assert_eq!(script.fetched().etag, None);
    script.give_config(&changed(), "\"1\"");
    told(&events, LifecycleEventKind::ConfigUpdated);
    assert_eq!((core.stats().config_origin, &*shown(&core)), (Some(ConfigOrigin::Fetched), "shown-anew"));
    assert!(visitor(&core, "w").track_conversion("purchase").tracked());
    core.refresh_now();
    assert_eq!(script.fetched().etag.as_deref(), Some("\"1\""));
    core.close();
}

#[test]
fn given_data_replaced_by_another_projects_config_stay() {
    let (core, script) = scripted(direct().sdk_key(KEY));
    core.initialize().unwrap();
    script.give_config(&json!({"account_id": "other", "project": {"id": "200"}}), "\"1\"");
    script.give_config(&json!({"account_id": "other", "project": {"id": "200"}}), "\"1\"");
    script.fetched();
    let refused = Err(RefreshError::Load(LoadError::OtherProject));
    assert_eq!(core.refresh_now_within(PATIENCE), refused);
    assert_eq!(core.stats().config_origin, Some(ConfigOrigin::Direct));
    core.close();
}

#[test]
fn a_stale_config_is_told_and_decides_on() {
    let emulator = serve();
    let core = unready(keyed(&emulator).max_stale(Duration::from_millis(1)));
    let events = core.subscribe();
    core.initialize().unwrap();
    told(&events, LifecycleEventKind::ConfigStale);
    assert_eq!(shown(&core), "shown");
    core.refresh_now_within(PATIENCE).unwrap();
    told(&events, LifecycleEventKind::ConfigConfirmed);
    told(&events, LifecycleEventKind::ConfigStale);
}

#[test]
fn a_stale_config_decides_nothing_if_so_chosen() {
    let emulator = serve();
    let config = keyed(&emulator).max_stale(Duration::from_secs(2)).decide_when_stale(false);
    let core = unready(config);
    let events = core.subscribe();
    core.initialize().unwrap();
    let before = visitor(&core, "v");
    let handle = convert_sdk::ExperienceHandle::new("banner");
    told(&events, LifecycleEventKind::ConfigStale);
    let after = visitor(&core, "v");
    assert_eq!(after.run_experience("banner").unwrap_err(), Undecided::Withdrawn);
    assert_eq!(after.run_experience(&handle).unwrap_err(), Undecided::Withdrawn);
    assert_eq!(after.run_feature("banner-text").unwrap_err(), FeatureOff::Withdrawn);
    assert_eq!(after.diagnose_experience("banner").reason, DiagnosticReason::Undecided(Undecided::Withdrawn));
    assert!(after.run_experiences().is_empty() && after.run_features().is_empty());
    assert!(after.track_conversion("purchase").tracked(), "conversions are recorded still");
    assert!(before.run_experience("banner").is_ok(), "a context keeps its config");
    // It may be stale again before the test has looked.
    let decides = || {
        core.refresh_now_within(PATIENCE).unwrap();
        visitor(&core, "w").run_experience("banner").is_ok()
    };
    assert!((0..1_000).any(|_| decides()));
    told(&events, LifecycleEventKind::ConfigConfirmed);
}

#[test]
fn a_release_without_most_experiences_is_not_accepted() {
    let emulator = serve();
    let core = start(keyed(&emulator).accept_config(|config, changes| changes.keeps_two_thirds(config)));
    let events = core.subscribe();
    let with = |experiences: usize| {
        let mut config = shop();
        config["experiences"].as_array_mut().unwrap().truncate(experiences);
        emulator.set_config(KEY, config).unwrap();
        core.refresh_now_within(PATIENCE)
    };
    // Four are served; a draft is not.
    assert_eq!(with(2), Err(RefreshError::Load(LoadError::NotAccepted)));
    match told(&events, LifecycleEventKind::ConfigNotAccepted) {
        LifecycleEvent::ConfigNotAccepted { changes, .. } => assert_eq!(changes.experiences.removed, 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(core.current_config().unwrap().counts().experiences, 4);
    assert!(with(3).is_ok());
    assert_eq!(core.current_config().unwrap().counts().experiences, 3);
}

#[test]
fn a_check_that_panics_has_not_accepted() {
    let (emulator, calls) = (serve(), std::sync::Arc::new(AtomicUsize::new(0)));
    let counted = std::sync::Arc::clone(&calls);
    let core = unready(keyed(&emulator).accept_config(move |config, changes| {
        assert_eq!(changes.experiences.added, config.counts().experiences, "there is none before");
        assert!(counted.fetch_add(1, Ordering::Relaxed) > 0, "the first time");
        true
    }));
    assert_eq!(core.initialize(), Err(InitializeError::Load(LoadError::NotAccepted)));
    assert_eq!((core.is_ready(), core.stats().panics), (false, 1));
    core.initialize().unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn a_snapshot_gives_its_text_as_served() {
    let text = include_str!("small.json");
    let core = start(SdkConfig::builder().data_json(text));
    assert_eq!(core.current_config().unwrap().served_text(), text);
}
