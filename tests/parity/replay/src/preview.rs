//! Previews: the forced variation, every other decision, and that no trace is left.

use convert_sdk::{Context, config::EntityKind};
use serde_json::{Value, json};

use crate::error::{FieldFlaw, Trouble};
use crate::findings::Findings;
use crate::json::{Object, is_throw, text};
use crate::line::{PreviewCall, RequestLine};
use crate::parts::list;
use crate::prepared::{Fresh, decision};
use crate::sequence;
use crate::subject::Ready;

/// Compares the part `preview`.
pub(crate) fn compare(
    ready: &mut Ready,
    fresh: &Fresh<'_>,
    call: &PreviewCall,
    line: &RequestLine<'_>,
    mut expected: Object,
    findings: &mut Findings,
) -> Result<(), Trouble> {
    let before = Traces::of(ready)?;
    let mut context = fresh.context()?;
    // An inactive preview is an answer too.
    let _ = context.set_preview(&call.experience_id, &call.variation_id);
    let active = context.is_preview();
    if let Some(expected) = expected.remove("active") {
        findings.check("preview.active", &expected, &json!(active));
    }
    // Without a preview each decision starts from the prepared state.
    let options = match active {
        true => fresh.options.clone(),
        false => fresh.options.clone().enable_storage(false).enable_tracking(false),
    };
    let mut one_by_one = None;
    if let Some(decisions) = expected.remove("decisions") {
        let Value::Object(mut decisions) = decisions else {
            return Err(FieldFlaw::new("expected.preview.decisions", "is not an object").into());
        };
        let forced = if active { forced_key(&context, call) } else { None };
        recommend(&mut decisions, line, forced.as_deref());
        for (key, expected) in decisions.iter().filter(|(_, expected)| !is_throw(expected)) {
            let actual = decision(&context, key, &options);
            findings.check_decision("preview.decisions", key, expected, &actual);
        }
        one_by_one = all_of(&decisions, &context, forced.as_deref());
    }
    if let Some(expected) = expected.remove("run_experiences") {
        let actual = sequence::run(&context, &options).0;
        let expected = match one_by_one {
            // JavaScript's answer for all is as wrong as its answer for one, and nothing is recommended instead.
            // Nothing is stored in between, so one by one equals all at once.
            Some(all) if line.recommended.contains_key("run_experiences") => Some(all),
            _ if is_throw(&expected) => None,
            _ => {
                let mut expected = list("preview.run_experiences", expected)?;
                if active {
                    move_forced(&mut expected, &context, call);
                }
                Some(expected)
            }
        };
        if let Some(expected) = expected {
            findings.decisions += context.config().counts().experiences as u64;
            findings.check("preview.run_experiences", &Value::Array(expected), &Value::Array(actual));
        }
    }
    if let Some(expected) = expected.remove("traceless") {
        for call in &line.request.conversions {
            let _ = sequence::convert(&context, call)?;
        }
        let traceless = Traces::of(ready)? == before;
        findings.check("preview.traceless", &expected, &json!(traceless));
    }
    match expected.keys().next() {
        None => Ok(()),
        Some(part) => Err(FieldFlaw::new(format!("expected.preview.{part}"), "is not known").into()),
    }
}

/// The key of the experience that a preview forces.
fn forced_key(context: &Context, call: &PreviewCall) -> Option<String> {
    let forced = context.get_config_entity_by_id(EntityKind::Experience, &call.experience_id)?;
    Some(text(forced.get("key")))
}

/// The recommended decisions apply in a preview too, except to the experience that it forces.
fn recommend(decisions: &mut Object, line: &RequestLine<'_>, forced: Option<&str>) {
    let (before, after) = (line.expected.get("decisions"), line.recommended.get("decisions"));
    let recommended = after.and_then(Value::as_object).into_iter().flatten();
    for (key, recommended) in recommended {
        if Some(key.as_str()) != forced
            && let Some(decision) = decisions.get_mut(key)
            && before.is_some_and(|before| before[key] == *decision)
        {
            *decision = recommended.clone();
        }
    }
}

/// The list of all decisions, composed of those on each experience; `None` if one is missing. The forced experience is
/// listed once.
fn all_of(decisions: &Object, context: &Context, forced: Option<&str>) -> Option<Vec<Value>> {
    let mut all: Vec<Value> = Vec::new();
    for key in context.config().experience_keys() {
        if Some(key) == forced && all.iter().any(|pair| pair[0] == key) {
            continue;
        }
        let decision = decisions.get(key).filter(|decision| !is_throw(decision))?;
        all.extend(decision.get("variation_id").map(|variation| json!([key, variation])));
    }
    Some(all)
}

/// What a preview must not change.
#[derive(PartialEq, Eq)]
struct Traces {
    recorded: u64,
    stored: u64,
    sent: bool,
}

impl Traces {
    fn of(ready: &mut Ready) -> Result<Self, Trouble> {
        ready.settle()?;
        let recorded = ready.core.stats().recorded;
        Ok(Self { recorded, stored: ready.store.changes(), sent: !ready.wire.is_empty() })
    }
}

/// JavaScript lists the forced experience last, this SDK at its key's first position in the config (P3).
fn move_forced(expected: &mut Vec<Value>, context: &Context, call: &PreviewCall) {
    let Some(forced) = forced_key(context, call) else { return };
    let Some(last) = expected.pop_if(|last| last[0] == forced.as_str()) else { return };
    // A key that occurs several times before it is listed as often, if at all.
    let before = context.config().experience_keys().take_while(|key| *key != forced);
    let place = before.filter(|key| expected.iter().any(|entry| entry[0] == *key)).count();
    expected.insert(place, last);
}
