//! An answer as human-readable text.

use std::io::{self, Write};

use convert_sdk::config::ConfigSnapshot;

use super::answer::{Answer, Decision, Feature};
use crate::explain;

/// Writes one visitor.
pub(crate) fn write(out: &mut impl Write, answer: &Answer<'_>, config: &ConfigSnapshot) -> io::Result<()> {
    let Answer { visitor, experiences, features } = answer;
    writeln!(out, "{}", if visitor.is_empty() { "(no visitor)" } else { visitor })?;
    writeln!(out, "  experiences")?;
    if experiences.is_empty() {
        writeln!(out, "    none")?;
    }
    let keys = width(experiences.iter().map(|decision| decision.key));
    let shown = experiences.iter().filter_map(|decision| decision.variation.as_ref());
    let names = width(shown.map(|variation| name(variation.key, variation.id)).chain(["-"]));
    for decision in experiences {
        write_decision(out, decision, config, (keys, names))?;
    }
    writeln!(out, "  features")?;
    if features.is_empty() {
        writeln!(out, "    none")?;
    }
    features.iter().try_for_each(|feature| write_feature(out, feature))
}

fn write_decision(
    out: &mut impl Write,
    decision: &Decision<'_>,
    config: &ConfigSnapshot,
    (keys, names): (usize, usize),
) -> io::Result<()> {
    let Decision { key, variation, reason, explanation } = decision;
    let (shown, why) = match variation {
        Some(variation) => {
            let why = match variation.bucket {
                Some(bucket) => format!("{}, bucket {bucket}", variation.source),
                None => variation.source.to_owned(),
            };
            (name(variation.key, variation.id), why)
        }
        None => ("-", reason.as_ref().map(ToString::to_string).unwrap_or_default()),
    };
    writeln!(out, "    {key:keys$}  {shown:names$}  {why}")?;
    explanation
        .iter()
        .flat_map(|explanation| &explanation.steps)
        .try_for_each(|step| explain::write(out, step, config))
}

fn write_feature(out: &mut impl Write, feature: &Feature<'_>) -> io::Result<()> {
    let Feature { key, experience, variation, variables } = feature;
    writeln!(out, "    {key}  from {experience}, {variation}")?;
    let names = width(variables.keys().copied());
    variables.iter().try_for_each(|(name, value)| writeln!(out, "      {name:names$}  {value}"))
}

/// A variation without a key is shown by its id.
const fn name<'a>(key: &'a str, id: &'a str) -> &'a str {
    if key.is_empty() { id } else { key }
}

fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or_default()
}
