//! `convert split`: the split that visitors get, beside the configured one.

mod chart;
mod configured;
mod verdict;

use std::io::{self, IsTerminal as _, Write as _};

use convert_sdk::{Attributes, Context, Core, RunOptions};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use self::configured::Configured;
use self::verdict::ChiSquare;
use crate::args::SplitArgs;
use crate::error::{Failure, Flaw};
use crate::{Verdict, input, offline};

/// Visitors between two movements of the bar.
const STRIDE: u64 = 1_024;
/// Nothing is stored, so that there is nothing to remember of visitors but their report keys.
const REMEMBERED: usize = 16;

/// The split of one experience.
#[derive(Serialize)]
struct Split {
    experience: String,
    visitors: u64,
    seed: u64,
    layout: &'static str,
    shares: Vec<Share>,
    #[serde(flatten)]
    verdict: Option<ChiSquare>,
}

/// What one variation gets; `None` is no variation.
#[derive(Serialize)]
struct Share {
    variation_id: Option<String>,
    variation_key: Option<String>,
    /// The part of the bucket values that it owns.
    configured: f64,
    observed: u64,
}

/// Runs the command.
pub(crate) fn run(args: &SplitArgs) -> Result<Verdict, Failure> {
    let attributes = input::object("--attributes", args.shared.attributes.as_deref())?.into();
    let location: Attributes = input::object("--location", args.shared.location.as_deref())?.into();
    let core = offline::core(&args.shared, REMEMBERED)?;
    let first = context(&core, args, 1, &attributes)?.with_location(location.clone());
    let mut split = configured_split(args, &first)?;
    count(args, &core, &attributes, &location, &mut split)?;
    split.verdict = ChiSquare::of(split.shares.iter().map(|share| (share.configured, share.observed)));
    let mut out = io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer(&mut out, &split).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        chart::write(&mut out, &split)
    };
    written.and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(if split.verdict.is_none_or(|verdict| verdict.consistent) { Verdict::Good } else { Verdict::Bad })
}

/// What the first visitor's explanation says of the layout, with nothing observed yet.
fn configured_split(args: &SplitArgs, first: &Context) -> Result<Split, Failure> {
    let refuse = |reason: String| Failure::from(Flaw::of("--experience", reason));
    let explanation = first.diagnose_experience(&args.experience).explanation;
    let explanation = explanation
        .ok_or_else(|| refuse(format!("the config has no experience with the key `{}`", args.experience)))?;
    // All visitors have the same attributes, so that all of them pass the checks, or none.
    let Some(Configured { layout, mut shares }) = Configured::of(&explanation.steps) else {
        return Err(refuse(format!(
            "no visitor gets as far as bucketing ({}); see `convert evaluate --explain`",
            explanation.outcome.replace('_', " ")
        )));
    };
    let served = first.get_config_entity(convert_sdk::config::EntityKind::Experience, &args.experience);
    for share in &mut shares {
        let variations = served.as_ref().and_then(|served| served["variations"].as_array());
        let named =
            variations.into_iter().flatten().find(|it| it["id"].as_str() == share.variation_id.as_deref());
        share.variation_key = named.and_then(|named| named["key"].as_str()).map(str::to_owned);
    }
    Ok(Split {
        experience: args.experience.clone(),
        visitors: args.visitors,
        seed: args.seed,
        layout,
        shares,
        verdict: None,
    })
}

fn count(
    args: &SplitArgs,
    core: &Core,
    attributes: &Attributes,
    location: &Attributes,
    split: &mut Split,
) -> Result<(), Failure> {
    let progress = progress(&args.experience, args.visitors);
    let options = RunOptions::new().enable_storage(false).location(location.clone());
    for number in 1..=args.visitors {
        let context = context(core, args, number, attributes)?;
        let result = context.run_experience_with(&args.experience, &options).ok();
        let id = result.map(|result| result.variation_id());
        match split.shares.iter_mut().find(|share| share.variation_id.as_deref() == id) {
            Some(share) => share.observed += 1,
            None => split.shares.push(Share {
                variation_id: id.map(str::to_owned),
                variation_key: result.map(|result| result.variation_key().to_owned()),
                configured: 0.0,
                observed: 1,
            }),
        }
        if number % STRIDE == 0 {
            progress.inc(STRIDE);
        }
    }
    progress.finish_and_clear();
    Ok(())
}

/// A bar on standard error, where that is a terminal.
fn progress(name: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::hidden();
    if io::stderr().is_terminal() {
        bar.set_length(length);
        bar.set_message(name.to_owned());
        // The template is a constant; without its style a bar still counts.
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}") {
            bar.set_style(style);
        }
        bar.set_draw_target(ProgressDrawTarget::stderr());
    }
    bar
}

fn context(core: &Core, args: &SplitArgs, number: u64, attributes: &Attributes) -> Result<Context, Failure> {
    let visitor = format!("visitor-{}-{number}", args.seed);
    core.create_context(visitor, attributes.clone()).map_err(|error| Failure::Sdk(error.to_string()))
}
