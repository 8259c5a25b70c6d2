//! Arbitrary attribute values against arbitrary rules, including regular expressions.
#![no_main]

use convert_fuzz::{Visitor, agree_about, attribute, json, text};
use convert_sdk::Attributes;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::{Value, json as object};

const MATCH_TYPES: [&str; 13] = [
    "equals",
    "equalsNumber",
    "matches",
    "less",
    "lessEqual",
    "contains",
    "startsWith",
    "endsWith",
    "isIn",
    "regexMatches",
    "exists",
    "not_exists",
    "doesNotExist",
];

/// A config whose audience, location, segment and goal all check the attribute `k` in the same way.
fn config(u: &mut Unstructured<'_>) -> Result<Value> {
    let match_type = u.choose(&MATCH_TYPES)?;
    let value = if u.arbitrary()? { text(u)?.into() } else { json(u, 2)? };
    let rules = object!({"OR": [{"AND": [{"OR_WHEN": [{
        "rule_type": "generic_text_key_value", "key": "k", "value": value,
        "matching": {"match_type": match_type, "negated": u.arbitrary::<bool>()?},
    }]}]}]});
    Ok(object!({
        "account_id": "1", "project": {"id": "2"},
        "experiences": [
            {"id": "3", "key": "audience", "audiences": ["4"], "variations": [{"id": "5", "key": "v"}]},
            {"id": "6", "key": "location", "locations": ["7"], "variations": [{"id": "8", "key": "v"}]},
            {"id": "9", "key": "segment", "audiences": ["10"], "variations": [{"id": "11", "key": "v"}]},
        ],
        "audiences": [{"id": "4", "key": "a", "type": "transient", "rules": rules}],
        "locations": [{"id": "7", "key": "l", "rules": rules}],
        "segments": [{"id": "10", "key": "s", "rules": rules}],
        "goals": [{"id": "12", "key": "g", "rules": rules}],
    }))
}

fn input(data: &[u8]) -> Result<(Value, Visitor)> {
    let mut u = Unstructured::new(data);
    let config = config(&mut u)?;
    let attributes = Attributes::new().with("k", attribute(&mut u)?).with(text(&mut u)?, attribute(&mut u)?);
    Ok((config, Visitor { id: text(&mut u)?, attributes }))
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok((config, visitor)) = input(data) else { return Corpus::Reject };
    agree_about(&config.to_string(), &config, &[visitor]);
    Corpus::Keep
});
