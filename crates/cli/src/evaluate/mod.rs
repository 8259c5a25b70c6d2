//! `convert evaluate`: the decisions and features of visitors, and why.

mod answer;
mod steps;
mod text;

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::Path;

use convert_sdk::{Attributes, Core};
use serde::Deserialize;

use self::answer::Answer;
use crate::Verdict;
use crate::args::EvaluateArgs;
use crate::error::Failure;
use crate::input::{self, Lines};
use crate::json::{self, Object};
use crate::offline;
use crate::progress::Progress;

/// Visitors whose decisions are remembered, so that one who appears again keeps them.
const VISITORS: usize = 100_000;

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
    let core = offline::core_of_file(&args.shared, VISITORS)?;
    let mut printer = Printer::new(args);
    if let Some(visitor) = &args.visitor {
        printer.print(&core, visitor, attributes.into(), location.into())?;
    } else {
        let mut lines = Lines::open(Path::new("-"), &Progress::hidden())?;
        let name = lines.name().to_owned();
        while let Some((number, line)) = lines.next()? {
            let line: Visitor = json::parse(line).map_err(|flaw| flaw.at(&name, Some(number)))?;
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
