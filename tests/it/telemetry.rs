//! What operators see: lines, events, spans and metrics. Loggers, subscribers and recorders are global, so each case has
//! a process of its own.

use std::sync::{Mutex, OnceLock, PoisonError};

use convert_emulator::{Fault, FaultKind};
use convert_sdk::config::TransportConfig;
use convert_sdk::delivery::DeliveryConfig;
use convert_sdk::{Core, SdkConfig};
use log::{LevelFilter, Log, Metadata, Record};

use crate::child;
use crate::support::{KEY, PATIENCE, direct, keyed, pro, serve, shop};

#[test]
fn a_whole_life_is_told_in_the_log() {
    run("log");
}

#[test]
fn a_line_about_losses_is_limited_in_rate() {
    run("limit");
}

#[test]
fn a_key_that_the_config_does_not_have_is_told() {
    run("unknown keys");
}

#[test]
fn direct_data_with_convert_as_endpoint_is_warned_of_once() {
    run("real project");
}

#[test]
fn a_logger_may_use_the_core_that_it_logs_for() {
    run("asking logger");
}

#[cfg(feature = "tracing")]
#[test]
fn a_whole_life_is_told_as_events_within_spans() {
    run("tracing");
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_are_the_ledger_and_times() {
    run("metrics");
}

fn run(case: &str) {
    child::run("telemetry::in_a_child", case);
}

#[test]
#[ignore = "run by the other tests of this module, in a child process"]
fn in_a_child() {
    match child::case().as_deref() {
        None => {}
        Some("log") => log_case(),
        Some("limit") => limit_case(),
        Some("unknown keys") => unknown_keys_case(),
        Some("real project") => real_project_case(),
        Some("asking logger") => asking_logger_case(),
        #[cfg(feature = "tracing")]
        Some("tracing") => tracing_case(),
        #[cfg(feature = "metrics")]
        Some("metrics") => metrics_case(),
        Some(other) => panic!("no case {other}"),
    }
}

/// Keeps the SDK's own lines.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("convert_sdk")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}", record.level().as_str().to_lowercase(), record.args());
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn flush(&self) {}
}

fn listen() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Debug);
}

/// The lines so far, without what differs from run to run.
fn lines() -> Vec<String> {
    LINES.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|line| stable(line)).collect()
}

fn stable(line: &str) -> String {
    let varies = |word: &str| ["seconds=", "bytes=", "version="].iter().any(|name| word.starts_with(name));
    line.split_whitespace().filter(|word| !varies(word)).collect::<Vec<_>>().join(" ")
}

/// From the start to the end, with a failed delivery and a changed config between them.
fn live() -> Core {
    let emulator = serve();
    let core = Core::new(keyed(&emulator).environment("production").build().unwrap());
    core.initialize().unwrap();
    emulator.inject(Fault::track(FaultKind::status(503)).times(1));
    assert!(pro(&core, "v").track_conversion("purchase").tracked());
    core.flush(PATIENCE).unwrap();
    core.refresh_now_within(PATIENCE).unwrap();
    let mut changed = shop();
    changed["experiences"][0]["name"] = "Another".into();
    emulator.set_config(KEY, changed).unwrap();
    core.refresh_now_within(PATIENCE).unwrap();
    core.shutdown(PATIENCE).unwrap();
    core
}

/// The documentation shows these very lines.
fn log_case() {
    listen();
    live();
    let guide = include_str!("../../docs/operating.md");
    let block = guide.split_once("```text\n").unwrap().1.split_once("```").unwrap().0;
    assert_eq!(lines(), block.lines().map(stable).collect::<Vec<_>>());
}

/// Nothing may leave for the real endpoint: the proxy is nobody.
fn nowhere() -> TransportConfig {
    TransportConfig::builder().proxy("http://localhost:1").build().unwrap()
}

fn limit_case() {
    listen();
    let delivery = DeliveryConfig::builder().max_pending_records(10).build().unwrap();
    let core =
        Core::builder(direct().delivery(delivery).batch_size(10_000).transport(nowhere()).build().unwrap());
    let core = core.build().unwrap();
    core.initialize().unwrap();
    for number in 0..500 {
        pro(&core, &format!("v{number}")).track_conversion("purchase");
    }
    // A visitor's link can ask for a preview that there is not, as often as it likes.
    let mut visitor = pro(&core, "v");
    for _ in 0..50 {
        assert!(visitor.set_preview("no-such-experience", "1").is_err());
        core.refresh_now();
    }
    let stats = core.close();
    assert!(stats.dropped.overflow.total() > 400, "{stats:?}");
    core.refresh_now();
    core.refresh_now();
    let warned: Vec<_> = lines().into_iter().filter(|line| line.starts_with("warn")).collect();
    for once in ["the backlog is full", "preview is off", "without an SDK key", "after close"] {
        assert_eq!(warned.iter().filter(|line| line.contains(once)).count(), 1, "{once}: {warned:?}");
    }
}

