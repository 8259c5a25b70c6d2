//! The doctor's findings, and how they are written.

use std::io::{self, Write};

use serde::Serialize;

/// One thing that was checked.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) result: Finding,
    pub(super) detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Finding {
    Ok,
    Warning,
    Failed,
}

/// The longest line, in characters.
const WIDTH: usize = 80;
/// The width of the column before the details.
const INDENT: usize = 20;

impl Check {
    pub(super) fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, result: Finding::Ok, detail: detail.into(), advice: None }
    }

    pub(super) fn warning(name: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, result: Finding::Warning, detail: detail.into(), advice: Some(advice.into()) }
    }

    pub(super) fn failed(name: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, result: Finding::Failed, detail: detail.into(), advice: Some(advice.into()) }
    }
}

/// Writes the checks as text.
pub(super) fn write(out: &mut impl Write, checks: &[Check]) -> io::Result<()> {
    for check in checks {
        let result = match check.result {
            Finding::Ok => "ok",
            Finding::Warning => "warning",
            Finding::Failed => "FAILED",
        };
        let mut start = format!("{result:8}{:12}", check.name);
        let texts = [Some(&check.detail), check.advice.as_ref()];
        for line in texts.into_iter().flatten().flat_map(|text| wrapped(text)) {
            writeln!(out, "{start}{line}")?;
            start = " ".repeat(INDENT);
        }
    }
    Ok(())
}

/// Wraps a text. A word that is too long gets a line of its own.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < WIDTH - INDENT => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
