//! `split`: the split of many visitors, beside the configured one.

mod configured;
mod text;
mod verdict;

use std::io::{self, Write as _};

use convert_evaluation::config::{BucketOrder, ConfigSnapshot, SnapshotExt as _};
use convert_evaluation::decide::{Facts, NoDecisions, decide_experience, explain_experience};
use serde::Serialize;

use self::configured::Configured;
use self::verdict::ChiSquare;
use crate::args::SplitArgs;
use crate::error::{Failure, Flaw};
use crate::visitors::{Numbered, Visitor, VisitorFacts, tally};
use crate::{Verdict, offline};

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

/// The share of one variation; `None` is no variation.
#[derive(Serialize)]
struct Share {
    variation_id: Option<String>,
    variation_key: Option<String>,
    /// Its share of the bucket values.
    configured: f64,
    observed: u64,
}

/// Runs the command.
pub(crate) fn run(args: &SplitArgs) -> Result<Verdict, Failure> {
    let facts = VisitorFacts::of(&args.shared)?;
    let config = offline::snapshot(&args.config, BucketOrder::default())?;
    let subject = Subject::new(args, &config)?;
    let mut split = subject.configured(args, &facts)?;
    subject.count(args, facts, &mut split)?;
    split.verdict = ChiSquare::of(split.shares.iter().map(|share| (share.configured, share.observed)));
    let mut out = io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer(&mut out, &split).map_err(io::Error::from).and_then(|()| writeln!(out))
    } else {
        text::write(&mut out, &split)
    };
    written.and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(if split.verdict.is_none_or(|verdict| verdict.consistent) { Verdict::Good } else { Verdict::Bad })
}

fn refused(reason: String) -> Failure {
    Flaw::of("--experience", reason).into()
}

/// The experience whose visitors are counted.
struct Subject<'a> {
    config: &'a ConfigSnapshot,
    environment: Option<&'a str>,
    position: usize,
}

impl<'a> Subject<'a> {
    fn new(args: &'a SplitArgs, config: &'a ConfigSnapshot) -> Result<Self, Failure> {
        let position = config.experience_index(&args.experience);
        let position = position.ok_or_else(|| {
            refused(format!("the config has no experience with the key `{}`", args.experience))
        })?;
        Ok(Self { config, environment: args.shared.environment.as_deref(), position })
    }

    fn facts<'b>(&'b self, visitor: &'b str, facts: &'b VisitorFacts) -> Facts<'b, NoDecisions> {
        let VisitorFacts { attributes, location } = facts;
        Facts { location, environment: self.environment, ..Facts::new(visitor, attributes) }
    }

    fn variation(&self, at: usize) -> (String, String) {
        let variation = &self.config.experiences()[self.position].variations[at];
        (variation.id.to_string(), variation.key.to_string())
    }

    /// The layout as explained for one visitor, with no observations yet.
    fn configured(&self, args: &SplitArgs, facts: &VisitorFacts) -> Result<Split, Failure> {
        let visitor = format!("visitor-{}-1", args.seed);
        let (_, explanation) = explain_experience(self.config, self.position, &self.facts(&visitor, facts));
        // All visitors have the same attributes, so either all pass the checks or none does.
        let Some(Configured { layout, mut shares }) = Configured::of(&explanation.steps) else {
            return Err(refused(format!(
                "no visitor gets as far as bucketing: {}; see `convert-cli evaluate --explain`",
                explanation.why
            )));
        };
        let count = self.config.experiences()[self.position].variations.len();
        for (id, key) in (0..count).map(|at| self.variation(at)) {
            for share in shares.iter_mut().filter(|share| share.variation_id.as_ref() == Some(&id)) {
                share.variation_key.get_or_insert_with(|| key.clone());
            }
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

    fn count(&self, args: &SplitArgs, facts: VisitorFacts, split: &mut Split) -> Result<(), Failure> {
        let visitors = Numbered::alike(&args.experience, args.visitors, args.seed, facts);
        // One place for each variation, and the last for none.
        let none = self.config.experiences()[self.position].variations.len();
        let decide = |counts: &mut Vec<u64>, visitor: &Visitor<'_>| {
            let decided =
                decide_experience(self.config, self.position, &self.facts(visitor.id, visitor.facts));
            counts[decided.map_or(none, |decision| decision.variation)] += 1;
        };
        for counts in tally(&visitors, || vec![0; none + 1], decide)? {
            for (at, observed) in counts.into_iter().enumerate().filter(|(_, observed)| *observed > 0) {
                let (id, key) = if at < none { Some(self.variation(at)).unzip() } else { (None, None) };
                match split.shares.iter_mut().find(|share| share.variation_id == id) {
                    Some(share) => share.observed += observed,
                    None => split.shares.push(Share {
                        variation_id: id,
                        variation_key: key,
                        configured: 0.0,
                        observed,
                    }),
                }
            }
        }
        Ok(())
    }
}
