//! The steps of an explanation for people: one line each, and one for each rule item.

use std::io::{self, Write};

use convert_sdk::diagnosis::{EdgeTrace, RuleSetTrace, Step};

/// Writes one step.
pub(crate) fn write(out: &mut impl Write, step: &Step) -> io::Result<()> {
    let (name, text) = match step {
        Step::Archived { archived } => ("archived", (if *archived { "yes" } else { "no" }).to_owned()),
        Step::Environment { required, given, passed } => {
            let required = required.as_deref().unwrap_or("any");
            let given = given.as_deref().unwrap_or("any");
            ("environment", format!("{required}, asked for {given}: {}", outcome(*passed)))
        }
        Step::Stored { variation_id, stale } => {
            let text = match (variation_id, stale) {
                (Some(id), _) => format!("variation {id}"),
                (None, true) => "a variation that is gone".to_owned(),
                (None, false) => "nothing".to_owned(),
            };
            ("stored", text)
        }
        Step::Location { restriction, passed, .. } => {
            let restriction = restriction.replace('_', " ");
            ("location", format!("{restriction}: {}", outcome(*passed)))
        }
        Step::Audiences { matching, skipped, passed, .. } => {
            let skipped = match skipped.as_slice() {
                [] => String::new(),
                ids => format!(", permanent ones skipped: {}", ids.join(", ")),
            };
            ("audiences", format!("{matching}: {}{skipped}", outcome(*passed)))
        }
        Step::Segments { required, passed } => {
            let required = if required.is_empty() { "none".to_owned() } else { required.join(", ") };
            ("segments", format!("{required}: {}", outcome(*passed)))
        }
        Step::Forced { variation_id, found } => {
            ("forced", format!("{variation_id}: {}", if *found { "found" } else { "not found" }))
        }
        Step::Bucketing { hash, bucket, layout, edges, .. } => {
            let edges: Vec<String> = edges.iter().map(edge).collect();
            ("bucketing", format!("hash {hash}, bucket {bucket}; {layout}: {}", edges.join("; ")))
        }
        // A step of a newer SDK.
        other => ("step", format!("{other:?}")),
    };
    writeln!(out, "      {name:12}{text}")?;
    match step {
        Step::Location { evaluated, .. } | Step::Audiences { evaluated, .. } => {
            evaluated.iter().try_for_each(|rules| write_rules(out, rules))
        }
        _ => Ok(()),
    }
}

fn write_rules(out: &mut impl Write, rules: &RuleSetTrace) -> io::Result<()> {
    let name = rules.key.as_deref().filter(|key| !key.is_empty()).or(rules.id.as_deref());
    let name = name.unwrap_or("site area");
    writeln!(out, "        {name}: {}", if rules.matched { "matched" } else { "not matched" })?;
    if let Some(other) = &rules.other_experience {
        let bucketed = match rules.bucketed {
            Some(true) => "the visitor is in it",
            Some(false) => "the visitor is not in it",
            None => "there is no such experience",
        };
        writeln!(out, "          experience {other}: {bucketed}")?;
    }
    for item in &rules.items {
        let (not, key) = (if item.negated { "not " } else { "" }, item.key.as_deref().unwrap_or("(no key)"));
        writeln!(
            out,
            "          {}: {key} ({}) {not}{} {}: {}",
            item.path,
            item.attribute_type,
            item.match_type,
            item.operand_type,
            item.result.replace('_', " "),
        )?;
    }
    Ok(())
}

fn edge(edge: &EdgeTrace) -> String {
    format!("{} from {} to {}", edge.variation_id, edge.lower, edge.upper)
}

const fn outcome(passed: bool) -> &'static str {
    if passed { "passed" } else { "failed" }
}
