//! The `convert` command: evaluates visitors and checks splits.

mod args;
mod error;
mod evaluate;
mod input;
mod offline;
mod split;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use error::Failure;

/// What a command found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Everything is as it should be.
    Good,
    /// The command ran, and what it looked at is not as it should be.
    Bad,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.command {
        Command::Evaluate(args) => evaluate::run(args),
        Command::Split(args) => split::run(args),
    };
    match outcome {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        // Whoever read the output has seen enough, as `head` does.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell where this fails.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(2)
        }
    }
}
