//! The ledger and the times of the SDK as metrics of the `metrics` facade, with the feature `metrics`.
//!
//! Counters and gauges are pulled: [`update`] sets them from a ledger, and belongs where a scrape is answered, or into
//! a timer of the application. Histograms are recorded as things happen. Whichever recorder the application has
//! installed receives them; without one they cost next to nothing. Recording and deciding touch no metric.
//!
//! ```
//! # let core = include!("../tests/doc/shop.rs");
//! use convert_sdk::metrics;
//!
//! metrics::describe(); // once, after the recorder is installed
//! metrics::update(&core.stats()); // before each scrape
//! ```
//!
//! [`METRICS`] has all of them; `examples/prometheus.rs` in the repository serves them, and `examples/grafana.json` is
//! a dashboard. All cores of a process share them; give each a recorder of its own where that matters. A
//! forked child's counters start again from zero, while the registry that it has inherited keeps the parent's.
//!
#![doc = include_str!("metrics.md")]

use std::fmt;

use crate::engine::{BreakerState, ByClass, Dropped, PendingPlaces, Stats};

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The name, as Prometheus would have it.
    pub name: &'static str,
    /// The kind.
    pub kind: MetricKind,
    /// The unit: `seconds`, `bytes`, or what is counted.
    pub unit: &'static str,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub description: &'static str,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// Never decreases.
    Counter,
    /// The value at the time of the last [`update`].
    Gauge,
    /// A distribution.
    Histogram,
}

impl fmt::Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

macro_rules! metrics {
    ($($kind:ident $name:literal [$($label:literal),*] $unit:literal $description:literal;)+) => {
        /// Every metric of the SDK.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: MetricKind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            description: $description,
        }),+];
    };
}
metrics! {
    Counter "convert_records_recorded_total" [] "records" "Exposures and conversions handed to the SDK";
    Counter "convert_records_recovered_total" [] "records" "Records that other processes left on disk, and that were taken over here";
    Counter "convert_records_deduplicated_total" [] "records" "Records that repeat an earlier one, for which nothing is sent";
    Counter "convert_records_delivered_total" [] "records" "Records that the endpoint has accepted";
    Counter "convert_records_withheld_total" [] "records" "Records that an offline core has kept in the process";
    Counter "convert_records_dropped_total" ["reason", "class"] "records" "Lost records, by `reason` (`queue_full`, `overflow`, `rejected`, `expired`, `closed`, `damaged`) and by `class` of record (`exposures`, `conversions` without revenue, `revenue`, or `unknown` where damaged)";
    Counter "convert_events_delivered_total" [] "events" "Events in the records that the endpoint has accepted; a conversion with goal data is two";
    Counter "convert_requests_total" [] "requests" "Delivery requests made";
    Counter "convert_request_retries_total" [] "requests" "Delivery requests that carried records again";
    Counter "convert_requests_fate_unknown_total" [] "requests" "Delivery requests that ended without an answer";
    Counter "convert_sent_bytes_total" [] "bytes" "Bodies of all delivery requests";
    Counter "convert_delivered_bytes_total" [] "bytes" "Bodies of the delivery requests that were accepted";
    Counter "convert_breaker_opened_total" [] "openings" "How often the circuit breaker has opened";
    Counter "convert_segments_left_out_total" [] "values" "Segment values that the endpoint would have refused";
    Counter "convert_outbox_missed_total" [] "records" "Records delivered from memory, as the outbox failed or was silent";
    Counter "convert_store_failures_total" [] "failures" "Failed answers of the data store";
    Counter "convert_store_timeouts_total" [] "answers" "Answers of the data store that came too late";
    Counter "convert_visitors_evicted_total" [] "visitors" "Visitors forgotten to make room, or by age";
    Counter "convert_marks_evicted_total" [] "marks" "Deduplication marks forgotten to make room, or by age";
    Counter "convert_lifecycle_events_missed_total" [] "events" "Lifecycle events that a slow listener missed";
    Counter "convert_panics_total" [] "panics" "Caught panics of handlers, hooks, sources, sinks and stores";
    Gauge "convert_records_pending" ["place"] "records" "Records not delivered yet, by `place`: `in_channel`, `in_batch`, `waiting`, `in_flight` or `on_disk`";
    Gauge "convert_records_to_retry" [] "records" "Waiting records that a failed delivery has carried";
    Gauge "convert_oldest_pending_seconds" [] "seconds" "How long the oldest record that is not delivered yet has waited";
    Gauge "convert_breaker_state" [] "state" "The circuit breaker: 0 closed, 1 half open, 2 open";
    Gauge "convert_config_age_seconds" [] "seconds" "Time since the config was given, fetched or confirmed";
    Histogram "convert_delivery_seconds" ["outcome"] "seconds" "Time of a delivery request, by `outcome`: `delivered`, or the code of its failure";
    Histogram "convert_fetch_seconds" ["outcome"] "seconds" "Time of a fetch, with compiling, by `outcome`: `fetched`, `not_modified` or `failed`";
    Histogram "convert_wait_seconds" ["call"] "seconds" "Time in calls that wait, by `call`: `initialize`, `refresh`, `flush`, `close`, `data_store`";
}

