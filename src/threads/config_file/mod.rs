//! The config cache: a file with the last good config, and the lock beside it.

mod format;
mod lock;

use std::ffi::OsString;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use self::format::Stored;
use self::lock::HostLock;
use crate::config::ConfigSnapshot;
use crate::error::ConfigCacheError;

pub(super) use self::format::Owner;

/// The cache of one process: reads and writes the file on the calling thread.
pub(crate) struct ConfigFile {
    path: PathBuf,
    /// Named after the file; only the holder of the lock writes it.
    temporary: PathBuf,
    lock: HostLock,
    owner: Owner,
    max_bytes: u64,
    /// The version of the file that was last read or written here.
    seen: Option<Version>,
    /// That version is another key's or environment's, which this process leaves alone.
    foreign: bool,
}

/// A config as read from the file.
pub(super) struct Cached {
    pub(super) text: String,
    pub(super) etag: Option<String>,
    /// When it was last known to be current.
    pub(super) at: SystemTime,
}

/// Tells a file from the one that replaced it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    #[cfg(unix)]
    file: (u64, u64),
    modified: Option<SystemTime>,
    bytes: u64,
}

impl ConfigFile {
    pub(crate) fn new(path: &Path, owner: Owner, max_bytes: u64) -> Self {
        let beside = |ending| {
            let mut name = OsString::from(path);
            name.push(ending);
            PathBuf::from(name)
        };
        Self {
            path: path.to_owned(),
            temporary: beside(".tmp"),
            lock: HostLock::new(beside(".lock")),
            owner,
            max_bytes,
            seen: None,
            foreign: false,
        }
    }

    /// Takes the lock or keeps it, and returns whether this process has it; that of a foreign file is not for it.
    pub(super) fn hold(&mut self) -> Result<bool, ConfigCacheError> {
        if self.foreign {
            return Ok(false);
        }
        self.lock.hold().map_err(|error| ConfigCacheError::Lock(error.kind()))
    }

    /// Reads the file; `None` if there is none, or still the one that was last read or written here. A foreign one
    /// remains an error, and its lock is left to its owners.
    pub(super) fn read(&mut self) -> Result<Option<Cached>, ConfigCacheError> {
        let found = self.read_new();
        if matches!(found, Err(ConfigCacheError::Foreign)) {
            self.foreign = true;
            self.lock.release();
        }
        found
    }

    fn read_new(&mut self) -> Result<Option<Cached>, ConfigCacheError> {
        let unreadable = |error: io::Error| ConfigCacheError::Read(error.kind());
        let found = match fs::metadata(&self.path) {
            Ok(found) => Version::of(&found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (self.seen, self.foreign) = (None, false);
                return Ok(None);
            }
            Err(error) => return Err(unreadable(error)),
        };
        if self.seen == Some(found) {
            return if self.foreign { Err(ConfigCacheError::Foreign) } else { Ok(None) };
        }
        // Also a file that is no good is read once.
        (self.seen, self.foreign) = (Some(found), false);
        let file = private().read(true).open(&self.path).map_err(unreadable)?;
        let opened = file.metadata().map_err(unreadable)?;
        if !is_safe(&opened) {
            return Err(ConfigCacheError::Unsafe);
        }
        self.seen = Some(Version::of(&opened));
        let most = self.max_bytes.saturating_add(format::LONGEST_HEADER);
        let mut bytes = Vec::new();
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > most {
            return Err(ConfigCacheError::TooLarge(self.max_bytes));
        }
        let Stored { text, etag, at } = format::decode(bytes, &self.owner)?;
        if text.len() as u64 > self.max_bytes {
            return Err(ConfigCacheError::TooLarge(self.max_bytes));
        }
        Ok(Some(Cached { text, etag, at }))
    }

    /// Replaces the file, if it is not foreign and this process has the lock or can have it for that long; otherwise
    /// somebody else keeps it up to date. A failure leaves the lock to others, who would wait for the file in vain.
    pub(super) fn keep(
        &mut self,
        config: &ConfigSnapshot,
        etag: Option<&str>,
        at: SystemTime,
    ) -> Result<(), ConfigCacheError> {
        self.refuse_foreign()?;
        let shares = self.lock.is_held();
        if !self.hold()? {
            return Ok(());
        }
        // Until now, others could write it.
        self.refuse_foreign()?;
        let replaced = self.replace(&format::encode(config, etag, at, &self.owner));
        if replaced.is_err() {
            // Half a file is of no use to anybody, and may fill the disk.
            let _ = fs::remove_file(&self.temporary);
        }
        if !shares || replaced.is_err() {
            self.lock.release();
        }
        self.seen = Some(replaced.map_err(|error| ConfigCacheError::Write(error.kind()))?);
        Ok(())
    }

    fn refuse_foreign(&mut self) -> Result<(), ConfigCacheError> {
        match self.read() {
            Err(ConfigCacheError::Foreign) => Err(ConfigCacheError::Foreign),
            // Whatever else is there is replaced.
            _ => Ok(()),
        }
    }

    /// A reader sees the old file or the new one, also after a power failure.
    fn replace(&self, bytes: &[u8]) -> io::Result<Version> {
        // What a killed process has left; a name that somebody else made is not written through.
        match fs::remove_file(&self.temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private().write(true).create_new(true).open(&self.temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let version = Version::of(&file.metadata()?);
        fs::rename(&self.temporary, &self.path)?;
        sync_directory_of(&self.path)?;
        Ok(version)
    }
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            #[cfg(unix)]
            file: lock::identity(Path::new(""), metadata),
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
        }
    }
}

/// Files that nobody else can read or write; the other end of a pipe is not waited for.
#[cfg(unix)]
fn private() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = OpenOptions::new();
    options.mode(0o600);
    #[cfg(not(miri))]
    options.custom_flags(libc::O_NONBLOCK);
    options
}

/// What the directory allows.
#[cfg(not(unix))]
fn private() -> OpenOptions {
    OpenOptions::new()
}

/// Whether only this user and root can have written it.
#[cfg(all(unix, not(miri)))]
fn is_safe(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    const OTHERS_MAY_WRITE: u32 = 0o022;
    let ours = metadata.uid() == 0 || metadata.uid() == crate::threads::process::effective_user();
    metadata.is_file() && ours && metadata.mode() & OTHERS_MAY_WRITE == 0
}

#[cfg(not(all(unix, not(miri))))]
fn is_safe(metadata: &Metadata) -> bool {
    metadata.is_file()
}

#[cfg(unix)]
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Renaming is all that can be done here.
#[cfg(not(unix))]
fn sync_directory_of(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
