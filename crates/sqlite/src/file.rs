//! SQLite's files: who has them open in this process, who may read them, and what their errors are called.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, OpenOptions, canonicalize, metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use convert_sdk::adapters::between_forks;
use rusqlite::ffi;
#[cfg(unix)]
use rustix::fs::OFlags;
use thiserror::Error;

/// Why a file or directory could not be opened, and which; a path is as given, or absolute.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file or directory cannot be created or used.
    #[error("{} cannot be used: {}", .0.display(), .1)]
    File(PathBuf, io::ErrorKind),
    /// The file is open in this process, or was in the process that this one was forked from: share what has it
    /// open.
    #[error("{} is already open in this process", .0.display())]
    AlreadyOpen(PathBuf),
    /// The file belongs to another application, or to a newer version of this crate.
    #[error("{} has the format of another application or of a newer version", .0.display())]
    Format(PathBuf),
    /// The file or directory belongs to another user, or others may write to it: what is in it could be theirs.
    #[error("{} belongs to another user, or others may write to it", .0.display())]
    Foreign(PathBuf),
    /// A limit is zero.
    #[error("{0} is zero")]
    Zero(&'static str),
    /// SQLite cannot use the file; the reason is SQLite's name for it, such as `SQLITE_NOTADB`.
    #[error("{}: SQLite: {}", .0.display(), .1)]
    Sqlite(PathBuf, Box<str>),
}

impl OpenError {
    pub(crate) fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        |error| Self::File(path.to_owned(), error.kind())
    }
}

/// Whether only this user or the administrator can have put a file or directory there, or written to it.
#[cfg(unix)]
pub(crate) fn is_trusted(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    const OTHERS_MAY_WRITE: u32 = 0o022;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw() || metadata.uid() == 0;
    ours && metadata.mode() & OTHERS_MAY_WRITE == 0
}

#[cfg(not(unix))]
pub(crate) fn is_trusted(_: &Metadata) -> bool {
    true
}

/// To read and write a file that exists: follows no link, and does not wait for the reader of a pipe.
pub(crate) fn existing() -> OpenOptions {
    let mut old = OpenOptions::new();
    old.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut old,
        (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed(),
    );
    old
}

/// To make a file that is its owner's alone from the first moment.
pub(crate) fn new() -> OpenOptions {
    let mut new = OpenOptions::new();
    new.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut new, 0o600);
    new
}

/// Opens a file, unless others can have put it there, or it is something else.
pub(crate) fn open_trusted(path: &Path, how: &OpenOptions) -> io::Result<File> {
    let file = how.open(path)?;
    let metadata = file.metadata()?;
    let is_good = metadata.is_file() && is_trusted(&metadata);
    if is_good { Ok(file) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// A file that this process uses in one place only. Closing any descriptor of a file gives up all locks that the
/// process has on it, and SQLite knows of no connections but those of this process: a child must find out that a file
/// was open in its parent.
#[derive(Debug)]
pub(crate) struct Only(PathBuf);

static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Valid after any panic: paths are inserted and removed whole.
fn open() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Only {
    /// Creates the file if there is none, for its owner alone.
    pub(crate) fn create(path: &Path) -> Result<Self, OpenError> {
        match new().open(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(OpenError::file(path)(error));
            }
            Ok(_) | Err(_) => {}
        }
        let path = canonicalize(path).map_err(OpenError::file(path))?;
        if !is_trusted(&metadata(&path).map_err(OpenError::file(&path))?) {
            return Err(OpenError::Foreign(path));
        }
        let is_new = between_forks(|| open().insert(path.clone()));
        if is_new { Ok(Self(path)) } else { Err(OpenError::AlreadyOpen(path)) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Only {
    fn drop(&mut self) {
        between_forks(|| open().remove(&self.0));
    }
}

/// The name alone: SQLite's own text may quote what was stored.
pub(crate) fn reason(error: &rusqlite::Error) -> &'static str {
    failure(error).map_or("an unexpected answer", |failure| name(failure.code, failure.extended_code))
}

/// What SQLite itself has answered.
const fn failure(error: &rusqlite::Error) -> Option<ffi::Error> {
    match error {
        rusqlite::Error::SqliteFailure(failure, _)
        | rusqlite::Error::SqlInputError { error: failure, .. } => Some(*failure),
        _ => None,
    }
}

fn name(code: rusqlite::ErrorCode, extended: std::ffi::c_int) -> &'static str {
    use rusqlite::ErrorCode;
    match (code, extended) {
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => "SQLITE_BUSY",
        (ErrorCode::DiskFull, _) => "SQLITE_FULL",
        (ErrorCode::ReadOnly, _) => "SQLITE_READONLY",
        (ErrorCode::DatabaseCorrupt, _) => "SQLITE_CORRUPT",
        (ErrorCode::NotADatabase, _) => "SQLITE_NOTADB",
        (ErrorCode::CannotOpen, _) => "SQLITE_CANTOPEN",
        (ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied, _) => "SQLITE_PERM",
        (ErrorCode::OutOfMemory, _) => "SQLITE_NOMEM",
        (ErrorCode::TooBig, _) => "SQLITE_TOOBIG",
        (_, ffi::SQLITE_IOERR_FSYNC) => "SQLITE_IOERR_FSYNC",
        (_, ffi::SQLITE_IOERR_SHORT_READ) => "SQLITE_IOERR_SHORT_READ",
        (_, ffi::SQLITE_IOERR_WRITE) => "SQLITE_IOERR_WRITE",
        (ErrorCode::SystemIoFailure, _) => "SQLITE_IOERR",
        _ => "SQLITE_ERROR",
    }
}

/// Whether what was read cannot be what was written, such as a schema that no longer has the tables, or a page beyond
/// the end of the file.
pub(crate) fn is_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let is_odd = matches!(
        error,
        InvalidColumnType(..) | IntegralValueOutOfRange(..) | FromSqlConversionFailure(..) | Utf8Error(..)
    );
    is_odd
        || failure(error).is_some_and(|failure| {
            matches!(failure.code, DatabaseCorrupt | NotADatabase)
                || matches!(failure.extended_code, ffi::SQLITE_ERROR | ffi::SQLITE_IOERR_SHORT_READ)
        })
}

/// Whether another process has the lock that was needed.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy))
}
