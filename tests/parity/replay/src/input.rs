//! Files and standard input, plain or gzip-compressed, as numbered lines.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::Failure;

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
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let stdin = path.as_os_str() == "-";
        let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
        let reader = if stdin { unpacked(io::stdin()) } else { File::open(path).and_then(unpacked) };
        let reader = reader.map_err(|error| unreadable(&name, &error))?;
        Ok(Self { name, reader, buffer: Vec::new(), number: 0 })
    }

    /// The name of the input in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next non-blank line, and its number.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &str)>, Failure> {
        loop {
            self.buffer.clear();
            self.number += 1;
            let read = self.reader.read_until(b'\n', &mut self.buffer);
            if read.map_err(|error| unreadable(&self.place(), &error))? == 0 {
                return Ok(None);
            }
            // Without its line ending, so that an error at the end of a line has the column a reader sees.
            self.buffer.truncate(self.buffer.trim_ascii_end().len());
            if !self.buffer.is_empty() {
                break;
            }
        }
        match std::str::from_utf8(&self.buffer) {
            Ok(line) => Ok(Some((self.number, line))),
            Err(error) => Err(unreadable(&self.place(), &error)),
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.name, self.number)
    }
}

fn unpacked(raw: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let mut reader = BufReader::with_capacity(BUFFER, raw);
    if reader.fill_buf()?.starts_with(&GZIP) {
        let decoder = MultiGzDecoder::new(reader);
        return Ok(Box::new(BufReader::with_capacity(BUFFER, decoder)));
    }
    Ok(Box::new(reader))
}

fn unreadable(place: &str, reason: &dyn Display) -> Failure {
    Failure::Input(format!("{place}: {reason}"))
}
