//! A split for people: a table, bars, and the verdict.

use std::io::{self, Write};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use indicatif::HumanCount;

use super::{ChiSquare, Share, Split};

/// Characters of a bar for everything.
const BAR: usize = 50;

/// Writes everything.
pub(super) fn write(out: &mut impl Write, split: &Split) -> io::Result<()> {
    let Split { experience, visitors, seed, layout, shares, verdict } = split;
    writeln!(
        out,
        "{experience}: {} visitors (visitor-{seed}-1 to visitor-{seed}-{visitors}), {layout} layout\n",
        HumanCount(*visitors)
    )?;
    writeln!(out, "{}\n", table(shares, *visitors))?;
    let names = shares.iter().map(|share| name(share).chars().count()).max().unwrap_or_default();
    for share in shares {
        let (observed, name) = (part(share.observed, *visitors), name(share));
        writeln!(out, "{name:names$}  {}  {:6.2} %", bar(observed, share.configured), observed * 100.0)?;
    }
    writeln!(out, "{:names$}  bars: observed; \u{2502}: configured\n", "")?;
    write_verdict(out, verdict.as_ref())
}

fn table(shares: &[Share], visitors: u64) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["Variation", "Id", "Configured", "Observed", "Expected", "Visitors", "Difference"]);
    for share in shares {
        #[expect(clippy::cast_precision_loss, reason = "counts of visitors are far below 2^53")]
        let expected = share.configured * visitors as f64;
        let observed = part(share.observed, visitors);
        table.add_row([
            name(share).to_owned(),
            share.variation_id.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{:.2} %", share.configured * 100.0),
            format!("{:.2} %", observed * 100.0),
            format!("{expected:.1}"),
            share.observed.to_string(),
            format!("{:+.2} pp", (observed - share.configured) * 100.0),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn write_verdict(out: &mut impl Write, verdict: Option<&ChiSquare>) -> io::Result<()> {
    let Some(verdict) = verdict else {
        return writeln!(out, "everything can only fall into one place: nothing to test");
    };
    let ChiSquare { chi_square, degrees_of_freedom, p_value, consistent } = verdict;
    let degrees = if *degrees_of_freedom == 1 { "degree" } else { "degrees" };
    let said = if *consistent { "consistent with the configured split" } else { "NOT the configured split" };
    let p_value = if *p_value >= 0.001 { format!("{p_value:.3}") } else { format!("{p_value:.1e}") };
    writeln!(
        out,
        "chi-square {chi_square:.3}, {degrees_of_freedom} {degrees} of freedom, p = {p_value}: {said}"
    )
}

/// What is not decided has no name of its own.
fn name(share: &Share) -> &str {
    match (&share.variation_key, &share.variation_id) {
        (Some(key), Some(_)) if !key.is_empty() => key,
        (_, Some(id)) => id,
        (_, None) => "(not decided)",
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of visitors are far below 2^53")]
fn part(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
}

fn bar(observed: f64, configured: f64) -> String {
    let (full, mark) = (position(observed), position(configured));
    (0..=BAR)
        .map(|at| match at {
            _ if at == mark => '\u{2502}',
            _ if at < full => '\u{2588}',
            _ => ' ',
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part from 0 to 1")]
#[expect(clippy::cast_precision_loss, reason = "a small constant")]
fn position(part: f64) -> usize {
    (part * BAR as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_both() {
        let even = bar(0.5, 0.5);
        assert_eq!(even.chars().filter(|it| *it == '\u{2588}').count(), 25);
        assert_eq!(even.chars().nth(25), Some('\u{2502}'));
        assert_eq!(bar(0.0, 1.0).chars().last(), Some('\u{2502}'));
    }
}
