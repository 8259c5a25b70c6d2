//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// Works with a Convert Experiences config offline: nothing is ever fetched or sent.
///
/// Exit status: 0 if all is well, 1 if a split is not the configured one, 2 if the input cannot be used.
#[derive(Debug, Parser)]
#[command(name = "convert", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the experiences and features of one visitor, or of many
    Evaluate(EvaluateArgs),
    /// Compare the split that visitors get with the configured one
    Split(SplitArgs),
}

/// What the visitors of `evaluate` and `split` have in common.
#[derive(Debug, ClapArgs)]
pub(crate) struct VisitorArgs {
    /// The config, as served, plain or gzip
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Decide experiences of this environment alone, besides those without one
    #[arg(long, value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// The visitor's attributes, as a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) attributes: Option<String>,
    /// The location attributes, as a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) location: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EvaluateArgs {
    #[command(flatten)]
    pub(crate) shared: VisitorArgs,
    /// The visitor; without one, lines of {"visitor","attributes","location"} are read from standard input
    #[arg(long, value_name = "ID")]
    pub(crate) visitor: Option<String>,
    /// Show the checks behind every decision
    #[arg(long)]
    pub(crate) explain: bool,
    /// Print one JSON object for each visitor, also on a terminal
    #[arg(long, conflicts_with = "text")]
    pub(crate) json: bool,
    /// Print text for people, also where the output is not a terminal
    #[arg(long)]
    pub(crate) text: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SplitArgs {
    #[command(flatten)]
    pub(crate) shared: VisitorArgs,
    /// The key of the experience
    #[arg(long, value_name = "KEY")]
    pub(crate) experience: String,
    /// How many visitors to decide
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) visitors: u64,
    /// Names other visitors: they are `visitor-SEED-1` to `visitor-SEED-N`
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
