//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use convert_evaluation::config::BucketOrder;

/// The exit statuses, one a line.
pub(crate) const EXIT_STATUS: &str = "  \
  0  success
  1  a split differs from the configured one, a check of `doctor` failed, or a
     drain drops something or leaves it behind
  2  the input is invalid
  3  more visitors move than `diff --allow` says";

/// Explains, compares and checks the decisions of Convert Experiences configs
///
/// It does so offline. It also looks after the SDK's outboxes, and finds out why a connection fails. Only `outbox drain`
/// and `doctor --send` send events, and only `doctor` fetches.
#[derive(Debug, Parser)]
#[command(name = "convert-cli", version, max_term_width = 80)]
#[command(after_help = format!("Exit status:\n{EXIT_STATUS}"))]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the experiences and features of one visitor, or of many
    Evaluate(EvaluateArgs),
    /// Compare the split of many visitors with the configured one
    Split(SplitArgs),
    /// Count the visitors who get another variation under another config, or under another bucket order
    Diff(DiffArgs),
    /// Find out why this machine gets no config, with the settings of the environment
    Doctor(DoctorArgs),
    /// Look at, deliver or delete the events that processes which are gone have left on disk
    Outbox(OutboxArgs),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or that of a command, for `man -l -`
    Manual {
        /// The command, such as `diff` or `outbox drain`
        command: Vec<String>,
    },
}

/// What is known of a visitor.
#[derive(Debug, ClapArgs)]
pub(crate) struct VisitorArgs {
    /// Only decide experiences of this environment, and those without one
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
    /// The config as served, plain or gzip-compressed
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) shared: VisitorArgs,
    /// The visitor id; without it, lines of {"visitor","attributes","location"} are read from standard input
    #[arg(long, value_name = "ID")]
    pub(crate) visitor: Option<String>,
    /// Only run the experience with this key, and no other before it; may be repeated
    #[arg(long = "experience", value_name = "KEY")]
    pub(crate) experiences: Vec<String>,
    /// Show the checks behind every decision
    #[arg(long)]
    pub(crate) explain: bool,
    /// Show the visitor's values in the checks, not only their types
    #[arg(long, requires = "explain")]
    pub(crate) values: bool,
    /// Print one JSON object per visitor
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SplitArgs {
    /// The config as served, plain or gzip-compressed
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) shared: VisitorArgs,
    /// The key of the experience
    #[arg(long, value_name = "KEY")]
    pub(crate) experience: String,
    /// The number of visitors to decide
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) visitors: u64,
    /// Selects the visitors: they are `visitor-SEED-1` to `visitor-SEED-N`
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DiffArgs {
    /// The config in use, plain or gzip-compressed
    pub(crate) old: PathBuf,
    /// The config that would replace it; may be left out if the bucket orders differ
    #[arg(required_unless_present_any = ["old_order", "new_order"])]
    pub(crate) new: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) shared: VisitorArgs,
    /// Decide these visitors, lines of {"visitor","attributes","location"}; `-` reads standard input. Without it,
    /// visitors are drawn whose attributes meet and miss the configs' own rules
    #[arg(long, value_name = "FILE")]
    pub(crate) visitors: Option<PathBuf>,
    /// The number of visitors to draw
    #[arg(long, value_name = "N", default_value_t = 1_000_000, conflicts_with = "visitors")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) sample: u64,
    /// Selects the drawn visitors: they are `visitor-SEED-1` to `visitor-SEED-N`
    #[arg(long, default_value_t = 0, conflicts_with = "visitors")]
    pub(crate) seed: u64,
    /// The visitors' decisions under OLD are remembered, as with a data store; without it, all visitors are new
    #[arg(long)]
    pub(crate) remembered: bool,
    /// How OLD orders the variations of a packed layout; `config` is the order of the Python and PHP SDKs
    #[arg(long, value_enum, value_name = "ORDER")]
    pub(crate) old_order: Option<Order>,
    /// How NEW orders them
    #[arg(long, value_enum, value_name = "ORDER")]
    pub(crate) new_order: Option<Order>,
    /// Exit with status 3 if more than this many percent of the visitors move
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(crate) allow: Option<f64>,
    /// The number of examples for each experience and kind of move
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=1_000))]
    pub(crate) examples: u16,
    /// Show the visitors' values in the examples, not only their types; those of drawn visitors are always shown
    #[arg(long)]
    pub(crate) values: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The order in which variations of a packed layout take their share of the buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// Numeric ids first, ascending, as the JavaScript SDK and this one do
    #[default]
    Javascript,
    /// As in the config, as the Python and PHP SDKs do
    Config,
}

impl From<Order> for BucketOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Javascript => Self::JavaScript,
            Order::Config => Self::Config,
        }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "not a number from 0 to 100".to_owned())
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DoctorArgs {
    /// Also track one conversion of the goal with this key, by the visitor `convert-cli-doctor`
    #[arg(long, value_name = "GOAL")]
    pub(crate) send: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct OutboxArgs {
    /// Print JSON, as `show` always does: `list` one object a file, `drain` and `erase` one object
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) action: OutboxAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OutboxAction {
    /// List the files, and who has them
    List {
        /// The outbox's directory
        directory: PathBuf,
    },
    /// Print the events left behind, one JSON object a line, with visitor ids
    Show {
        /// The outbox's directory
        directory: PathBuf,
    },
    /// Deliver what was left behind
    Drain(DrainArgs),
    /// Delete what was left behind, undelivered, and what is damaged
    Erase {
        /// The outbox's directory
        directory: PathBuf,
    },
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DrainArgs {
    /// The outbox's directory
    pub(crate) directory: PathBuf,
    /// How many seconds the endpoint may take for all of it
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// The tracking endpoint [default: CONVERT_TRACK_ENDPOINT, or Convert's]
    #[arg(long, value_name = "URL")]
    pub(crate) track_url: Option<String>,
    /// Trust this certificate too, as PEM, beside those of CONVERT_CA_FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) root_certificate: Option<PathBuf>,
}
