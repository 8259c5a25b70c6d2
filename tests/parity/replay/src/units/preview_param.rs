//! The preview parameter.

use convert_sdk::parse_preview_param;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ConfigText, Probe};
use crate::error::FieldFlaw;
use crate::findings::Findings;
use crate::surface::Sdk;

/// A line `preview_param`.
#[derive(Deserialize)]
pub(crate) struct PreviewParam {
    value: Value,
    expected: Value,
}

impl Probe for PreviewParam {
    fn add(&self, _: usize, _: &mut ConfigText) {}

    fn ask(&self, _: usize, _: &Sdk, findings: &mut Findings) -> Result<(), FieldFlaw> {
        let Value::String(text) = &self.value else {
            findings.skipped = Some("a preview parameter that is not text cannot be passed in Rust");
            return Ok(());
        };
        let actual = parse_preview_param(text)
            .map(|param| json!({"experienceId": param.experience_id, "variationId": param.variation_id}));
        findings.check("preview_param", &self.expected, &json!(actual));
        Ok(())
    }
}
