//! `evaluate`: visitors' decisions and features, and why.

mod answer;
mod text;

use std::io::{self, BufWriter, Write as _};

use convert_sdk::Core;
use convert_sdk::config::ConfigSnapshot;

use self::answer::{Answer, Asked};
use crate::Verdict;
use crate::args::EvaluateArgs;
use crate::error::{Failure, Flaw};
use crate::input::{self, Lines};
use crate::offline;
use crate::visitors::{STDIN, VisitorFacts, VisitorLine};

/// The number of visitors whose decisions are remembered, so that a repeated visitor keeps them.
const VISITORS: usize = 100_000;

/// Runs the command.
pub(crate) fn run(args: &EvaluateArgs) -> Result<Verdict, Failure> {
    let options = VisitorFacts::of(&args.shared)?;
    let core = offline::core(args, VISITORS)?;
    for key in &args.experiences {
        if core.experience(key).is_err() {
            let reason = format!("the config has no experience with the key `{key}`");
            return Err(Flaw::of("--experience", reason).into());
        }
    }
    let asked = Asked { experiences: args.experiences.clone(), explain: args.explain, values: args.values };
    let mut printer = Printer { out: BufWriter::new(io::stdout()), json: args.json, first: true };
    if let Some(visitor) = &args.visitor {
        printer.print(&core, visitor, options, &asked)?;
    } else {
        let unreadable = |error: io::Error| Flaw::of(STDIN, error);
        let mut lines = Lines::new(STDIN, input::unpacked(io::stdin()).map_err(unreadable)?);
        while let Some((number, line)) = lines.next()? {
            let line: VisitorLine = input::parse(&line, STDIN, Some(number))?;
            let (visitor, facts) = line.over(&options);
            printer.print(&core, &visitor, facts, &asked)?;
        }
    }
    printer.out.flush().map_err(Failure::Output)?;
    Ok(Verdict::Good)
}

struct Printer {
    out: BufWriter<io::Stdout>,
    json: bool,
    first: bool,
}

impl Printer {
    fn print(
        &mut self,
        core: &Core,
        visitor: &str,
        facts: VisitorFacts,
        asked: &Asked,
    ) -> Result<(), Failure> {
        let context = core.create_context(visitor, facts.attributes);
        let context = context.map_err(|error| Failure::Sdk(error.to_string()))?.with_location(facts.location);
        let answer = Answer::of(&context, asked);
        self.write(&answer, context.config()).map_err(Failure::Output)
    }

    fn write(&mut self, answer: &Answer<'_>, config: &ConfigSnapshot) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.out, answer)?;
            return writeln!(self.out);
        }
        if !std::mem::take(&mut self.first) {
            writeln!(self.out)?;
        }
        text::write(&mut self.out, answer, config)
    }
}
