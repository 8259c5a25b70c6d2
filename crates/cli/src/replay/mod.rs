//! `convert replay`: every line of a parity file through the public API, and what differs.

mod features;
mod findings;
mod line;
mod parts;
mod payload;
mod preview;
mod report;
mod request;
mod sequence;
mod store;
mod subject;
mod units;
mod wire;

use std::path::Path;

use self::findings::Findings;
use self::line::{ConfigLine, Head, RequestLine};
use self::report::{Case, Report};
use self::subject::Subjects;
use self::units::Batch;
use crate::Verdict;
use crate::args::ReplayArgs;
use crate::error::{Failure, FieldFlaw, Trouble};
use crate::input::Lines;
use crate::json;
use crate::progress::Progress;

/// Runs the command.
pub(crate) fn run(args: &ReplayArgs) -> Result<Verdict, Failure> {
    let mut report = Report::new(args.json);
    let outcome = args.files.iter().try_for_each(|file| replay_file(file, &mut report));
    // What was found before a failure is still worth reading.
    report.flush().map_err(Failure::Output)?;
    outcome?;
    report.finish().map_err(Failure::Output)
}

fn replay_file(path: &Path, report: &mut Report) -> Result<(), Failure> {
    let progress = Progress::new();
    let mut lines = Lines::open(path, &progress)?;
    let name = lines.name().to_owned();
    let mut replay = Replay { name: &name, progress: &progress, subjects: Subjects::default(), report };
    let mut batch = Batch::default();
    let outcome = loop {
        match lines.next() {
            Ok(None) => break replay.batch(&mut batch),
            Ok(Some((number, text))) => {
                if let Err(failure) = replay.line(number, text, &mut batch) {
                    break Err(failure);
                }
            }
            Err(failure) => break Err(failure),
        }
    };
    progress.clear();
    outcome
}

/// The replay of one input.
struct Replay<'a> {
    name: &'a str,
    progress: &'a Progress,
    subjects: Subjects,
    report: &'a mut Report,
}

impl Replay<'_> {
    fn line(&mut self, number: u64, text: &str, batch: &mut Batch) -> Result<(), Failure> {
        let name = self.name;
        let here = move |flaw: FieldFlaw| flaw.at(name, Some(number));
        let head: Head<'_> = json::parse(text).map_err(here)?;
        match &*head.kind {
            "meta" => Ok(()),
            "config" => {
                let line: ConfigLine<'_> = json::parse(text).map_err(here)?;
                self.subjects.add(&line).map_err(|trouble| trouble.at(name, number))
            }
            "request" => {
                let line: RequestLine<'_> = json::parse(text).map_err(here)?;
                let mut findings = Findings::default();
                let outcome = self.request(&line, &mut findings);
                outcome.map_err(|trouble| trouble.at(name, number))?;
                let case =
                    Case { file: name, line: number, id: &line.id, config_ref: Some(&line.config_ref) };
                self.record(&case, findings)
            }
            kind => {
                let unit = units::Unit::read(kind, text).map_err(here)?;
                let id = head.id.map_or_else(|| format!("line {number}"), |id| id.into_owned());
                if batch.is_full() {
                    self.batch(batch)?;
                }
                batch.push(number, id, unit);
                Ok(())
            }
        }
    }

    fn request(&mut self, line: &RequestLine<'_>, findings: &mut Findings) -> Result<(), Trouble> {
        let subject = self.subjects.get(&line.config_ref)?;
        request::replay(subject, line, findings)
    }

    /// Answers the unit lines that wait.
    fn batch(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let answers = batch.answer();
        for (number, id, findings) in answers.map_err(|(number, flaw)| flaw.at(self.name, Some(number)))? {
            let case = Case { file: self.name, line: number, id: &id, config_ref: None };
            self.record(&case, findings)?;
        }
        Ok(())
    }

    fn record(&mut self, case: &Case<'_>, findings: Findings) -> Result<(), Failure> {
        if findings.is_clean() {
            return self.report.record(case, findings).map_err(Failure::Output);
        }
        self.progress.aside(|| self.report.record(case, findings)).map_err(Failure::Output)
    }
}
