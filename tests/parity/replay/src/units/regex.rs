//! Regular expressions: as the operand of a rule, plain and negated.

use convert_sdk::attributes;
use serde::Deserialize;
use serde_json::json;

use super::{ConfigText, EVERYBODY, Probe, context, quiet};
use crate::error::FieldFlaw;
use crate::findings::Findings;
use crate::surface::Sdk;

/// A line `regex`. A pattern that does not compile is false, negated or not.
#[derive(Deserialize)]
pub(crate) struct Regex {
    pattern: String,
    valid: bool,
    texts: Vec<(String, bool)>,
}

impl Probe for Regex {
    fn add(&self, at: usize, config: &mut ConfigText) {
        for (name, negated) in [("plain", false), ("negated", true)] {
            let rules = json!({"OR": [{"AND": [{"OR_WHEN": [{
                "rule_type": "generic_text_key_value", "key": "text", "value": self.pattern,
                "matching": {"match_type": "regexMatches", "negated": negated},
            }]}]}]});
            let key = format!("{name}-{at}");
            config.audiences.push(format!(r#"{{"id":"{key}","key":"{key}","rules":{rules}}}"#));
            config.experiences.push(format!(
                r#"{{"id":"{key}","key":"{key}","audiences":["{key}"],"settings":{{"matching_options":{{"audiences":"any"}}}},"variations":{EVERYBODY}}}"#
            ));
        }
    }

    fn ask(&self, at: usize, core: &Sdk, findings: &mut Findings) -> Result<(), FieldFlaw> {
        let mut changed = 0;
        for (text, matched) in &self.texts {
            if !survives_lowering(text) {
                changed += 1;
                continue;
            }
            let context = context(core, "visitor", attributes! { "text" => text.as_str() })?;
            let ask = |name| context.run_experience_with(&format!("{name}-{at}"), &quiet()).is_ok();
            let expected = json!({"plain": self.valid && *matched, "negated": self.valid && !matched});
            let actual = json!({"plain": ask("plain"), "negated": ask("negated")});
            findings.check(&format!("regex.{text}"), &expected, &actual);
        }
        if changed > 0 {
            let reason = "rules lowercase the text before the search, so these match differently";
            findings.left_out.insert(reason, changed);
        }
        Ok(())
    }
}

/// Whether a case-insensitive search cannot distinguish a text from its lowercased form, which rules search: the
/// characters are equal, or have the same upper case in the sense of ECMAScript.
fn survives_lowering(text: &str) -> bool {
    let lowered = text.to_lowercase();
    let mut pairs = text.chars().zip(lowered.chars());
    text.chars().count() == lowered.chars().count()
        && pairs.all(|(before, after)| {
            before == after
                || (before.len_utf16() == 1
                    && before.is_ascii() == after.is_ascii()
                    && canonical(before) == canonical(after))
        })
}

fn canonical(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) if character.is_ascii() || !upper.is_ascii() => upper,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::survives_lowering;

    #[test]
    fn the_effects_of_lowercasing_are_known() {
        for same in ["", "abc", "ABC", "É", "ΑΣ", "\u{10428}", "ß"] {
            assert!(survives_lowering(same), "{same}");
        }
        for different in ["\u{212a}", "İ", "ẞ", "\u{10400}", "ǅ\u{212a}"] {
            assert!(!survives_lowering(different), "{different}");
        }
    }
}
