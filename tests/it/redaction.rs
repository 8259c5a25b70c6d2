//! Secrets and visitor data never show: not in the log, not in `Debug`, not in an error.

use std::fmt::{Debug, Display};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use convert_emulator::{Fault, FaultKind, Project, ServerCertificate};
use convert_sdk::adapters::InMemoryDataStore;
use convert_sdk::config::TransportConfig;
use convert_sdk::events::LifecycleEventKind;
use convert_sdk::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};
use convert_sdk::{ConversionOptions, Core, GoalDataKey, RunOptions, SdkConfig, attributes};
use log::{LevelFilter, Log, Metadata, Record};

use crate::support::{PATIENCE, serve_project, shop};

const KEY: &str = "redacted-sdk-key/71935";
const BEARER: &str = "redacted-bearer-secret";
const TOKEN: &str = "redacted-debug-token";
const HEADER: &str = "redacted-header-value";
const PROXY: &str = "redacted-proxy-password";
const VISITOR: &str = "redacted-visitor-id";
const VALUE: &str = "redacted-attribute-value";
const ORDER: &str = "redacted-transaction-id";

/// What all of them contain, and nothing else does.
const MARK: &str = "redacted-";

/// Keeps every line that any test of this binary logs.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The SDK's own lines at every level; its dependencies' up to `debug`. At `trace` ureq deliberately logs paths,
        // which contain the SDK key.
        metadata.target().starts_with("convert_sdk") || metadata.level() <= log::Level::Debug
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}", record.target(), record.args());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn flush(&self) {}
}

#[track_caller]
fn hides(shown: &str, of: &str) {
    assert!(!shown.contains(MARK), "{of} shows a secret: {shown}");
}

#[track_caller]
fn silent<T: Debug + ?Sized>(value: &T) {
    let of = std::any::type_name::<T>();
    hides(&format!("{value:?} {value:#?}"), of);
}

#[track_caller]
fn silent_error<T: Debug + Display>(error: &T) {
    silent(error);
    hides(&error.to_string(), std::any::type_name::<T>());
}

fn network(emulator: &convert_emulator::Emulator) -> convert_sdk::config::TransportConfigBuilder {
    crate::support::network(emulator).auth_secret(BEARER).header("x-team", HEADER)
}

fn config(network: TransportConfig) -> convert_sdk::SdkConfigBuilder {
    SdkConfig::builder().sdk_key(KEY).debug_token(TOKEN).transport(network)
}

/// Uses everything, correctly and incorrectly, and checks everything that can be shown.
#[test]
fn nothing_shown_contains_a_secret() {
    // The first caller sets it; this test is the only one.
    log::set_logger(&LINES).unwrap();
    // `Trace` would make ureq show what it hides at `debug`; see `enabled`.
    log::set_max_level(LevelFilter::Debug);

    let project = Project::from_json(shop()).sdk_key(KEY).secret(BEARER);
    let emulator = serve_project(project);
    let builder =
        config(network(&emulator).proxy(format!("http://user:{PROXY}@localhost:1")).build().unwrap());
    silent(&network(&emulator));
    silent(&builder);
    silent(&builder.build().unwrap());

    let sdk =
        config(network(&emulator).build().unwrap()).data_store(InMemoryDataStore::new()).build().unwrap();
    let core_builder = Core::builder(sdk).on_evaluation(|it| silent(it));
    silent(&core_builder);
    let core = core_builder.on(LifecycleEventKind::Conversion, |event| silent(event)).build().unwrap();
    let events = core.subscribe();
    core.initialize().unwrap();
    silent(&core);
    silent(&core.current_config());
    use_a_visitor(&core);

    for kind in [
        FaultKind::status(400),
        FaultKind::status(500),
        FaultKind::Reset,
        FaultKind::Redirect { to: format!("https://elsewhere.invalid/?k={MARK}") },
    ] {
        emulator.inject(Fault::track(kind.clone()).times(1));
        emulator.inject(Fault::config(kind).times(1));
        let _ = core.create_context(VISITOR, ()).unwrap().track_conversion_with("signup", &order());
        if let Err(error) = core.flush(PATIENCE) {
            silent_error(&error);
        }
        silent_error(&core.refresh_now_within(PATIENCE).unwrap_err());
        emulator.clear_faults();
    }
    silent(&core.stats());
    silent(&core.close());
    silent(&events);
    for event in events {
        silent(&event);
    }
    bad_starts(&emulator);

    let lines = LINES.0.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(lines.iter().any(|line| line.starts_with("convert_sdk")), "the SDK logs something");
    for line in lines.iter() {
        hides(line, "the log");
    }
}

