//! The log beside a file of an outbox, looked at before SQLite uses it: SQLite ends a log at the first frame that is
//! not what was written, and says nothing of what is behind it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::file::{existing, open_trusted};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// The checksums of everything before, as SQLite computes them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sums {
    first: u32,
    second: u32,
    /// How the words are read.
    is_big_endian: bool,
}

/// What the header says about the frames.
struct Log {
    page: usize,
    /// How often the log was restarted.
    restarts: u32,
    salts: [u32; 2],
    sums: Sums,
}

/// What is in the place of a frame and is not the next one.
struct Odd {
    /// A frame from before the last restart, not overwritten yet.
    is_old: bool,
    /// As far as can be seen, a frame of a group that was not finished; a group that has failed leaves some too.
    is_unfinished: bool,
}

/// Whether frames that were written have been lost. If not, cuts off what a killed process has left of a group that it
/// did not finish: it must not follow what is written next.
///
/// A process that is killed leaves a log that ends within a frame or, in its first group after a restart, one with old
/// frames at its end. A power failure can tear a group that was never confirmed, and that may look like damage.
pub(crate) fn is_damaged(path: &Path) -> io::Result<bool> {
    let file = match open_trusted(path, &existing()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut reader = BufReader::with_capacity(1 << 16, &file);
    let mut header = [0; HEADER];
    if !fill(&mut reader, &mut header)? {
        return Ok(false);
    }
    let Some(log) = Log::read(&header) else {
        // SQLite ignores the rest.
        return Ok(file.metadata()?.len() > (HEADER + FRAME_HEADER) as u64);
    };
    let end = log.end(&mut reader)?;
    if let Some(end) = end
        && end < file.metadata()?.len()
    {
        cut(&file, end)?;
    }
    Ok(end.is_none())
}

/// Whether there is more than a header.
pub(crate) fn has_frames(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file() && found.len() > HEADER as u64)
}

fn cut(file: &File, end: u64) -> io::Result<()> {
    // A header without frames says nothing.
    file.set_len(if end == HEADER as u64 { 0 } else { end })
}

impl Log {
    /// `None` if this is not a header.
    fn read(header: &[u8; HEADER]) -> Option<Self> {
        let is_big_endian = match word(header, 0) ^ MAGIC {
            0 => false,
            1 => true,
            _ => return None,
        };
        let page = word(header, 8) as usize;
        let sums = Sums { first: 0, second: 0, is_big_endian }.with(&header[..24]);
        let is_good = page.is_power_of_two() && (512..=1 << 16).contains(&page) && sums.are_at(header, 24);
        let salts = [word(header, 16), word(header, 20)];
        is_good.then_some(Self { page, restarts: word(header, 12), salts, sums })
    }

    /// Where the last whole group ends; `None` if more was there.
    fn end(self, reader: &mut impl Read) -> io::Result<Option<u64>> {
        let size = FRAME_HEADER + self.page;
        let (mut frame, mut sums) = (vec![0; size], self.sums);
        let (mut frames, mut whole) = (0_u64, 0);
        let mut odd = Vec::new();
        while fill(reader, &mut frame)? {
            let next = sums.with(&frame[..8]).with(&frame[FRAME_HEADER..]);
            let salts = [word(&frame, 8), word(&frame, 12)];
            let ends_group = word(&frame, 4) != 0;
            if odd.is_empty() && salts == self.salts && word(&frame, 0) != 0 && next.are_at(&frame, 16) {
                (sums, frames) = (next, frames + 1);
                whole = if ends_group { frames } else { whole };
            } else {
                // After a power failure, also a place that nothing has been written to.
                let is_unfinished = salts == self.salts && !ends_group || salts == [0, 0];
                odd.push(Odd { is_old: self.is_old(salts), is_unfinished });
            }
        }
        let end = HEADER as u64 + whole * size as u64;
        Ok((!is_loss(&odd)).then_some(end))
    }

    /// Whether a frame has the salts of an earlier time: the first counts the restarts, the second is random.
    fn is_old(&self, [first, second]: [u32; 2]) -> bool {
        let restarts = self.salts[0].wrapping_sub(first);
        (1..=self.restarts).contains(&restarts) && second != self.salts[1]
    }
}

/// Whether a group that was finished is among these.
fn is_loss(odd: &[Odd]) -> bool {
    let rest = match odd {
        // It was being written, over an old one.
        [first, second, rest @ ..] if !first.is_old && second.is_old => rest,
        all => all,
    };
    rest.iter().any(|odd| !odd.is_old && !odd.is_unfinished)
}

impl Sums {
    fn with(mut self, bytes: &[u8]) -> Self {
        for pair in bytes.chunks_exact(8) {
            let [one, other] = [0, 4].map(|at| {
                let word = word(pair, at);
                if self.is_big_endian { word } else { word.swap_bytes() }
            });
            self.first = self.first.wrapping_add(one).wrapping_add(self.second);
            self.second = self.second.wrapping_add(other).wrapping_add(self.first);
        }
        self
    }

    fn are_at(self, bytes: &[u8], at: usize) -> bool {
        [self.first, self.second] == [word(bytes, at), word(bytes, at + 4)]
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// False if the end comes first.
fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}
