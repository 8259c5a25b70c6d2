//! An outbox seen from outside: listing, reading and erasing what is in it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use convert_sdk::ports::LeftRecord;

use crate::file::{OpenError, is_busy, reason};
use crate::lock::{Lock, PARTS};
use crate::outbox::{SqliteOutbox, project_of};
use crate::queue::{Queue, remove};
use crate::rows::Rows;

/// A file that was set aside, and its log; either can be there alone.
const SET_ASIDE: [&str; 2] = ["damaged", "damaged-wal"];
/// Records that are read at a time.
const AT_A_TIME: usize = 1_000;

/// One process's file in a [`SqliteOutbox`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxEntry {
    /// The file's name, without its ending.
    pub name: String,
    /// Who has it.
    pub state: EntryState,
    /// `{account}/{project}`; unknown while the file is in use, and once it is set aside as damaged.
    pub project: Option<String>,
    /// How many bytes the file has, with its log.
    pub bytes: u64,
    /// How many records can be read; none while the file is in use.
    pub records: u64,
    /// When the oldest of them was recorded.
    pub oldest: Option<SystemTime>,
}

/// What may be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryState {
    /// Its process is alive, or another one is delivering what it has left.
    InUse,
    /// Left behind.
    Left,
    /// Damaged, of a newer version, or unreadable for another reason; what could be read of it was.
    Unreadable,
}

impl EntryState {
    /// A stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "in use",
            Self::Left => "left",
            Self::Unreadable => "unreadable",
        }
    }
}

impl SqliteOutbox {
    /// What is in the directory, by name. Reads every record that was left behind.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn entries(&self) -> Result<Vec<OutboxEntry>, OpenError> {
        let mut entries = Vec::new();
        let mut paths = self.paths(&["db", "db-wal"], "db")?;
        paths.extend(self.paths(&SET_ASIDE, "damaged")?);
        paths.sort_unstable();
        for (path, project) in paths {
            entries.push(entry(&path, project));
        }
        Ok(entries)
    }

    /// Calls `each` with every record left behind that can be read, and the name of its file, until a call fails.
    ///
    /// # Errors
    /// The directory cannot be read, or `each` fails.
    pub fn for_each<E: From<OpenError>>(
        &self,
        mut each: impl FnMut(&str, &LeftRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        for (path, _) in self.paths(&["db"], "db")? {
            let Ok(Some(mut file)) = take(&path) else { continue };
            let name = name(&path);
            while !file.is_read() {
                let mut rows = Rows::default();
                // If reading fails, this file ends here; the others are read.
                let _ = file.read(AT_A_TIME, usize::MAX, &mut rows);
                for record in &rows.records {
                    each(&name, record)?;
                }
            }
        }
        Ok(())
    }

    /// Deletes what was left behind, and what is damaged; returns how many files it deleted. Records in files of
    /// processes that are alive stay, and so does every file that no outbox has made.
    ///
    /// # Errors
    /// The directory cannot be read, or a file cannot be removed: it has the format of another application or of a
    /// newer version ([`OpenError::Format`]), or the system refuses. The others are removed all the same.
    pub fn erase(&self) -> Result<u64, OpenError> {
        let (mut erased, mut failure) = (0, None);
        for (path, _) in self.paths(&[&PARTS[..], &["lock"]].concat(), "db")? {
            match erase(&path) {
                Ok(is_erased) => erased += u64::from(is_erased),
                Err(error) => failure = Some(error),
            }
        }
        for (path, _) in self.paths(&SET_ASIDE, "damaged")? {
            let removed = SET_ASIDE.map(|end| fs::remove_file(path.with_extension(end)));
            erased += u64::from(removed.iter().any(Result::is_ok));
            let failures = removed.into_iter().filter_map(Result::err);
            failure = failures
                .filter(|error| error.kind() != io::ErrorKind::NotFound)
                .map(OpenError::file(&path))
                .last()
                .or(failure);
        }
        failure.map_or(Ok(erased), Err)
    }

    /// The files of an outbox that have any of these extensions, each once and with the extension `named`, and their
    /// projects; sorted by name.
    fn paths(&self, ends: &[&str], named: &str) -> Result<Vec<(PathBuf, String)>, OpenError> {
        let mut paths = Vec::new();
        let failed = OpenError::file(&self.directory);
        for entry in fs::read_dir(&self.directory).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
            if ends.contains(&end)
                && let Some(project) = project_of(&path)
            {
                paths.push((path.with_extension(named), project));
            }
        }
        paths.sort_unstable();
        paths.dedup();
        Ok(paths)
    }
}

