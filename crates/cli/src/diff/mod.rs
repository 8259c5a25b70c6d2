//! `diff`: what another config or bucket order would change, and for whom.

mod changes;
mod compare;
mod side;
mod text;

use std::io::{self, Write as _};
use std::path::Path;

use convert_evaluation::config::{BucketOrder, ConfigSnapshot};

use self::compare::Comparison;
use self::side::Side;
use crate::Verdict;
use crate::args::DiffArgs;
use crate::error::{Failure, Flaw};
use crate::visitors::{Listed, Numbered, Population, Rules, VisitorFacts};

/// Runs the command.
pub(crate) fn run(args: &DiffArgs) -> Result<Verdict, Failure> {
    let facts = VisitorFacts::of(&args.shared)?;
    let environment = args.shared.environment.as_deref();
    let (old_order, new_order) = (args.old_order.unwrap_or_default(), args.new_order.unwrap_or_default());
    let new_path = args.new.as_deref().unwrap_or(&args.old);
    if args.new.is_none() && old_order == new_order {
        return Err(Flaw::of("NEW", "is needed, because the bucket orders are the same").into());
    }
    let old = Side::read(&args.old, old_order.into(), environment)?;
    let new = Side::read(new_path, new_order.into(), environment)?;
    let project = |config: &ConfigSnapshot| [config.account_id(), config.project_id()].map(str::to_owned);
    if project(&old.config) != project(&new.config) {
        let reason = "belongs to another account or project; a running SDK would refuse it";
        return Err(Flaw::of(new_path.display().to_string(), reason).into());
    }
    let population: Box<dyn Population> = match &args.visitors {
        Some(path) => {
            if let Some(count) = path.to_str().filter(|name| name.parse::<u64>().is_ok() && !path.exists()) {
                let reason = format!("names a file; `--sample {count}` draws that many visitors");
                return Err(Flaw::of("--visitors", reason).into());
            }
            Box::new(Listed::open(path, facts)?)
        }
        None => {
            let mut rules = Rules::default();
            rules.add(&old.served);
            rules.add(&new.served);
            Box::new(Numbered::drawn(args.sample, args.seed, facts, rules))
        }
    };
    let comparison = Comparison {
        old: &old,
        new: &new,
        remembered: args.remembered,
        examples: usize::from(args.examples),
        shows_values: args.values || args.visitors.is_none(),
    };
    let report = comparison.of(&*population)?;
    if report.visitors == 0 {
        let name = args.visitors.as_deref().unwrap_or(Path::new("visitors")).display().to_string();
        return Err(Flaw::of(name, "has no visitors").into());
    }
    let mut out = io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer(&mut out, &report).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        text::write(&mut out, &heading(args), &report, args)
    };
    written.and_then(|()| out.flush()).map_err(Failure::Output)?;
    let is_allowed = args.allow.is_none_or(|allowed| report.moved_percent <= allowed);
    Ok(if is_allowed { Verdict::Good } else { Verdict::Moved })
}

/// What is compared, and with whom.
fn heading(args: &DiffArgs) -> String {
    let side = |path: &Path, order: BucketOrder| {
        let order = if order == BucketOrder::Config { " in config order" } else { "" };
        format!("{}{order}", path.display())
    };
    let old = side(&args.old, args.old_order.unwrap_or_default().into());
    let new = side(args.new.as_deref().unwrap_or(&args.old), args.new_order.unwrap_or_default().into());
    let visitors = match &args.visitors {
        Some(path) => format!("visitors of {}", path.display()),
        None => format!("visitors drawn from the rules, seed {}", args.seed),
    };
    let remembered = if args.remembered { ", who are remembered" } else { "" };
    format!("{old} \u{2192} {new}\n{visitors}{remembered}")
}
