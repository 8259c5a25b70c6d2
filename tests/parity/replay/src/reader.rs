//! Reads a parity file into chunks that can be answered independently.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::error::{Failure, FieldFlaw};
use crate::input::Lines;
use crate::json;
use crate::line::{ConfigLine, Head};

/// Lines per chunk.
const CHUNK: usize = 128;
/// Configs that a request can refer to. Requests follow their config, so a few suffice, and a long stream of configs
/// does not fill the memory.
const KEPT: usize = 32;

/// Lines to answer.
pub(crate) type Chunk = Vec<Line>;

/// One line to answer.
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) text: String,
    pub(crate) task: Task,
}

/// The kind of a line.
pub(crate) enum Task {
    /// A request, and the config that it refers to.
    Request(Arc<ConfigText>),
    /// A script, and the config that it refers to.
    Script(Arc<ConfigText>),
    /// A unit line of this kind and id.
    Unit { kind: String, id: String },
}

/// A config line, verbatim.
pub(crate) struct ConfigText {
    pub(crate) number: u64,
    pub(crate) text: String,
}

/// Reads one input.
pub(crate) struct Reader {
    lines: Lines,
    /// The latest configs by id.
    configs: VecDeque<(String, Arc<ConfigText>)>,
}

impl Reader {
    pub(crate) fn new(lines: Lines) -> Self {
        Self { lines, configs: VecDeque::new() }
    }

    /// Sends the numbered chunks, until the end, a failure, or the receiver is gone. An input without a line to answer
    /// is a failure.
    pub(crate) fn read_into(mut self, chunks: &SyncSender<(u64, Chunk)>) -> Result<(), Failure> {
        for number in 0.. {
            // What precedes an unreadable line is still answered.
            let (chunk, outcome) = self.chunk();
            let ended = chunk.len() < CHUNK;
            // A file that lost its lines would otherwise pass.
            let is_empty = number == 0 && chunk.is_empty();
            if chunks.send((number, chunk)).is_err() {
                return Ok(());
            }
            outcome?;
            if is_empty {
                return Err(Failure::Input(format!("{}: there is nothing to replay", self.lines.name())));
            }
            if ended {
                break;
            }
        }
        Ok(())
    }

    fn chunk(&mut self) -> (Chunk, Result<(), Failure>) {
        let mut chunk = Chunk::with_capacity(CHUNK);
        let name = self.lines.name().to_owned();
        while chunk.len() < CHUNK {
            let (number, text) = match self.lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(failure) => return (chunk, Err(failure)),
            };
            match take(&mut self.configs, number, text) {
                Ok(line) => chunk.extend(line),
                Err(flaw) => return (chunk, Err(flaw.at(&name, number))),
            }
        }
        (chunk, Ok(()))
    }
}

/// The line, if there is something to answer.
fn take(
    configs: &mut VecDeque<(String, Arc<ConfigText>)>,
    number: u64,
    text: &str,
) -> Result<Option<Line>, FieldFlaw> {
    let head: Head<'_> = json::parse(text)?;
    let task = match &*head.kind {
        "meta" => return Ok(None),
        "config" => {
            let line: ConfigLine<'_> = json::parse(text)?;
            configs.retain(|(id, _)| *id != line.id);
            if configs.len() == KEPT {
                configs.pop_front();
            }
            let config = Arc::new(ConfigText { number, text: text.to_owned() });
            configs.push_back((line.id.into_owned(), config));
            return Ok(None);
        }
        kind @ ("request" | "script") => {
            let wanted = head.config_ref.ok_or_else(|| FieldFlaw::new("config_ref", "is missing"))?;
            // Most requests refer to the latest config.
            let found = configs.iter().rev().find(|(id, _)| *id == wanted);
            let (_, config) = found.ok_or_else(|| {
                FieldFlaw::new("config_ref", format!("is none of the {KEPT} preceding configs"))
            })?;
            match kind {
                "request" => Task::Request(Arc::clone(config)),
                _ => Task::Script(Arc::clone(config)),
            }
        }
        kind => Task::Unit {
            kind: kind.to_owned(),
            id: head.id.map_or_else(|| format!("line {number}"), std::borrow::Cow::into_owned),
        },
    };
    Ok(Some(Line { number, text: text.to_owned(), task }))
}
