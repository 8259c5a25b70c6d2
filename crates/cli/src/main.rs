//! The `convert-cli` command: evaluates visitors, checks splits, compares configs, and looks after outboxes.

mod args;
mod chart;
mod diff;
mod doctor;
mod error;
mod evaluate;
mod explain;
mod input;
mod offline;
mod outbox;
mod progress;
mod shell;
mod split;
mod visitors;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use error::Failure;

/// The result of a command that ran.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Everything is as it should be.
    Good,
    /// The command ran, and its check failed.
    Bad,
    /// More visitors move than allowed.
    Moved,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        Command::Evaluate(args) => evaluate::run(args),
        Command::Split(args) => split::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Outbox(args) => outbox::run(args),
        Command::Completions { shell } => shell::completions(*shell),
        Command::Manual { command } => shell::manual(command),
    };
    match outcome {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        Ok(Verdict::Moved) => ExitCode::from(3),
        // A closed pipe is no error: the reader, such as `head`, has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // If this fails, there is nobody left to tell.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(2)
        }
    }
}