fn entry(path: &Path, project: String) -> OutboxEntry {
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut entry = OutboxEntry {
        name: name(path),
        state: EntryState::InUse,
        project: None,
        bytes: size(path) + size(&path.with_extension("db-wal")),
        records: 0,
        oldest: None,
    };
    if path.extension().is_some_and(|end| end == "damaged") {
        entry.bytes = SET_ASIDE.iter().map(|end| size(&path.with_extension(end))).sum();
        entry.state = EntryState::Unreadable;
        return entry;
    }
    match take(path) {
        Ok(Some(mut file)) => {
            entry.state = EntryState::Left;
            entry.project = Some(file.project().unwrap_or(project));
            while !file.is_read() {
                let mut rows = Rows::default();
                if file.read(AT_A_TIME, usize::MAX, &mut rows).is_err() {
                    entry.state = EntryState::Unreadable;
                }
                entry.records += rows.records.len() as u64;
                let oldest = rows.records.iter().map(|record| record.recorded_at).min();
                entry.oldest = [entry.oldest, oldest].into_iter().flatten().min();
            }
            if file.is_damaged() {
                entry.state = EntryState::Unreadable;
            }
        }
        Ok(None) => {}
        Err(_) => {
            entry.state = EntryState::Unreadable;
            entry.project = Some(project);
        }
    }
    entry
}

/// Takes a file over for a moment; `None` if somebody has it.
fn take(path: &Path) -> Result<Option<Queue>, OpenError> {
    let lock = path.with_extension("lock");
    let Some(lock) = Lock::of_the_gone(&lock).map_err(OpenError::file(&lock))? else { return Ok(None) };
    match Queue::left(lock, path.to_owned(), 1) {
        Ok(file) => Ok(Some(file)),
        Err((_, error)) if is_busy(&error) => Ok(None),
        Err((_, error)) => Err(OpenError::Sqlite(path.to_owned(), reason(&error).into())),
    }
}

/// Removes a file and what is beside it, unless somebody has it; returns whether there was a file, or its log.
fn erase(path: &Path) -> Result<bool, OpenError> {
    let lock = path.with_extension("lock");
    let Some(lock) = Lock::of_the_gone(&lock).map_err(OpenError::file(&lock))? else { return Ok(false) };
    match Queue::left(lock, path.to_owned(), 1) {
        Ok(file) => {
            file.erase();
            is_gone(path).map(|()| true)
        }
        // Its owner lives and will find out that somebody has removed its lock.
        Err((_, error)) if is_busy(&error) => Ok(false),
        Err((lock, rusqlite::Error::InvalidQuery)) => {
            if !lock.is_closed() {
                lock.remove();
            }
            Err(OpenError::Format(path.to_owned()))
        }
        Err((lock, _)) => {
            let is_there = PARTS.iter().any(|end| path.with_extension(end).symlink_metadata().is_ok());
            remove(path);
            lock.remove();
            is_gone(path).map(|()| is_there)
        }
    }
}

/// Fails unless the system has removed a file and its log.
fn is_gone(path: &Path) -> Result<(), OpenError> {
    let is_left = PARTS.iter().any(|end| path.with_extension(end).symlink_metadata().is_ok());
    if is_left { Err(OpenError::File(path.to_owned(), io::ErrorKind::PermissionDenied)) } else { Ok(()) }
}

fn name(path: &Path) -> String {
    path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