fn order() -> ConversionOptions {
    ConversionOptions::new().revenue(9.0).data(GoalDataKey::TransactionId, ORDER).force_multiple(true)
}

fn use_a_visitor(core: &Core) {
    let about = || attributes! { "plan" => VALUE, "country" => VALUE, "tier" => vec![VALUE] };
    let mut visitor = core.create_context(VISITOR, about()).unwrap().with_location(about());
    silent(&visitor);
    silent(visitor.attributes());
    silent(&about().get("plan"));
    let options = RunOptions::new().attributes(about()).location(about());
    silent(&options);
    for key in ["banner", "price", "members", "none"] {
        silent(&visitor.run_experience_with(key, &options));
        silent(&visitor.diagnose_experience(key));
    }
    silent(&visitor.run_experiences());
    silent(&visitor.run_features());
    silent(&visitor.diagnose_feature("banner-text"));
    visitor.set_attributes(about());
    visitor.set_segments(about());
    silent(&visitor.run_custom_segments_with(&["vip"], about()));
    silent(&order());
    silent(&order().rule_data(about()));
    silent(&visitor.track_conversion_with("purchase", &order()));
    silent(&visitor.track_conversion_confirmed("big-order", &order().rule_data(about()), PATIENCE));
    silent_error(&visitor.set_preview("no-such-experience", "1").unwrap_err());
}

/// Cores that never get ready, each for a different reason.
fn bad_starts(emulator: &convert_emulator::Emulator) {
    let start = |network: convert_sdk::config::TransportConfigBuilder| {
        let core = Core::new(config(network.build().unwrap()).build().unwrap());
        silent_error(&core.initialize().unwrap_err());
    };
    start(network(emulator).auth_secret("wrong"));
    start(network(emulator).proxy(format!("http://user:{PROXY}@localhost:1")));
    start(network(emulator).config_base_url("https://host.invalid"));
    for kind in [FaultKind::Hang, FaultKind::GarbageBody, FaultKind::EmptyBody, FaultKind::TruncatedBody] {
        emulator.inject(Fault::config(kind).times(1));
        start(network(emulator).total_timeout(Duration::from_millis(200)));
    }
    emulator.use_certificate(ServerCertificate::WrongHost).unwrap();
    start(network(emulator));

    let refused = [
        SdkConfig::builder().sdk_key(format!("{KEY} ")).build().unwrap_err(),
        SdkConfig::builder().sdk_key(KEY).data_json(VALUE).data_json(VALUE).build().unwrap_err(),
        SdkConfig::builder().sdk_key(KEY).config_cache("/").build().unwrap_err(),
        TransportConfig::builder().config_base_url(format!("https://h/?{VALUE}")).build().unwrap_err(),
        TransportConfig::builder().config_base_url(format!("https://u:{VALUE}@h")).build().unwrap_err(),
        TransportConfig::builder()
            .proxy(VALUE)
            .build()
            .err()
            .unwrap_or_else(|| TransportConfig::builder().header("host", HEADER).build().unwrap_err()),
        TransportConfig::builder().auth_secret(format!("{BEARER}\n")).build().unwrap_err(),
        TransportConfig::builder().header("x-a", format!("{HEADER}\n")).build().unwrap_err(),
        TransportConfig::builder().root_certificate_pem(VALUE).build().unwrap_err(),
    ];
    for error in refused {
        silent_error(&error);
    }
    let text = format!("{{\"account_id\": \"{VALUE}\"");
    let core = Core::new(SdkConfig::builder().data_json(text).build().unwrap());
    silent_error(&core.initialize().unwrap_err());
}

/// What a custom transport receives does not show its content either.
#[test]
fn requests_hide_their_content() {
    struct Showing;
    impl ConfigSource for Showing {
        fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
            silent(request);
            assert_eq!((request.sdk_key, request.debug_token), (KEY, Some(TOKEN)));
            let fetched = ConfigResponse::Fetched { body: shop().to_string(), etag: Some(VALUE.to_owned()) };
            silent(&fetched);
            Ok(fetched)
        }
    }

    impl EventSink for Showing {
        fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
            silent(batch);
            assert!(String::from_utf8_lossy(batch.body).contains(VISITOR));
            Ok(Receipt::default())
        }
    }
    let config = config(TransportConfig::default()).build().unwrap();
    let core = Core::builder(config).transport(Showing).build().unwrap();
    core.initialize().unwrap();
    assert!(core.create_context(VISITOR, ()).unwrap().run_experience("banner").is_ok());
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1, "an assertion failed in the transport");
}