fn unknown_keys_case() {
    listen();
    let core = Core::new(SdkConfig::builder().data(&shop()).offline().build().unwrap());
    core.initialize().unwrap();
    let visitor = pro(&core, "v");
    for _ in 0..3 {
        visitor.track_conversion("purchace");
        assert!(visitor.run_experience("chekout").is_err());
        assert!(visitor.run_feature("chekout-form").is_err());
    }
    visitor.track_conversion("purchase");
    let told: Vec<_> = lines().into_iter().filter(|line| line.contains("the config does not have")).collect();
    assert_eq!(
        told,
        [
            r#"warn a conversion was not recorded, for a goal that the config does not have: "purchace""#,
            r#"info asked for an experience that the config does not have: "chekout""#,
            r#"info asked for a feature that the config does not have: "chekout-form""#,
        ]
    );
}

fn real_project_case() {
    listen();
    let told = || lines().iter().filter(|line| line.contains("the real project")).count();
    let core = |config: convert_sdk::SdkConfigBuilder| {
        let core = Core::new(config.transport(nowhere()).build().unwrap());
        core.initialize().unwrap();
        (0..3).for_each(|number| drop(pro(&core, &format!("v{number}")).track_conversion("purchase")));
        core
    };
    let config = || SdkConfig::builder().data(&shop());
    for quiet in [config().offline(), config().tracking(false)] {
        core(quiet).close();
    }
    assert_eq!(told(), 0);
    core(config()).close();
    assert_eq!(told(), 1);
}

/// The first record starts the tracker, and a line about it: the logger records too before that call returns.
fn asking_logger_case() {
    struct Asking(OnceLock<Core>);

    static ASKING: Asking = Asking(OnceLock::new());

    impl Log for Asking {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            if record.args().to_string().contains("the real project") {
                pro(self.0.get().unwrap(), "logger").track_conversion("purchase");
            }
        }

        fn flush(&self) {}
    }

    log::set_logger(&ASKING).unwrap();
    log::set_max_level(LevelFilter::Warn);
    let core = Core::new(SdkConfig::builder().data(&shop()).transport(nowhere()).build().unwrap());
    core.initialize().unwrap();
    ASKING.0.set(core.clone()).unwrap();
    pro(&core, "v").track_conversion("purchase");
    core.close();
    assert_eq!(core.stats().recorded, 2);
}

