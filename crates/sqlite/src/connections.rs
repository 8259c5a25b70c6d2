//! The connections that calls borrow: as many as there are calls at a time, and new ones in a forked child.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use convert_sdk::adapters::between_forks;
use convert_sdk::ports::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::file::{Only, OpenError, is_busy, reason};
use crate::schema::{APPLICATION, STORE, migrate, version};

/// The SDK makes up to eight calls at a time.
const MOST_AT_REST: usize = 8;
/// How long to leave a process that is writing alone before the next try.
const NEXT_TRY: Duration = Duration::from_millis(1);

/// SQLite is called between forks only: a fork in the middle of a call would pass its locks on to the child.
pub(crate) struct Connections {
    file: Only,
    patience: Duration,
    pool: ArcSwap<Pool>,
    /// The process that is replacing the pool, or has replaced it.
    owner: AtomicU32,
}

/// The connections of one process.
struct Pool {
    process: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    at_rest: Vec<Connection>,
    /// In use by a call.
    lent: usize,
    /// A fork has interrupted a call, which leaves SQLite in an unknown state.
    is_broken: bool,
}

/// A connection that a call uses, and that rests again after it.
struct Lent<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

enum Failed {
    Format,
    Broken,
    Sqlite(rusqlite::Error),
}

impl Connections {
    /// Checks that the file can be used.
    pub(crate) fn open(file: Only, patience: Duration) -> Result<Self, OpenError> {
        let pool = ArcSwap::from_pointee(Pool::new(State::default()));
        let connections = Self { file, patience, pool, owner: AtomicU32::new(std::process::id()) };
        let path = connections.file.path().to_owned();
        connections.ask(TransactionBehavior::Immediate, |_| Ok(())).map_err(|failed| match failed {
            Failed::Format => OpenError::Format(path),
            Failed::Broken => OpenError::AlreadyOpen(path),
            Failed::Sqlite(error) => OpenError::Sqlite(path, reason(&error).into()),
        })?;
        Ok(connections)
    }

    /// Reads several things as of one moment.
    pub(crate) fn read<T>(
        &self,
        work: impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.ask(TransactionBehavior::Deferred, work).map_err(|failed| failed.told())
    }

    /// Writes all or nothing, once nobody else is writing.
    pub(crate) fn write<T>(
        &self,
        work: impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.ask(TransactionBehavior::Immediate, work).map_err(|failed| failed.told())
    }

    /// A fork waits for each try, but not for other processes.
    fn ask<T>(
        &self,
        behavior: TransactionBehavior,
        mut work: impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Failed> {
        let until = Instant::now() + self.patience;
        loop {
            match between_forks(|| self.attempt(behavior, &mut work)) {
                Err(Failed::Sqlite(error)) if is_busy(&error) && Instant::now() < until => {
                    thread::sleep(NEXT_TRY);
                }
                done => return done,
            }
        }
    }

    fn attempt<T>(
        &self,
        behavior: TransactionBehavior,
        work: &mut impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Failed> {
        let pool = self.pool.load_full();
        let mut lent = pool.lend()?;
        let connection = match &lent.connection {
            Some(connection) => connection,
            None => lent.connection.insert(self.connect()?),
        };
        let transaction = Transaction::new_unchecked(connection, behavior)?;
        let answer = work(&transaction)?;
        transaction.commit()?;
        Ok(answer)
    }

    fn connect(&self) -> Result<Connection, Failed> {
        let mut connection = Connection::open(self.file.path())?;
        connection.busy_timeout(Duration::ZERO)?;
        // A file that is not ours is left as it is.
        if version(&connection, APPLICATION, STORE)?.is_none() {
            return Err(Failed::Format);
        }
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What was answered outlives the process; a power failure loses what the system had not written.
        connection.pragma_update(None, "synchronous", "normal")?;
        if migrate(&mut connection, APPLICATION, STORE)? { Ok(connection) } else { Err(Failed::Format) }
    }

    /// The first call in a child, by a core that may not be the only one. The parent's connections are closed before
    /// another one is opened: SQLite counts them among this process's, which has none of their locks.
    pub(crate) fn after_fork(&self) {
        let here = std::process::id();
        while self.pool.load().process != here {
            let owner = self.owner.load(Ordering::Acquire);
            let taken = self.owner.compare_exchange(owner, here, Ordering::AcqRel, Ordering::Acquire);
            if owner != here && taken.is_ok() {
                let is_broken = between_forks(|| self.pool.load_full().close_inherited());
                self.pool.store(Arc::new(Pool::new(State { is_broken, ..State::default() })));
            } else {
                thread::yield_now();
            }
        }
    }
}

impl Pool {
    fn new(state: State) -> Self {
        Self { process: std::process::id(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In a child; returns whether the fork has interrupted a call.
    fn close_inherited(&self) -> bool {
        // If the mutex is held, a call held it.
        let Ok(mut state) = self.state.try_lock() else { return true };
        let interrupted = state.lent > 0 || state.is_broken;
        for connection in state.at_rest.drain(..) {
            // Moving rows out of the log is left to those who have the locks.
            let quietly = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            if interrupted || connection.set_db_config(quietly, true).is_err() {
                std::mem::forget(connection);
            }
        }
        interrupted
    }

    fn lend(&self) -> Result<Lent<'_>, Failed> {
        let mut state = self.state();
        if state.is_broken {
            return Err(Failed::Broken);
        }
        state.lent += 1;
        Ok(Lent { pool: self, connection: state.at_rest.pop() })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.lent -= 1;
        if state.at_rest.len() < MOST_AT_REST {
            state.at_rest.extend(self.connection.take());
        }
    }
}

/// The parent still uses these.
impl Drop for Pool {
    fn drop(&mut self) {
        let at_rest = std::mem::take(&mut self.state().at_rest);
        if self.process == std::process::id() {
            between_forks(|| drop(at_rest));
        } else {
            std::mem::forget(at_rest);
        }
    }
}

impl Failed {
    fn told(&self) -> StoreError {
        StoreError::new(match self {
            Self::Format => "the file has another format",
            Self::Broken => "a fork has interrupted a call",
            Self::Sqlite(error) => reason(error),
        })
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}
