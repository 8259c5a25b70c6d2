//! Hashes, read from the explanation of a decision.

use convert_sdk::{
    Attributes, SdkConfig,
    diagnosis::{Explanation, Step},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ConfigText, EVERYBODY, Probe, bucketing, context, sdk};
use crate::error::FieldFlaw;
use crate::findings::Findings;
use crate::surface::{Sdk, Surface};

/// A line `hash`.
#[derive(Deserialize)]
pub(crate) struct Hash {
    experience_id: String,
    visitor_id: String,
    expected: Expected,
}

#[derive(Deserialize)]
struct Expected {
    murmur3: Value,
    bucket: Value,
}

impl Probe for Hash {
    fn add(&self, at: usize, config: &mut ConfigText) {
        let id = json!(self.experience_id);
        config.experiences.push(format!(r#"{{"id":{id},"key":"{at}","variations":{EVERYBODY}}}"#));
    }

    fn ask(&self, at: usize, core: &Sdk, findings: &mut Findings) -> Result<(), FieldFlaw> {
        let Self { experience_id, visitor_id, expected } = self;
        let explanation = match (experience_id.as_str(), visitor_id.as_str()) {
            ("", "") => {
                findings.skipped = Some("the SDK decides nothing for an empty visitor id");
                return Ok(());
            }
            // The hash covers both texts together, so whichever is given can be the visitor.
            ("", alone) | (alone, "") => alone_in_hash(alone)?,
            (_, visitor) => explain(core, visitor, &at.to_string())?,
        };
        match bucketing(explanation.as_ref()) {
            Some(Step::Bucketing { hash, bucket, .. }) => {
                findings.check("hash.murmur3", &expected.murmur3, &json!(hash));
                findings.check("hash.bucket", &expected.bucket, &json!(bucket));
            }
            _ => findings.differ("hash", expected.murmur3.clone(), Value::Null),
        }
        Ok(())
    }
}

fn explain(core: &Sdk, visitor: &str, key: &str) -> Result<Option<Explanation>, FieldFlaw> {
    Ok(context(core, visitor, Attributes::new())?.diagnose_experience(key).explanation)
}

/// Hashes one text, with the option that leaves out the experience's id.
fn alone_in_hash(text: &str) -> Result<Option<Explanation>, FieldFlaw> {
    let config = format!(
        r#"{{"account_id":"1","project":{{"id":"2"}},"experiences":[{{"id":"1","key":"1","variations":{EVERYBODY}}}]}}"#
    );
    let config = SdkConfig::builder().data_json(config).exclude_experience_id_hash(true);
    explain(&sdk(config, Surface::Sync)?, text, "1")
}
