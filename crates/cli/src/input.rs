//! Reads config files, plain or gzip-compressed, and JSON, and locates errors in them.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{Failure, Flaw};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 1 << 20;

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// A whole file that must be one JSON document; returns its text verbatim.
pub(crate) fn read_json(path: &Path) -> Result<String, Failure> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|error| Flaw::of(&name, error))?;
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let line = u64::try_from(error.line()).ok().filter(|line| *line > 0);
            Err(Flaw { line, ..Flaw::of(name, reason(&error)) }.into())
        }
    }
}

/// A reader of what is plain or gzip-compressed.
pub(crate) fn unpacked(raw: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let mut reader = BufReader::new(raw);
    if reader.fill_buf()?.starts_with(&GZIP) {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(reader))));
    }
    Ok(Box::new(reader))
}

/// The lines of a file or of standard input, without blank ones.
pub(crate) struct Lines {
    pub(crate) name: String,
    reader: Box<dyn BufRead + Send>,
    number: u64,
}

impl Lines {
    pub(crate) fn new(name: impl Into<String>, reader: Box<dyn BufRead + Send>) -> Self {
        Self { name: name.into(), reader, number: 0 }
    }

    /// The next line, and its number.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, String)>, Failure> {
        loop {
            self.number += 1;
            let refused = |reason: String| Flaw { line: Some(self.number), ..Flaw::of(&self.name, reason) };
            let mut line = String::new();
            let read = (&mut self.reader).take(LONGEST_LINE).read_line(&mut line);
            let length = read.map_err(|error| refused(error.to_string()))?;
            if length as u64 == LONGEST_LINE && !line.ends_with('\n') {
                return Err(refused(format!("longer than {LONGEST_LINE} bytes")).into());
            }
            line.truncate(line.trim_end().len());
            if length == 0 || !line.is_empty() {
                return Ok(Some((self.number, line)).filter(|_| length > 0));
            }
        }
    }
}

/// An option that holds a JSON object; empty if it is not given.
pub(crate) fn object(option: &str, text: Option<&str>) -> Result<Object, Failure> {
    text.map_or_else(|| Ok(Object::new()), |text| parse(text, option, None))
}

/// Parses an option or a line of a file; an error names the field and the problem.
pub(crate) fn parse<'a, T: Deserialize<'a>>(
    text: &'a str,
    file: &str,
    line: Option<u64>,
) -> Result<T, Failure> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let flaw = match serde_path_to_error::deserialize(&mut deserializer) {
        Ok(value) => match deserializer.end() {
            Ok(()) => return Ok(value),
            Err(error) => Flaw::of(file, reason(&error)),
        },
        Err(traced) => {
            // Only errors in the data have a path; for a syntax error it would say how far parsing got.
            let field = if traced.inner().is_data() { traced.path().to_string() } else { String::new() };
            let field = if field == "." { String::new() } else { field };
            Flaw { field, ..Flaw::of(file, reason(traced.inner())) }
        }
    };
    Err(Flaw { line, ..flaw }.into())
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    unpacked(fs::File::open(path)?)?.read_to_string(&mut text)?;
    Ok(text)
}

/// The message without serde's line number: the line in the file is the one that helps.
fn reason(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(reason) => format!("{reason} (column {column})"),
        None => text,
    }
}