/// Describes every metric to the recorder that is installed. Call it once, after installing one.
pub fn describe() {
    crate::caught::quietly(|| {
        for metric in METRICS {
            let unit = match metric.unit {
                "seconds" => metrics::Unit::Seconds,
                "bytes" => metrics::Unit::Bytes,
                _ => metrics::Unit::Count,
            };
            match metric.kind {
                MetricKind::Counter => metrics::describe_counter!(metric.name, unit, metric.description),
                MetricKind::Gauge => metrics::describe_gauge!(metric.name, unit, metric.description),
                MetricKind::Histogram => metrics::describe_histogram!(metric.name, unit, metric.description),
            }
        }
    });
}

/// Sets the counters and gauges from a ledger, [`Core::stats`](crate::Core::stats).
pub fn update(stats: &Stats) {
    crate::caught::quietly(|| set(stats));
}

fn set(stats: &Stats) {
    // Destructured without `..`, so that a new count cannot be forgotten here.
    let Stats {
        recorded,
        recovered,
        deduplicated,
        delivered,
        withheld,
        pending: _,
        pending_places,
        oldest_pending_age,
        dropped,
        delivered_events,
        requests,
        retries,
        fate_unknown,
        sent_bytes,
        delivered_bytes,
        last_error: _,
        breaker,
        breaker_opened,
        segments_left_out,
        outbox_missed,
        store_failures,
        store_timeouts,
        visitors_evicted,
        marks_evicted,
        events_missed,
        panics,
        config_origin: _,
        config_at,
        fork_generation: _,
    } = stats;
    for (name, count) in [
        ("convert_records_recorded_total", recorded),
        ("convert_records_recovered_total", recovered),
        ("convert_records_deduplicated_total", deduplicated),
        ("convert_records_delivered_total", delivered),
        ("convert_records_withheld_total", withheld),
        ("convert_events_delivered_total", delivered_events),
        ("convert_requests_total", requests),
        ("convert_request_retries_total", retries),
        ("convert_requests_fate_unknown_total", fate_unknown),
        ("convert_sent_bytes_total", sent_bytes),
        ("convert_delivered_bytes_total", delivered_bytes),
        ("convert_breaker_opened_total", breaker_opened),
        ("convert_segments_left_out_total", segments_left_out),
        ("convert_outbox_missed_total", outbox_missed),
        ("convert_store_failures_total", store_failures),
        ("convert_store_timeouts_total", store_timeouts),
        ("convert_visitors_evicted_total", visitors_evicted),
        ("convert_marks_evicted_total", marks_evicted),
        ("convert_lifecycle_events_missed_total", events_missed),
        ("convert_panics_total", panics),
    ] {
        metrics::counter!(name).absolute(*count);
    }
    let Dropped { queue_full, overflow, rejected, expired, closed, damaged } = dropped;
    for (reason, by_class) in [
        ("queue_full", queue_full),
        ("overflow", overflow),
        ("rejected", rejected),
        ("expired", expired),
        ("closed", closed),
    ] {
        let ByClass { exposures, conversions, revenue } = by_class;
        for (class, count) in [("exposures", exposures), ("conversions", conversions), ("revenue", revenue)] {
            metrics::counter!("convert_records_dropped_total", "reason" => reason, "class" => class)
                .absolute(*count);
        }
    }
    // What a damaged file held is not known.
    metrics::counter!("convert_records_dropped_total", "reason" => "damaged", "class" => "unknown")
        .absolute(*damaged);
    let PendingPlaces { in_channel, in_batch, waiting, in_flight, to_retry, on_disk } = pending_places;
    for (place, count) in [
        ("in_channel", in_channel),
        ("in_batch", in_batch),
        ("waiting", waiting),
        ("in_flight", in_flight),
        ("on_disk", on_disk),
    ] {
        metrics::gauge!("convert_records_pending", "place" => place).set(as_gauge(*count));
    }
    metrics::gauge!("convert_records_to_retry").set(as_gauge(*to_retry));
    metrics::gauge!("convert_oldest_pending_seconds")
        .set(oldest_pending_age.map_or(0.0, |age| age.as_secs_f64()));
    metrics::gauge!("convert_breaker_state").set(match breaker {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open => 2.0,
    });
    if let Some(age) = config_at.and_then(|at| at.elapsed().ok()) {
        metrics::gauge!("convert_config_age_seconds").set(age.as_secs_f64());
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
const fn as_gauge(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the documentation says what the code does.
    #[test]
    fn the_documented_table_is_the_table_of_the_code() {
        let lines = METRICS.iter().map(|it| {
            let labels: Vec<_> = it.labels.iter().map(|label| format!("`{label}`")).collect();
            let Metric { name, kind, unit, description, .. } = it;
            format!("| `{name}` | {kind} | {unit} | {} | {description} |\n", labels.join(", "))
        });
        let table: String = lines.collect();
        assert!(include_str!("metrics.md").ends_with(&table), "it should end with:\n{table}");
    }
}
