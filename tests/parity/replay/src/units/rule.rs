//! Rule sets: each is the audience of an experience that accepts everybody who matches.

use convert_sdk::Attributes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{ConfigText, EVERYBODY, Probe, context, quiet};
use crate::error::FieldFlaw;
use crate::findings::Findings;
use crate::json::{Object, is_throw};
use crate::surface::Sdk;

/// A line `rule`.
#[derive(Deserialize)]
pub(crate) struct Rule {
    data: Object,
    /// Verbatim: some lines are about malformed rules.
    rule: Box<RawValue>,
    expected: Value,
    #[serde(default)]
    recommended: Option<Value>,
}

impl Rule {
    /// In an audience such an item decides alone, which these lines do not reflect, so it is asked as a location, which
    /// is evaluated as it is.
    fn is_exclusion(&self) -> bool {
        self.rule.get().contains("bucketed_into_experience_key")
    }
}

impl Probe for Rule {
    fn add(&self, at: usize, config: &mut ConfigText) {
        let rule = self.rule.get();
        let (list, place) = match self.is_exclusion() {
            true => (&mut config.locations, "locations"),
            false => (&mut config.audiences, "audiences"),
        };
        list.push(format!(r#"{{"id":"{at}","key":"{at}","type":"transient","rules":{rule}}}"#));
        config.experiences.push(format!(
            r#"{{"id":"{at}","key":"{at}","{place}":["{at}"],"settings":{{"matching_options":{{"audiences":"any"}}}},"variations":{EVERYBODY}}}"#
        ));
    }

    fn ask(&self, at: usize, core: &Sdk, findings: &mut Findings) -> Result<(), FieldFlaw> {
        // Report keys in the data are remembered as segments, so every line has its own visitor.
        let (visitor, data) = (format!("visitor-{at}"), Attributes::from(self.data.clone()));
        let matched = if self.is_exclusion() {
            let context = context(core, &visitor, Attributes::new())?.with_location(data);
            context.run_experience_with(&at.to_string(), &quiet()).is_ok()
        } else {
            context(core, &visitor, data)?.run_experience_with(&at.to_string(), &quiet()).is_ok()
        };
        let expected = self.recommended.as_ref().unwrap_or(&self.expected);
        // If JavaScript throws, there is no answer to compare with; it is enough that the SDK gives one.
        if !is_throw(expected) {
            findings.decisions += 1;
            findings.check("rule", expected, &Value::Bool(matched));
        }
        Ok(())
    }
}
