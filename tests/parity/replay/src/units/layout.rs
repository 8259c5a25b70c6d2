//! Layouts: the variation at every boundary of an experience, and next to it.

use convert_sdk::{Attributes, diagnosis::Step};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{ConfigText, Probe, bucketing, context, quiet};
use crate::error::FieldFlaw;
use crate::findings::Findings;
use crate::surface::Sdk;

/// A line `layout`.
#[derive(Deserialize)]
pub(crate) struct Layout {
    experience_id: String,
    /// Verbatim; missing is not the same as null.
    #[serde(default)]
    version: Option<Box<RawValue>>,
    variations: Box<RawValue>,
    expected: Vec<(String, Value, Value)>,
}

impl Probe for Layout {
    fn add(&self, at: usize, config: &mut ConfigText) {
        let (id, variations) = (json!(self.experience_id), self.variations.get());
        let version = self.version.as_ref().map(|version| format!(r#""version":{version},"#));
        let version = version.unwrap_or_default();
        config.experiences.push(format!(r#"{{"id":{id},"key":"{at}",{version}"variations":{variations}}}"#));
    }

    fn ask(&self, at: usize, core: &Sdk, findings: &mut Findings) -> Result<(), FieldFlaw> {
        let (key, options) = (at.to_string(), quiet());
        for (visitor, bucket, variation) in &self.expected {
            let context = context(core, visitor, Attributes::new())?;
            let result = context.run_experience_with(&key, &options);
            let actual = match &result {
                Ok(result) => json!([visitor, result.bucket_value(), result.variation_id()]),
                Err(_) => {
                    let explanation = context.diagnose_experience_with(&key, &options).explanation;
                    let bucket = match bucketing(explanation.as_ref()) {
                        Some(Step::Bucketing { bucket, .. }) => Some(*bucket),
                        _ => None,
                    };
                    json!([visitor, bucket, "not_decided"])
                }
            };
            // JavaScript loses a numeric id here: any variation is correct, none is not.
            let lost = variation.is_null() && result.is_ok();
            let variation = if lost { &actual[2] } else { variation };
            findings.check_decision("layout", visitor, &json!([visitor, bucket, variation]), &actual);
        }
        Ok(())
    }
}
