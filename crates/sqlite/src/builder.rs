//! The settings of a store, checked before it is opened.

use std::path::PathBuf;
use std::time::Duration;

use crate::connections::Connections;
use crate::file::{Only, OpenError};
use crate::store::{Limits, SqliteStore};

/// The settings of a [`SqliteStore`].
#[must_use]
#[derive(Debug)]
pub struct SqliteStoreBuilder {
    file: PathBuf,
    busy_timeout: Duration,
    limits: Limits,
}

impl SqliteStore {
    /// A store in this file, with every setting at its default.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(file: impl Into<PathBuf>) -> Result<Self, OpenError> {
        Self::builder(file).build()
    }

    /// A store in this file, which is created if it is missing; its directory is not.
    pub fn builder(file: impl Into<PathBuf>) -> SqliteStoreBuilder {
        SqliteStoreBuilder::new(file.into())
    }
}

impl SqliteStoreBuilder {
    fn new(file: PathBuf) -> Self {
        let limits = Limits { rows: 5_000_000, bytes: 1 << 30 };
        Self { file, busy_timeout: Duration::from_secs(2), limits }
    }

    /// How long a call waits for other processes that write. Default 2 s: longer than the SDK's own
    /// `store_timeout` (1 s), since a claim that is answered late still counts. Zero does not wait.
    pub const fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// How many rows there may be; at least 1. Default 5,000,000. Those written longest ago are removed first. A
    /// visitor has one, and one for each goal and experience.
    pub const fn max_rows(mut self, rows: u64) -> Self {
        self.limits.rows = rows;
        self
    }

    /// How many bytes the keys and values may have; at least 1. Default 1 GiB. The rows written longest ago are removed
    /// first, and a single row that is larger is refused. The file takes about twice as much.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Opens the store, and creates the file with access for its owner alone if there is none.
    ///
    /// # Errors
    /// A limit is zero, or the file cannot be used.
    pub fn build(self) -> Result<SqliteStore, OpenError> {
        for (name, limit) in [("max_rows", self.limits.rows), ("max_bytes", self.limits.bytes)] {
            if limit == 0 {
                return Err(OpenError::Zero(name));
            }
        }
        let connections = Connections::open(Only::create(&self.file)?, self.busy_timeout)?;
        Ok(SqliteStore::new(connections, self.limits))
    }
}
