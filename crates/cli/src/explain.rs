//! An explanation's steps as human-readable text: one line each, and one per rule item.

use std::io::{self, Write};

use convert_evaluation::config::SnapshotExt as _;
use convert_sdk::config::{ConfigSnapshot, EntityKind};
use convert_sdk::diagnosis::{EdgeTrace, Explanation, ItemTrace, RuleSetTrace, Step};

use crate::chart::short;

/// How much of an operand or a value is shown, in characters.
const VALUE: usize = 24;

/// Writes one step; the config has the keys of what the step names by id.
pub(crate) fn write(out: &mut impl Write, step: &Step, config: &ConfigSnapshot) -> io::Result<()> {
    let key = |kind, id: &String| key(config, kind, id);
    let keys = |kind, ids: &[String]| ids.iter().map(|id| key(kind, id)).collect::<Vec<_>>().join(", ");
    let (name, text) = match step {
        Step::Archived { archived } => ("archived", (if *archived { "yes" } else { "no" }).to_owned()),
        Step::Environment { required: None, .. } => ("environment", "all".to_owned()),
        Step::Environment { required: Some(required), given, passed } => {
            let given = given.as_deref().unwrap_or("none");
            ("environment", format!("{required}, {given} requested: {}", outcome(*passed)))
        }
        Step::Stored { variation_id, stale } => {
            let text = match (variation_id, stale) {
                (Some(id), _) => key(EntityKind::Variation, id),
                (None, true) => "a variation no longer in the config".to_owned(),
                (None, false) => "nothing".to_owned(),
            };
            ("stored", text)
        }
        Step::Location { restriction: "none", .. } => ("location", "anywhere".to_owned()),
        Step::Location { restriction, passed, .. } => {
            let restriction = restriction.replace('_', " ");
            ("location", format!("{restriction}: {}", outcome(*passed)))
        }
        Step::Audiences { matching: "none", .. } => ("audiences", "everyone".to_owned()),
        Step::Audiences { matching, skipped, passed, .. } => {
            let skipped = match skipped.as_slice() {
                [] => String::new(),
                ids => format!(", permanent ones skipped: {}", keys(EntityKind::Audience, ids)),
            };
            ("audiences", format!("{matching} of them: {}{skipped}", outcome(*passed)))
        }
        Step::Segments { required, .. } if required.is_empty() => ("segments", "everyone".to_owned()),
        Step::Segments { required, passed } => {
            ("segments", format!("one of {}: {}", keys(EntityKind::Segment, required), outcome(*passed)))
        }
        Step::Forced { variation_id, found } => {
            let found = if *found { "found" } else { "not found" };
            ("forced", format!("{}: {found}", key(EntityKind::Variation, variation_id)))
        }
        Step::Bucketing { hash, bucket, layout, .. } => {
            ("bucketing", format!("hash {hash}, bucket {bucket}, {layout} layout"))
        }
        // A step that a newer SDK added.
        other => ("step", format!("{other:?}")),
    };
    writeln!(out, "      {name:12}{text}")?;
    match step {
        Step::Location { evaluated, .. } | Step::Audiences { evaluated, .. } => {
            evaluated.iter().try_for_each(|rules| write_rules(out, rules))
        }
        Step::Bucketing { edges, .. } => edges.iter().try_for_each(|edge| {
            let EdgeTrace { variation_id, lower, upper, .. } = edge;
            writeln!(out, "        {} from {lower} to {upper}", key(EntityKind::Variation, variation_id))
        }),
        _ => Ok(()),
    }
}

/// The key of an entity, or its id if it has none.
fn key(config: &ConfigSnapshot, kind: EntityKind, id: &str) -> String {
    let served = config.entity_by_id(kind, id);
    let key = served.as_ref().and_then(|served| served["key"].as_str()).filter(|key| !key.is_empty());
    key.unwrap_or(id).to_owned()
}

fn write_rules(out: &mut impl Write, rules: &RuleSetTrace) -> io::Result<()> {
    let name = rules_name(rules);
    writeln!(out, "        {name}: {}", if rules.matched { "matched" } else { "not matched" })?;
    if let Some(other) = other_experience(rules) {
        writeln!(out, "          {other}")?;
    }
    rules.items.iter().try_for_each(|item| writeln!(out, "          {}: {}", item.path, comparison(item)))
}

