//! Answers chunks of lines; each worker has its own SDK instances.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Failure;
use crate::findings::Findings;
use crate::json;
use crate::line::{ConfigLine, RequestLine, ScriptLine};
use crate::reader::{Chunk, ConfigText, Line, Task};
use crate::request;
use crate::script;
use crate::subject::Subject;
use crate::surface::Surface;
use crate::units::{Batch, Unit};

/// SDK instances that a worker keeps; each has its own threads.
const KEPT: usize = 4;

/// The answers to a chunk, up to the first line without one.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) lines: Vec<(u64, Name, Findings)>,
    pub(crate) failure: Option<Failure>,
}

/// The name of a line.
pub(crate) struct Name {
    pub(crate) id: String,
    pub(crate) config_ref: Option<String>,
}

/// Answers one chunk after the other.
pub(crate) struct Worker<'a> {
    file: &'a str,
    surface: Surface,
    /// The latest configs used, the newest last.
    subjects: VecDeque<(Arc<ConfigText>, Subject)>,
}

impl<'a> Worker<'a> {
    pub(crate) const fn new(file: &'a str, surface: Surface) -> Self {
        Self { file, surface, subjects: VecDeque::new() }
    }

    /// Asks the SDK the lines' questions.
    pub(crate) fn answer(&mut self, chunk: Chunk) -> Answers {
        let (mut answers, mut batch) = (Answers::default(), Batch::default());
        for line in chunk {
            if let Err(failure) = self.line(line, &mut answers, &mut batch) {
                answers.failure = Some(failure);
                break;
            }
        }
        match batch.answer(self.surface) {
            Ok(units) => answers.lines.extend(
                units
                    .into_iter()
                    .map(|(number, id, findings)| (number, Name { id, config_ref: None }, findings)),
            ),
            Err((number, flaw)) => answers.failure = Some(flaw.at(self.file, number)),
        }
        answers.lines.sort_by_key(|(number, ..)| *number);
        answers
    }

    fn line(&mut self, line: Line, answers: &mut Answers, batch: &mut Batch) -> Result<(), Failure> {
        let Line { number, text, task } = line;
        let file = self.file;
        match task {
            Task::Request(config) => {
                let line: RequestLine<'_> = json::parse(&text).map_err(|flaw| flaw.at(file, number))?;
                let mut findings = Findings::default();
                let outcome = request::replay(self.subject(&config)?, &line, &mut findings);
                outcome.map_err(|trouble| trouble.at(file, number))?;
                let config_ref = Some(line.config_ref.into_owned());
                answers.lines.push((number, Name { id: line.id.into_owned(), config_ref }, findings));
            }
            Task::Script(config) => {
                let line: ScriptLine<'_> = json::parse(&text).map_err(|flaw| flaw.at(file, number))?;
                let mut findings = Findings::default();
                let outcome = script::replay(self.subject(&config)?, &line, &mut findings);
                outcome.map_err(|trouble| trouble.at(file, number))?;
                let config_ref = Some(line.config_ref.into_owned());
                answers.lines.push((number, Name { id: line.id.into_owned(), config_ref }, findings));
            }
            Task::Unit { kind, id } => {
                let unit = Unit::read(&kind, &text).map_err(|flaw| flaw.at(file, number))?;
                batch.push(number, id, unit);
            }
        }
        Ok(())
    }

    /// The SDK instance of a config, created on first use.
    fn subject(&mut self, config: &Arc<ConfigText>) -> Result<&mut Subject, Failure> {
        let known = self.subjects.iter().position(|(known, _)| Arc::ptr_eq(known, config));
        let at = match known {
            Some(at) => at,
            None => {
                let line: ConfigLine<'_> =
                    json::parse(&config.text).map_err(|flaw| flaw.at(self.file, config.number))?;
                let subject = Subject::new(&line, self.surface)
                    .map_err(|trouble| trouble.at(self.file, config.number))?;
                if self.subjects.len() == KEPT {
                    self.subjects.pop_front();
                }
                self.subjects.push_back((Arc::clone(config), subject));
                self.subjects.len() - 1
            }
        };
        Ok(&mut self.subjects[at].1)
    }
}