#[cfg(feature = "tracing")]
fn tracing_case() {
    use std::fmt::{Debug, Write};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id};
    use tracing::{Event, Subscriber};

    /// Writes `name=value`.
    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0, " {}={value:?}", field.name()).unwrap();
        }
    }

    /// Keeps events and the names of spans that begin and end.
    struct Keeps;

    impl Subscriber for Keeps {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target().starts_with("convert_sdk")
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            let mut fields = Fields(format!("span {}", span.metadata().name()));
            span.record(&mut fields);
            LINES.0.lock().unwrap().push(fields.0);
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields("event".to_owned());
            event.record(&mut fields);
            LINES.0.lock().unwrap().push(fields.0);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {
            LINES.0.lock().unwrap().push("exit".to_owned());
        }
    }

    listen();
    tracing::subscriber::set_global_default(Keeps).unwrap();
    live();
    let lines = lines();
    let delivered = r#"event message=a delivery has ended outcome="delivered" records=1 events=1 retries=1 reason="explicit""#;
    let at = lines.iter().position(|line| line == delivered).unwrap_or_else(|| panic!("{lines:#?}"));
    assert_eq!(lines[at - 1], "span convert.delivery records=1 events=1 retries=1");
    assert_eq!(lines[at + 1], "exit");
    assert!(
        lines.contains(&r#"span convert.fetch what="config" is_conditional=true"#.to_owned()),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.contains("records kept: 1")), "{lines:#?}");
    let doubled = lines.iter().filter(|line| line.starts_with("info") || line.starts_with("debug"));
    assert_eq!(doubled.count(), 0, "what a subscriber has is not logged again");
}

#[cfg(feature = "metrics")]
fn metrics_case() {
    use convert_sdk::metrics::{METRICS, MetricKind, describe, update};

    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new();
    let recorder = recorder.set_buckets(&[0.1, 1.0]).unwrap().install_recorder().unwrap();
    describe();
    let core = live();
    update(&core.stats());
    let text = recorder.render();
    for line in [
        "convert_records_recorded_total 1",
        "convert_records_delivered_total 1",
        "convert_requests_total 2",
        "convert_request_retries_total 1",
        r#"convert_records_dropped_total{reason="expired",class="revenue"} 0"#,
        r#"convert_records_pending{place="in_flight"} 0"#,
        "convert_breaker_state 0",
        r#"convert_delivery_seconds_count{outcome="delivered"} 1"#,
        r#"convert_delivery_seconds_count{outcome="failing"} 1"#,
        r#"convert_fetch_seconds_count{outcome="fetched"} 2"#,
        r#"convert_fetch_seconds_count{outcome="not_modified"} 1"#,
        r#"convert_wait_seconds_count{call="initialize"} 1"#,
        r#"convert_wait_seconds_count{call="refresh"} 2"#,
        r#"convert_wait_seconds_count{call="flush"} 2"#,
        r#"convert_wait_seconds_count{call="close"} 1"#,
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    for metric in METRICS {
        let kind = if metric.kind == MetricKind::Gauge { "gauge" } else { &metric.kind.to_string() };
        assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{} is not set", metric.name);
    }
    let named = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in named {
        assert!(METRICS.iter().any(|metric| metric.name == name), "{name} is not in the table");
    }
}

/// The dashboard, by the parts of Grafana's schema that it uses; anything else in it is an error.
#[cfg(feature = "metrics")]
mod dashboard {
    use std::collections::HashSet;

    use convert_sdk::metrics::METRICS;
    use serde_json::Value;

    const OF_A_DASHBOARD: &[&str] = &[
        "uid",
        "title",
        "tags",
        "timezone",
        "editable",
        "schemaVersion",
        "version",
        "refresh",
        "time",
        "templating",
        "annotations",
        "panels",
    ];
    const OF_A_PANEL: &[&str] =
        &["id", "type", "title", "description", "datasource", "gridPos", "fieldConfig", "targets"];
    const OF_A_TARGET: &[&str] = &["refId", "expr", "legendFormat", "datasource"];

    #[track_caller]
    fn keys<'a>(object: &'a Value, known: &[&str]) -> &'a serde_json::Map<String, Value> {
        let object = object.as_object().unwrap();
        let unknown: Vec<_> = object.keys().filter(|key| !known.contains(&key.as_str())).collect();
        let missing: Vec<_> = known.iter().filter(|key| !object.contains_key(**key)).collect();
        assert!(unknown.is_empty() && missing.is_empty(), "unknown {unknown:?}, missing {missing:?}");
        object
    }

    #[test]
    fn the_dashboard_follows_the_schema_and_names_real_metrics() {
        let text = include_str!("../../examples/grafana.json");
        let dashboard: Value = serde_json::from_str(text).unwrap();
        keys(&dashboard, OF_A_DASHBOARD);
        assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
        let (mut ids, mut places, mut named) = (HashSet::new(), HashSet::new(), HashSet::new());
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = keys(panel, OF_A_PANEL)["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
            assert!(["timeseries", "state-timeline"].contains(&panel["type"].as_str().unwrap()), "{title}");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
            assert!(w > 0 && h > 0 && x + w <= 24, "{title}");
            for (column, row) in (x..x + w).flat_map(|column| (y..y + h).map(move |row| (column, row))) {
                assert!(places.insert((column, row)), "{title} lies on another panel");
            }
            assert!(
                ["ops", "s", "short"].contains(&panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap())
            );
            let mut refs = HashSet::new();
            for target in panel["targets"].as_array().unwrap() {
                let target = keys(target, OF_A_TARGET);
                assert!(refs.insert(target["refId"].as_str().unwrap()), "{title}");
                let expr = target["expr"].as_str().unwrap();
                assert_eq!(expr.matches('(').count(), expr.matches(')').count(), "{title}");
                named.extend(metrics_of(expr));
            }
        }
        for name in &named {
            let base =
                ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(METRICS.iter().any(|metric| metric.name == *name || metric.name == base), "{name}");
        }
        assert!(named.len() > 15, "{named:?}");
    }

    fn metrics_of(expr: &str) -> impl Iterator<Item = String> + '_ {
        let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter(|word| word.starts_with("convert_")).map(str::to_owned)
    }
}
