//! Casts, and JavaScript's `String()`: as a feature variable of a declared type.

use convert_sdk::{Attributes, RunOptions};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{ConfigText, Probe, context};
use crate::error::FieldFlaw;
use crate::findings::{Findings, JAVASCRIPT_THROWS};
use crate::json::{self, is_special_number, is_throw};
use crate::surface::Sdk;

/// A line `cast`.
#[derive(Deserialize)]
pub(crate) struct Cast {
    #[serde(rename = "type")]
    declared: Value,
    /// Verbatim, so that the SDK parses the number itself.
    value: Box<RawValue>,
    expected: Value,
    #[serde(skip, default = "cast")]
    part: &'static str,
}

/// A line `string`.
#[derive(Deserialize)]
pub(crate) struct Text {
    value: Box<RawValue>,
    expected: Value,
}

const fn cast() -> &'static str {
    "cast"
}

impl Text {
    /// A value's text is its cast to the type `string`.
    pub(crate) fn into_cast(self) -> Result<Cast, FieldFlaw> {
        Ok(Cast { declared: json!("string"), value: self.value, expected: self.expected, part: "string" })
    }
}

impl Probe for Cast {
    fn add(&self, at: usize, config: &mut ConfigText) {
        let (declared, value) = (&self.declared, self.value.get());
        config.features.push(format!(
            r#"{{"id":"{at}","key":"{at}","variables":[{{"key":"variable","type":{declared}}}]}}"#
        ));
        config.experiences.push(format!(
            r#"{{"id":"{at}","key":"{at}","variations":[{{"id":"1","key":"all","traffic_allocation":100,"changes":[{{"type":"fullStackFeature","data":{{"feature_id":{at},"variables_data":{{"variable":{value}}}}}}}]}}]}}"#
        ));
    }

    fn ask(&self, at: usize, core: &Sdk, findings: &mut Findings) -> Result<(), FieldFlaw> {
        if is_throw(&self.expected) {
            findings.skipped = Some(JAVASCRIPT_THROWS);
            return Ok(());
        }
        let key = at.to_string();
        let context = context(core, "visitor", Attributes::new())?;
        let options = RunOptions::new().enable_storage(false).experience_keys([key.as_str()]);
        let result = context.run_feature_with(&key, &options);
        let actual = result.ok().and_then(|result| result.variable("variable").cloned());
        let actual = actual.unwrap_or_else(|| json!({"$js": "undefined"}));
        // JSON has no such number: the result is the value as served (F1).
        if is_special_number(&self.expected) {
            let served: Value = json::parse(self.value.get()).map_err(|flaw| flaw.within("value"))?;
            findings.check(self.part, &served, &actual);
        } else {
            findings.check(self.part, &self.expected, &actual);
        }
        Ok(())
    }
}
