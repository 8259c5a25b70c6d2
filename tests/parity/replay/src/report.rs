//! The output of a replay: each mismatch as it is found, then the totals.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Stdout, Write};

use serde_json::json;

use crate::findings::{Findings, Mismatch};

/// The position and name of a line.
pub(crate) struct Case<'a> {
    pub(crate) file: &'a str,
    pub(crate) line: u64,
    pub(crate) id: &'a str,
    pub(crate) config_ref: Option<&'a str>,
}

/// Prints mismatches and counts lines.
pub(crate) struct Report {
    out: BufWriter<Stdout>,
    json: bool,
    passed: u64,
    failed: u64,
    decisions: u64,
    /// Lines that could not be asked, by reason.
    skipped: BTreeMap<&'static str, u64>,
    /// Parts of lines that could not be asked, by reason.
    left_out: BTreeMap<&'static str, u64>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            out: BufWriter::new(io::stdout()),
            json,
            passed: 0,
            failed: 0,
            decisions: 0,
            skipped: BTreeMap::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// Counts a line and prints what differs.
    pub(crate) fn record(&mut self, case: &Case<'_>, findings: Findings) -> io::Result<()> {
        self.decisions += findings.decisions;
        for (reason, times) in &findings.left_out {
            *self.left_out.entry(reason).or_default() += times;
        }
        if let Some(reason) = findings.skipped {
            *self.skipped.entry(reason).or_default() += 1;
        } else if findings.is_clean() {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        findings.mismatches.iter().try_for_each(|mismatch| self.mismatch(case, mismatch))
    }

    /// Prints the totals, and returns whether nothing differed.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        let skipped: u64 = self.skipped.values().sum();
        if self.json {
            let mut totals =
                json!({"passed": self.passed, "failed": self.failed, "decisions": self.decisions});
            if skipped > 0 {
                totals["skipped"] = skipped.into();
            }
            writeln!(self.out, "{totals}")?;
        } else {
            for (reason, times) in &self.skipped {
                writeln!(self.out, "not asked: {times} {}, {reason}", plural(*times, "line", "lines"))?;
            }
            for (reason, times) in &self.left_out {
                writeln!(self.out, "not asked: {times} {}, {reason}", plural(*times, "answer", "answers"))?;
            }
            writeln!(self.out, "{} passed, {} failed", self.passed, self.failed)?;
        }
        self.out.flush()?;
        Ok(self.failed == 0)
    }

    /// Flushes the output.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn mismatch(&mut self, case: &Case<'_>, mismatch: &Mismatch) -> io::Result<()> {
        let Mismatch { part, expected, actual } = mismatch;
        let Case { file, line, id, config_ref } = case;
        if self.json {
            let object = json!({
                "id": id, "config_ref": config_ref, "part": part, "expected": expected, "actual": actual,
            });
            return writeln!(self.out, "{object}");
        }
        let config = config_ref.map(|config| format!(" of {config}")).unwrap_or_default();
        writeln!(self.out, "{file}:{line}: {id}{config}: {part}")?;
        writeln!(self.out, "  expected {expected}")?;
        writeln!(self.out, "  actual   {actual}")
    }
}

const fn plural(count: u64, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}
