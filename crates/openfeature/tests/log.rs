//! What an evaluation tells in the log. A logger is global, and a line is told once a minute, so this has a process of
//! its own.

use std::sync::{Mutex, PoisonError};

use convert_sdk::attributes;
use convert_sdk::testing::{TestData, TestExperience};
use convert_sdk_openfeature::ConvertProvider;
use log::{LevelFilter, Log, Metadata, Record};
use open_feature::EvaluationContext;
use open_feature::provider::FeatureProvider;

/// Keeps the lines about what the config does not have.
struct Lines(Mutex<Vec<String>>);

static LINES: Lines = Lines(Mutex::new(Vec::new()));

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("convert_sdk")
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        if self.enabled(record.metadata()) && line.contains("does not have") {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn only_a_flag_that_is_not_there_is_told_as_missing() {
    log::set_logger(&LINES).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let checkout = TestExperience::new("checkout").variation("one-page");
    let checkout = checkout.feature("form", attributes! { "steps" => 2 });
    let shop = TestData::new().experience(checkout).start().unwrap();
    let provider = ConvertProvider::new(shop.to_async());
    let visitor = EvaluationContext::default().with_targeting_key("visitor-1");
    assert_eq!(provider.resolve_int_value("form.steps", &visitor).await.unwrap().value, 2);
    assert!(provider.resolve_int_value("from.steps", &visitor).await.is_err());
    let told = LINES.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(told, [r#"asked for a feature that the config does not have: "from.steps""#]);
}
