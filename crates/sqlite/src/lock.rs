//! Who is alive: a file that its owner keeps locked, and that nobody opens twice in one process.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use convert_sdk::adapters::between_forks;

use crate::file::{existing, new, open_trusted};

/// A file and what SQLite puts beside it. The file goes last: without it, a log looks like a loss.
pub(crate) const PARTS: [&str; 4] = ["db-wal", "db-journal", "db-shm", "db"];

/// A file that this process has locked. The lock ends with the process, however that ends: it is a POSIX record
/// lock, which a forked child does not inherit. It also ends when the process closes any descriptor of the file,
/// so the file is opened once.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    process: u32,
    file: Option<File>,
}

/// What this process has open, with its number: a child has none of its parent's locks.
static OPEN: Mutex<BTreeSet<(u32, PathBuf)>> = Mutex::new(BTreeSet::new());

/// Valid after any panic: entries are inserted and removed whole.
fn open() -> MutexGuard<'static, BTreeSet<(u32, PathBuf)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lock {
    /// Makes the file and locks it; `None` if another process was faster, or still has it.
    pub(crate) fn create(path: &Path) -> io::Result<Option<Self>> {
        Self::take(path, &new())
    }

    /// Locks a file whose owner is gone; `None` if the owner is still there, or the file is not. Makes it anew if
    /// somebody has removed only the lock.
    pub(crate) fn of_the_gone(path: &Path) -> io::Result<Option<Self>> {
        let taken = match Self::take(path, &existing()) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && PARTS.iter().any(|end| path.with_extension(end).exists()) =>
            {
                Self::create(path)
            }
            other => other,
        };
        match taken {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {
                Ok(None)
            }
            other => other,
        }
    }

    fn take(path: &Path, how: &OpenOptions) -> io::Result<Option<Self>> {
        let process = std::process::id();
        // Before it is opened: dropping a second descriptor below would end this process's lock.
        if !between_forks(|| open().insert((process, path.to_owned()))) {
            return Ok(None);
        }
        let mut lock = Self { path: path.to_owned(), process, file: None };
        let file = open_trusted(path, how)?;
        // Its last owner may have removed it meanwhile.
        let is_locked = try_lock(&file)?;
        lock.file = Some(file);
        Ok(Some(lock).filter(|lock| is_locked && lock.is_there()))
    }

    /// Whether others still find it where it was made.
    pub(crate) fn is_there(&self) -> bool {
        let made = self.file.as_ref().and_then(|file| file.metadata().ok());
        made.is_some_and(|made| is_at(&made, &self.path))
    }

    /// Whether the process that left the work behind shut down cleanly.
    pub(crate) fn is_closed(&self) -> bool {
        let found = self.file.as_ref().and_then(|file| file.metadata().ok());
        found.is_some_and(|metadata| metadata.len() > 0)
    }

    /// The same, and takes the mark away: the next owner may be killed.
    pub(crate) fn was_closed(&self) -> bool {
        self.is_closed() && self.file.as_ref().is_some_and(|file| file.set_len(0).is_ok())
    }

    /// Its owner shuts down cleanly, and leaves work behind. The mark takes no room on the disk.
    pub(crate) fn mark_closed(&self) {
        // Without the mark, the next owner counts this one as killed.
        let _ = self.file.as_ref().map(|file| file.set_len(1));
    }

    /// Its work is done.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.file = None;
        between_forks(|| open().remove(&(self.process, std::mem::take(&mut self.path))));
    }
}

/// Whether this file is found there.
pub(crate) fn is_at(made: &Metadata, path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| is_same(made, &found))
}

#[cfg(unix)]
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, fcntl_lock};
    use rustix::io::Errno;
    match fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS | Errno::AGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// There are no forks here, and a lock ends with its process too.
#[cfg(not(unix))]
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// A file that is open cannot be replaced here.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}