fn rules_name(rules: &RuleSetTrace) -> &str {
    let name = rules.key.as_deref().filter(|key| !key.is_empty()).or(rules.id.as_deref());
    name.unwrap_or("site area")
}

/// Of an audience that asks for another experience: whether the visitor is in that.
fn other_experience(rules: &RuleSetTrace) -> Option<String> {
    let other = rules.other_experience.as_ref()?;
    let bucketed = match rules.bucketed {
        Some(true) => "the visitor is in it",
        Some(false) => "the visitor is not in it",
        None => "there is no such experience",
    };
    Some(format!("experience {other}: {bucketed}"))
}

/// What was compared with what: the visitor's value if it is shown, or else its type.
fn comparison(item: &ItemTrace) -> String {
    let name = item.key.as_deref().unwrap_or("(no key)");
    let value = match &item.attribute {
        Some(value) => format!(" {}", short(&value.to_string(), VALUE)),
        // The result says that there is none.
        None if item.result == "absent" => String::new(),
        None => format!(" ({})", item.attribute_type),
    };
    let result = item.result.replace('_', " ");
    if matches!(item.match_type, "exists" | "not_exists" | "doesNotExist") {
        let exists = (item.match_type == "exists") != item.negated;
        return format!("{name}{value} {}: {result}", if exists { "exists" } else { "does not exist" });
    }
    let operand = item.operand.as_ref().map_or_else(|| item.operand_type.to_owned(), ToString::to_string);
    format!("{name}{value} {} {}: {result}", verb(item.match_type, item.negated), short(&operand, VALUE))
}

/// A comparison as a sentence has it; one that has no such form is shown as served.
fn verb(match_type: &str, negated: bool) -> String {
    let (plain, not) = match match_type {
        "equals" | "equalsNumber" | "matches" => ("equals", "does not equal"),
        "less" => ("is less than", "is not less than"),
        "lessEqual" => ("is at most", "is not at most"),
        "contains" => ("contains", "does not contain"),
        "startsWith" => ("starts with", "does not start with"),
        "endsWith" => ("ends with", "does not end with"),
        "regexMatches" => ("matches the pattern", "does not match the pattern"),
        "isIn" => ("is in", "is not in"),
        other if negated => return format!("not {other}"),
        other => return other.to_owned(),
    };
    if negated { not } else { plain }.to_owned()
}

/// What decided, in one line.
pub(crate) fn reason(explanation: &Explanation) -> String {
    let rules = |kind: &str, evaluated: &[RuleSetTrace]| match evaluated.last() {
        Some(rules) => {
            let item = rules.items.iter().rev().find(|item| item.result != "matched").or(rules.items.last());
            let why = other_experience(rules).or_else(|| item.map(comparison)).unwrap_or_default();
            format!("{kind} {}: {why}", rules_name(rules))
        }
        None => explanation.why.clone(),
    };
    match explanation.steps.last() {
        Some(Step::Location { evaluated, passed: false, .. }) => rules("location", evaluated),
        Some(Step::Audiences { evaluated, passed: false, .. }) => rules("audience", evaluated),
        Some(Step::Bucketing { bucket, edges, variation_id, .. }) => {
            match edges.iter().find(|edge| Some(&edge.variation_id) == variation_id.as_ref()) {
                Some(edge) => format!("bucket {bucket}, within {} to {}", edge.lower, edge.upper),
                None => format!("bucket {bucket}, which belongs to no variation"),
            }
        }
        _ => explanation.why.clone(),
    }
}

const fn outcome(passed: bool) -> &'static str {
    if passed { "passed" } else { "failed" }
}

#[cfg(test)]
mod tests {
    use super::verb;

    #[test]
    fn a_negated_comparison_reads_as_a_sentence() {
        assert_eq!(
            (verb("less", false), verb("less", true)),
            ("is less than".into(), "is not less than".into())
        );
        assert_eq!(verb("sounds_like", true), "not sounds_like");
    }
}
