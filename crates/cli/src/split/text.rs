//! A split as human-readable text: a table, bars, and the verdict.

use std::io::{self, Write};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use indicatif::HumanCount;

use super::{ChiSquare, Share, Split};
use crate::chart::{NAME, counted, part, place, short};

/// The length of a full bar, in characters; shorter beside long names.
const BAR: usize = 50;

/// The longest line, in characters.
const WIDTH: usize = 80;
/// What a line has beside its name and its bar.
const BESIDE_BAR: usize = "  \u{2502}  100.00 %".len() - "\u{2502}".len() + 1;
/// What a row has beside the name, the id and the visitors: borders, and the columns of fixed width.
const BESIDE_NAME: usize = 6 * 3 + 1 + "Configured".len() + "Observed".len() + "Difference".len();

/// Writes the whole chart.
pub(super) fn write(out: &mut impl Write, split: &Split) -> io::Result<()> {
    let Split { experience, visitors, seed, layout, shares, verdict } = split;
    writeln!(
        out,
        "{experience}: {} ({}), {layout} layout\n",
        counted(*visitors, "visitor"),
        if *visitors == 1 {
            format!("visitor-{seed}-1")
        } else {
            format!("visitor-{seed}-1 to visitor-{seed}-{visitors}")
        }
    )?;
    writeln!(out, "{}\n", table(shares, *visitors))?;
    let names = shares.iter().map(|share| name(share).chars().count()).max().unwrap_or_default();
    for share in shares {
        let (observed, name) = (part(share.observed, *visitors), name(share));
        let bar = bar(BAR.min(WIDTH - BESIDE_BAR - names), observed, share.configured);
        writeln!(out, "{name:names$}  {bar}  {:6.2} %", observed * 100.0)?;
    }
    writeln!(out, "{:names$}  bars: observed; \u{2502}: configured\n", "")?;
    write_verdict(out, verdict.as_ref())
}

fn table(shares: &[Share], visitors: u64) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["Variation", "Id", "Configured", "Observed", "Visitors", "Difference"]);
    // A row is one line: a long name is shortened to the space that the numbers leave.
    let counts = shares.iter().map(|share| HumanCount(share.observed).to_string().len());
    let ids = shares.iter().filter_map(|share| Some(share.variation_id.as_ref()?.chars().count()));
    let (ids, counts) = (ids.max().unwrap_or_default().max(2), counts.max().unwrap_or_default().max(8));
    let names = WIDTH.saturating_sub(BESIDE_NAME + ids + counts).max("Variation".len());
    for share in shares {
        let observed = part(share.observed, visitors);
        table.add_row([
            short(&name(share), names),
            share.variation_id.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{:.2} %", share.configured * 100.0),
            format!("{:.2} %", observed * 100.0),
            HumanCount(share.observed).to_string(),
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
        return writeln!(out, "every visitor gets the same result: nothing to test");
    };
    let ChiSquare { chi_square, degrees_of_freedom, p_value, consistent } = verdict;
    let result =
        if *consistent { "consistent with the configured split" } else { "NOT the configured split" };
    let p_value = if *p_value >= 0.001 { format!("{p_value:.3}") } else { format!("{p_value:.1e}") };
    writeln!(out, "chi-square {chi_square:.3} ({degrees_of_freedom} df), p = {p_value}: {result}")
}

/// No variation has no name of its own.
fn name(share: &Share) -> String {
    let name = match (&share.variation_key, &share.variation_id) {
        (Some(key), Some(_)) if !key.is_empty() => key,
        (_, Some(id)) => id,
        (_, None) => "(not decided)",
    };
    short(name, NAME)
}

fn bar(width: usize, observed: f64, configured: f64) -> String {
    let (full, mark) = (place(width, 1.0, observed), place(width, 1.0, configured));
    (0..=width)
        .map(|at| match at {
            _ if at == mark => '\u{2502}',
            _ if at < full => '\u{2588}',
            _ => ' ',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_of_80_characters_at_most() {
        let share = |key: &str, id: &str| Share {
            variation_id: Some(id.to_owned()),
            variation_key: Some(key.to_owned()),
            configured: 0.5,
            observed: 500_000,
        };
        let shares = [share(&"long-name-".repeat(9), "1003301030"), share("short", "7")];
        let split = Split {
            experience: "checkout".to_owned(),
            visitors: 1_000_000,
            seed: 0,
            layout: "packed",
            shares: shares.into(),
            verdict: None,
        };
        let mut text = Vec::new();
        write(&mut text, &split).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("long-name-")).count(), 2, "{text}");
    }

    #[test]
    fn bars_show_both_shares() {
        let even = bar(BAR, 0.5, 0.5);
        assert_eq!(even.chars().filter(|it| *it == '\u{2588}').count(), 25);
        assert_eq!(even.chars().nth(25), Some('\u{2502}'));
        assert_eq!(bar(BAR, 0.0, 1.0).chars().last(), Some('\u{2502}'));
    }
}
