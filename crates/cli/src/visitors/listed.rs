//! Visitors from a file or standard input.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use super::{CHUNK, Population, Visitor, VisitorFacts, VisitorLine};
use crate::error::{Failure, Flaw};
use crate::input::{self, Lines};
use crate::progress::progress;

/// The name of standard input in messages.
pub(crate) const STDIN: &str = "standard input";

/// Lines of JSON, one visitor each.
pub(crate) struct Listed {
    name: String,
    options: VisitorFacts,
    rest: Mutex<Rest>,
    bar: ProgressBar,
}

/// What no thread has taken.
struct Rest {
    lines: Lines,
    /// What comes after the last line.
    failure: Option<Failure>,
}

impl Listed {
    /// Opens the file, plain or gzip-compressed; `-` is standard input. The options apply to every visitor, unless
    /// its line overrides them.
    pub(crate) fn open(path: &Path, options: VisitorFacts) -> Result<Self, Failure> {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { STDIN.to_owned() } else { path.display().to_string() };
        let opened = || {
            if is_stdin {
                return Ok((input::unpacked(io::stdin())?, ProgressBar::hidden()));
            }
            let file = File::open(path)?;
            let bar = progress(&name, file.metadata()?.len());
            Ok((input::unpacked(bar.wrap_read(file))?, bar))
        };
        let (reader, bar) = opened().map_err(|error: io::Error| Flaw::of(&name, error))?;
        let rest = Rest { lines: Lines::new(&name, reader), failure: None };
        Ok(Self { options, rest: Mutex::new(rest), bar, name })
    }

    /// The next lines, up to one that cannot be read.
    fn take(&self) -> Result<Vec<(u64, String)>, Failure> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = rest.failure.take() {
            return Err(failure);
        }
        let mut taken = Vec::new();
        for _ in 0..CHUNK {
            match rest.lines.next() {
                Ok(Some(line)) => taken.push(line),
                Ok(None) => break,
                Err(failure) if taken.is_empty() => return Err(failure),
                Err(failure) => {
                    rest.failure = Some(failure);
                    break;
                }
            }
        }
        Ok(taken)
    }
}

impl Population for Listed {
    fn next_chunk(&self, each: &mut dyn FnMut(&Visitor<'_>)) -> Result<bool, Failure> {
        let lines = self.take()?;
        for (number, line) in &lines {
            let number = *number;
            let line: VisitorLine = input::parse(line, &self.name, Some(number))?;
            let (id, facts) = line.over(&self.options);
            each(&Visitor { number, id: &id, facts: &facts });
        }
        if lines.is_empty() {
            self.bar.finish_and_clear();
        }
        Ok(!lines.is_empty())
    }
}
