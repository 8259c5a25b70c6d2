//! Files and standard input, plain or gzip, as text or as lines that know their number.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde_json::value::RawValue;

use crate::error::{Failure, Flaw};
use crate::json::{self, Object};
use crate::progress::Progress;

const BUFFER: usize = 1 << 16;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The lines of one input.
pub(crate) struct Lines {
    name: String,
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Opens a file, or standard input for `-`.
    pub(crate) fn open(path: &Path, progress: &Progress) -> Result<Self, Failure> {
        let (name, reader) = open(path, progress)?;
        Ok(Self { name, reader, buffer: Vec::new(), number: 0 })
    }

    /// The input, as messages name it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next line that is not blank, and its number.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &str)>, Failure> {
        loop {
            self.buffer.clear();
            self.number += 1;
            let read = self.reader.read_until(b'\n', &mut self.buffer);
            if read.map_err(|error| flaw(&self.name, Some(self.number), &error))? == 0 {
                return Ok(None);
            }
            // Without its end, so that a line that ends early ends where a reader sees it.
            self.buffer.truncate(self.buffer.trim_ascii_end().len());
            if !self.buffer.is_empty() {
                break;
            }
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(line) => Ok(Some((self.number, line))),
            Err(error) => Err(flaw(&self.name, Some(self.number), &error)),
        }
    }
}

/// A whole file that must be one JSON document; its text, as written.
pub(crate) fn read_json(path: &Path) -> Result<String, Failure> {
    let (name, mut reader) = open(path, &Progress::hidden())?;
    let mut text = String::new();
    reader.read_to_string(&mut text).map_err(|error| flaw(&name, None, &error))?;
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let line = u64::try_from(error.line()).ok().filter(|line| *line > 0);
            Err(flaw(&name, line, &json::reason(&error)))
        }
    }
}

/// An option that holds a JSON object; nothing where it is not given.
pub(crate) fn object(option: &str, text: Option<&str>) -> Result<Object, Failure> {
    let Some(text) = text else { return Ok(Object::new()) };
    json::parse(text).map_err(|flaw| flaw.at(option, None))
}

fn open(path: &Path, progress: &Progress) -> Result<(String, Box<dyn BufRead + Send>), Failure> {
    let stdin = path.as_os_str() == "-";
    let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
    let raw: Box<dyn Read + Send> = if stdin {
        Box::new(io::stdin())
    } else {
        let file = File::open(path).map_err(|error| flaw(&name, None, &error))?;
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        progress.of_bytes(&name, length);
        Box::new(progress.watch(file))
    };
    let mut reader = BufReader::with_capacity(BUFFER, raw);
    let start = reader.fill_buf().map_err(|error| flaw(&name, None, &error))?;
    if start.starts_with(&GZIP) {
        let decoder = MultiGzDecoder::new(reader);
        return Ok((name, Box::new(BufReader::with_capacity(BUFFER, decoder))));
    }
    Ok((name, Box::new(reader)))
}

fn flaw(file: &str, line: Option<u64>, reason: &dyn std::fmt::Display) -> Failure {
    Flaw { file: file.to_owned(), line, field: String::new(), reason: reason.to_string() }.into()
}
