//! `convert evaluate`: the decisions and features of visitors, and why.

mod answer;
mod steps;
mod text;

use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use convert_sdk::{Attributes, Core};
use serde::Deserialize;

use self::answer::Answer;
use crate::Verdict;
use crate::args::EvaluateArgs;
use crate::error::{Failure, Flaw};
use crate::input::{self, Object};
use crate::offline;

/// Visitors whose decisions are remembered, so that one who appears again keeps them.
const VISITORS: usize = 100_000;

/// Where visitors come from, as messages name it.
const STDIN: &str = "standard input";

/// One visitor of the standard input.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Visitor {
    visitor: String,
    #[serde(default)]
    attributes: Option<Object>,
    #[serde(default)]
    location: Option<Object>,
}

/// Runs the command.
pub(crate) fn run(args: &EvaluateArgs) -> Result<Verdict, Failure> {
    let attributes = input::object("--attributes", args.shared.attributes.as_deref())?;
    let location = input::object("--location", args.shared.location.as_deref())?;
    let core = offline::core(&args.shared, VISITORS)?;
    let mut printer = Printer::new(args);
    if let Some(visitor) = &args.visitor {
        printer.print(&core, visitor, attributes.into(), location.into())?;
    } else {
        for (number, line) in (1..).zip(io::stdin().lines()) {
            let line = line.map_err(|error| Flaw { line: Some(number), ..Flaw::of(STDIN, error) })?;
            if line.trim().is_empty() {
                continue;
            }
            let line: Visitor = input::parse(&line, STDIN, Some(number))?;
            // What the options give is meant for every visitor, unless the line has its own.
            let attributes = line.attributes.unwrap_or_else(|| attributes.clone());
            let location = line.location.unwrap_or_else(|| location.clone());
            printer.print(&core, &line.visitor, attributes.into(), location.into())?;
        }
    }
    printer.out.flush().map_err(Failure::Output)?;
    Ok(Verdict::Good)
}

struct Printer {
    out: BufWriter<io::Stdout>,
    text: bool,
    explain: bool,
    first: bool,
}

impl Printer {
    fn new(args: &EvaluateArgs) -> Self {
        let stdout = io::stdout();
        let text = args.text || (!args.json && stdout.is_terminal());
        Self { out: BufWriter::new(stdout), text, explain: args.explain, first: true }
    }

    fn print(
        &mut self,
        core: &Core,
        visitor: &str,
        attributes: Attributes,
        location: Attributes,
    ) -> Result<(), Failure> {
        let context = core.create_context(visitor, attributes);
        let context = context.map_err(|error| Failure::Sdk(error.to_string()))?.with_location(location);
        let answer = Answer::of(&context, self.explain);
        self.write(&answer).map_err(Failure::Output)
    }

    fn write(&mut self, answer: &Answer<'_>) -> io::Result<()> {
        if self.text {
            if !std::mem::take(&mut self.first) {
                writeln!(self.out)?;
            }
            return text::write(&mut self.out, answer);
        }
        serde_json::to_writer(&mut self.out, answer)?;
        writeln!(self.out)
    }
}
