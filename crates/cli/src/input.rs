//! Config files, plain or gzip, and JSON whose flaws name their place.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{Failure, Flaw};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// A whole file that must be one JSON document; its text, as written.
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

/// An option that holds a JSON object; nothing where it is not given.
pub(crate) fn object(option: &str, text: Option<&str>) -> Result<Object, Failure> {
    text.map_or_else(|| Ok(Object::new()), |text| parse(text, option, None))
}

/// Parses an option or a line of a file; a failure names the field and what is wrong with it.
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
            // Only a flaw of the data has a path; one of the syntax would name how far parsing got.
            let field = if traced.inner().is_data() { traced.path().to_string() } else { String::new() };
            let field = if field == "." { String::new() } else { field };
            Flaw { field, ..Flaw::of(file, reason(traced.inner())) }
        }
    };
    Err(Flaw { line, ..flaw }.into())
}

fn read_text(path: &Path) -> io::Result<String> {
    let bytes = fs::read(path)?;
    if bytes.starts_with(&GZIP) {
        let mut text = String::new();
        MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text)?;
        return Ok(text);
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// What is wrong with a text, without the number of its line: that of the file is the one that helps.
fn reason(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(reason) => format!("{reason} (column {column})"),
        None => text,
    }
}
