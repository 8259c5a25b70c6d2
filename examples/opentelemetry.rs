//! An OpenTelemetry event for each evaluation, by the semantic conventions for feature flags, through a hook.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use convert_sdk::events::Evaluation;
use convert_sdk::{Core, DecisionSource, SdkConfig, Undecided, attributes};
use opentelemetry::logs::{LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLogger, SdkLoggerProvider};

fn main() -> Result<(), Box<dyn Error>> {
    // In a program, an OTLP exporter with batches.
    let exporter = Printing::default();
    let provider = SdkLoggerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let logger = provider.logger("convert");

    let config = SdkConfig::builder().data_json(include_str!("shop.json")).offline().build()?;
    let core = Core::builder(config).on_evaluation(move |evaluation| emit(&logger, evaluation)).build()?;
    core.initialize()?;
    for (visitor, age) in [("visitor-4", 30), ("visitor-4", 30), ("visitor-5", 12)] {
        let _ = core.create_context(visitor, attributes! { "age" => age })?.run_experience("checkout");
    }

    let results = [
        "split feature_flag.result.variant=one-page",
        "cached feature_flag.result.variant=one-page",
        "default",
    ];
    let expected = results.map(|result| {
        format!(
            "feature_flag.evaluation feature_flag.key=checkout feature_flag.provider.name=convert \
             feature_flag.result.reason={result}"
        )
    });
    let events = exporter.events.lock().unwrap_or_else(PoisonError::into_inner);
    if *events == expected { Ok(()) } else { Err("other events were expected".into()) }
}

/// `feature_flag.evaluation`, as <https://opentelemetry.io/docs/specs/semconv/feature-flags/feature-flags-events/> has it.
/// The reasons are those of the provider for OpenFeature. The visitor's id is left out: `feature_flag.context.id` would
/// be its place.
fn emit(logger: &SdkLogger, evaluation: &Evaluation<'_>) {
    let mut event = logger.create_log_record();
    event.set_event_name("feature_flag.evaluation");
    event.set_severity_number(Severity::Info);
    event.add_attribute("feature_flag.key", evaluation.experience_key.to_owned());
    event.add_attribute("feature_flag.provider.name", "convert");
    event.add_attribute(
        "feature_flag.result.reason",
        match evaluation.outcome.map(|assigned| assigned.source) {
            Ok(DecisionSource::Stored) => "cached",
            Ok(DecisionSource::Hashed { .. }) => "split",
            Ok(DecisionSource::Forced) => "targeting_match",
            Ok(_) => "unknown",
            Err(Undecided::Archived | Undecided::NoId | Undecided::Environment | Undecided::NoVariations) => {
                "disabled"
            }
            Err(Undecided::NoVisitor | Undecided::Withdrawn) => "error",
            Err(_) => "default",
        },
    );
    match evaluation.outcome {
        Ok(assigned) => event.add_attribute("feature_flag.result.variant", assigned.variation_key.to_owned()),
        Err(Undecided::NoVisitor) => event.add_attribute("error.type", "targeting_key_missing"),
        Err(Undecided::Withdrawn) => event.add_attribute("error.type", "provider_not_ready"),
        Err(_) => {}
    }
    logger.emit(event);
}

/// Prints events, and keeps what it has printed.
#[derive(Clone, Debug, Default)]
struct Printing {
    events: Arc<Mutex<Vec<String>>>,
}

impl LogExporter for Printing {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        for (record, _) in batch.iter() {
            let mut line = record.event_name().unwrap_or_default().to_owned();
            for (key, value) in record.attributes_iter() {
                let value = match value {
                    opentelemetry::logs::AnyValue::String(text) => text.as_str().to_owned(),
                    other => format!("{other:?}"),
                };
                line.push_str(&format!(" {key}={value}"));
            }
            println!("{line}");
            self.events.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
        Ok(())
    }
}
