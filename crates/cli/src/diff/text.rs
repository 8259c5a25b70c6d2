//! A comparison as human-readable text, at most 80 columns wide.

use std::io::{self, Write};

use convert_evaluation::decide::Explanation;
use indicatif::HumanCount;

use super::changes::Kind;
use super::compare::{Counts, Example, ExperienceReport, Move, Report};
use crate::args::DiffArgs;
use crate::chart::{NAME, bar, part, short};
use crate::explain::reason;

/// The length of a full bar, in characters.
const BAR: usize = 40;
/// The space for a difference or a reason, in characters.
const LINE: usize = 66;
const ANOTHER: char = '\u{2588}';
const ENTER: char = '\u{2593}';
const LEAVE: char = '\u{2591}';

/// Writes the whole report.
pub(super) fn write(out: &mut impl Write, heading: &str, report: &Report, args: &DiffArgs) -> io::Result<()> {
    writeln!(out, "{heading}\n")?;
    write_changes(
        out,
        &report.experiences,
        args.old_order.unwrap_or_default() == args.new_order.unwrap_or_default(),
    )?;
    write_table(out, report)?;
    write_bars(out, report)?;
    for experience in &report.experiences {
        for example in &experience.examples {
            write_example(out, &experience.key, example)?;
        }
    }
    let Report { visitors, moved, moved_percent, .. } = report;
    write!(out, "{} of {} visitors move ({moved_percent:.2} %)", HumanCount(*moved), HumanCount(*visitors))?;
    match args.allow {
        Some(allow) if *moved_percent > allow => writeln!(out, ": MORE than the {allow} % allowed"),
        Some(allow) => writeln!(out, ": within the {allow} % allowed"),
        None => writeln!(out),
    }
}

fn write_changes(
    out: &mut impl Write,
    experiences: &[ExperienceReport],
    is_same_order: bool,
) -> io::Result<()> {
    let mut differs = false;
    for experience in experiences {
        let kind = match experience.change.kind {
            Kind::Added => "added",
            Kind::Stopped => "stopped",
            Kind::Reweighted => "re-weighted",
            Kind::Changed => "changed",
            Kind::Unchanged => continue,
        };
        differs = true;
        writeln!(out, "{kind:11}  {}", short(&experience.key, LINE))?;
        for detail in &experience.change.details {
            writeln!(out, "{:11}    {}", "", short(detail, LINE - 2))?;
        }
    }
    if !differs && is_same_order {
        writeln!(out, "no experience differs")?;
    } else if !differs {
        // With the same experiences, only the order can move anybody.
        let moving = experiences.iter().filter(|experience| experience.counts.moved() > 0);
        let keys: Vec<_> = moving.map(|experience| experience.key.as_str()).collect();
        write!(out, "the experiences are the same; the bucket order differs")?;
        match keys.as_slice() {
            [] => writeln!(out)?,
            [key] if key.chars().count() <= NAME => writeln!(out, ": {key}")?,
            keys => {
                writeln!(out, ":")?;
                keys.iter().try_for_each(|key| writeln!(out, "  {}", short(key, LINE)))?;
            }
        }
    }
    writeln!(out)
}

fn names(experiences: &[ExperienceReport]) -> usize {
    let lengths = experiences.iter().map(|experience| experience.key.chars().count().min(NAME));
    lengths.max().unwrap_or_default().max("experience".len())
}

fn write_table(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let names = names(&report.experiences);
    let [before, after, another, enter, leave] = ["in OLD", "in NEW", "another", "enter", "leave"];
    writeln!(out, "{:names$} {before:>10} {after:>10} {another:>10} {enter:>10} {leave:>10}", "experience")?;
    for experience in &report.experiences {
        write!(out, "{:names$}", short(&experience.key, NAME))?;
        let Counts { in_old, in_new, another, enter, leave } = experience.counts;
        for count in [in_old, in_new, another, enter, leave] {
            write!(out, " {:>10}", HumanCount(count).to_string())?;
        }
        writeln!(out)?;
    }
    let is_empty = |counts: &Counts| counts.in_old == 0 && counts.in_new == 0;
    let empty: Vec<_> = report.experiences.iter().filter(|experience| is_empty(&experience.counts)).collect();
    if !empty.is_empty() {
        let keys: Vec<_> = empty.iter().map(|experience| experience.key.as_str()).collect();
        writeln!(out, "{}", short(&format!("no visitor is in {}", keys.join(", ")), LINE + 14))?;
    }
    writeln!(out)
}

/// Bars for those who move only; the longest one fills the available width.
fn write_bars(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let names = names(&report.experiences);
    let share = |count| part(count, report.visitors);
    let moving = || report.experiences.iter().filter(|experience| experience.counts.moved() > 0);
    let whole = moving().map(|experience| share(experience.counts.moved())).fold(0.0, f64::max);
    for experience in moving() {
        let Counts { another, enter, leave, .. } = experience.counts;
        let shares = [(share(another), ANOTHER), (share(enter), ENTER), (share(leave), LEAVE)];
        let bar = bar(BAR, whole, &shares);
        let percent = share(experience.counts.moved()) * 100.0;
        writeln!(out, "{:names$}  {bar:BAR$} {percent:6.2} %", short(&experience.key, NAME))?;
    }
    if whole > 0.0 {
        writeln!(out, "{:names$}  {ANOTHER} another variation  {ENTER} enter  {LEAVE} leave\n", "")?;
    }
    Ok(())
}

fn write_example(out: &mut impl Write, key: &str, example: &Example) -> io::Result<()> {
    let kind = match example.kind {
        Move::Another => "gets another variation of",
        Move::Enter => "enters",
        Move::Leave => "leaves",
    };
    writeln!(out, "{} {kind} {key}", short(&example.visitor, NAME))?;
    for (side, explanation) in [("OLD", &example.old), ("NEW", &example.new)] {
        writeln!(out, "  {side}  {}", short(&told(explanation.as_ref()), LINE + 7))?;
    }
    for (name, values) in [("attributes", &example.attributes), ("location", &example.location)] {
        if let Some(values) = values {
            writeln!(out, "  {name}  {}", short(&values.to_string(), LINE))?;
        }
    }
    writeln!(out)
}

/// What a visitor gets, and why.
fn told(explanation: Option<&Explanation>) -> String {
    let Some(explanation) = explanation else { return "-  not in the config".to_owned() };
    let key = explanation.variation_key.as_deref().filter(|key| !key.is_empty());
    let name = key.or(explanation.variation_id.as_deref()).unwrap_or("-");
    format!("{name}  {}", reason(explanation))
}
