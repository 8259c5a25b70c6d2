//! The lock of a host: of the processes that share a config cache, one holds it, and it ends with that process.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::private;
use crate::threads::process::{between_forks, generation, lock_for_process};

/// A file, by its device and number.
type Identity = (u64, u64);

/// The lock files that this process has open, for its cores: each of them opened once, as closing one descriptor of a
/// file ends the process's lock on it. Those of an earlier generation are the parent's; a child keeps their
/// descriptors, and never closes them. Locked only while no fork can happen.
static OPEN: Mutex<Vec<(u64, Identity)>> = Mutex::new(Vec::new());

pub(super) struct HostLock {
    path: PathBuf,
    open: Option<Opened>,
}

struct Opened {
    file: File,
    identity: Identity,
    held: bool,
}

impl HostLock {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    pub(super) fn is_held(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.held)
    }

    /// Takes the lock or keeps it; false if another process has it, or another core of this one.
    pub(super) fn hold(&mut self) -> io::Result<bool> {
        between_forks(|| {
            let found = match fs::symlink_metadata(&self.path) {
                Ok(found) => Some(regular(&self.path, &found)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            // A lock on a file that was removed or replaced excludes nobody.
            if self.open.as_ref().is_some_and(|open| found != Some(open.identity)) {
                self.close();
            }
            if self.open.is_none() {
                self.open = self.opened(found)?;
            }
            let Some(open) = &mut self.open else { return Ok(false) };
            open.held = open.held || lock_for_process(&open.file)?;
            Ok(open.held)
        })
    }

    /// Leaves the lock to others.
    pub(super) fn release(&mut self) {
        between_forks(|| self.close());
    }

    /// Opens the file, unless this process has it open already.
    fn opened(&self, found: Option<Identity>) -> io::Result<Option<Opened>> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |open: &[(u64, Identity)], wanted| open.contains(&(generation(), wanted));
        if found.is_some_and(|found| known(&open, found)) {
            return Ok(None);
        }
        let file = unlinked().write(true).create(true).truncate(false).open(&self.path)?;
        let identity = regular(&self.path, &file.metadata()?)?;
        if known(&open, identity) {
            // Somebody renamed one over the other just now. To close it would end that core's lock.
            std::mem::forget(file);
            return Ok(None);
        }
        open.retain(|(of, _)| *of == generation());
        open.push((generation(), identity));
        Ok(Some(Opened { file, identity, held: false }))
    }

    fn close(&mut self) {
        if let Some(Opened { file, identity, .. }) = self.open.take() {
            let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|entry| *entry != (generation(), identity));
            drop(file);
        }
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        self.release();
    }
}

/// Files in the place that was named, not where somebody's link leads.
#[cfg(all(unix, not(miri)))]
fn unlinked() -> OpenOptions {
    let mut options = private();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOFOLLOW);
    options
}

#[cfg(not(all(unix, not(miri))))]
fn unlinked() -> OpenOptions {
    private()
}

/// Only a regular file is opened and locked: a pipe or a device may wait for somebody, and forks with it.
fn regular(path: &Path, metadata: &Metadata) -> io::Result<Identity> {
    if metadata.is_file() { Ok(identity(path, metadata)) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

#[cfg(unix)]
pub(super) fn identity(_: &Path, metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;

    (metadata.dev(), metadata.ino())
}

/// The standard library gives no such number here; a file that is open cannot be replaced anyway.
#[cfg(not(unix))]
fn identity(path: &Path, _: &Metadata) -> Identity {
    use std::hash::{DefaultHasher, Hash, Hasher};

    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    (0, hasher.finish())
}
