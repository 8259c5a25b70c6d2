//! One process's file of an outbox.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use convert_sdk::adapters::between_forks;
use convert_sdk::ports::{BatchPlace, OutboxRecord, RecordId};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior, ffi, params};

use crate::file::{existing, is_damaged, open_trusted};
#[cfg(unix)]
use crate::lock::try_lock;
use crate::lock::{Lock, PARTS, is_at};
use crate::log;
use crate::rows::{
    APPLICATION, Batches, Rows, Stored, VERSIONS, copy, delete, insert, note, noted, rows_after, size, void,
};
use crate::schema::{migrate, version};

/// How many bits of a [`RecordId`] are the number of the row; the others are that of the file.
const ROW_BITS: u32 = 40;
/// The fewest rows that are read at a time: those after a bad one tell where to read on.
const FEWEST: usize = 64;
const COPIED_AT_A_TIME: usize = 1_024;

/// What a record on disk survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process, however it ends: what was written is in the system's hands.
    #[default]
    Process,
    /// A power failure too: each group waits until the disk has it.
    Power,
}

/// SQLite is called between forks only, as it has locks that a child would inherit.
pub(crate) struct Queue {
    /// Closed before the locks end.
    connection: Option<Connection>,
    /// Of a file that was taken over: what keeps others from it.
    _guard: Option<File>,
    lock: Option<Lock>,
    path: PathBuf,
    /// Of a file that was made here: it and its log, as they were made.
    made: Vec<(PathBuf, Metadata)>,
    /// Among those that this process has used.
    number: u64,
    /// The number of the last row that was written, or read.
    last: u64,
    /// Rows that were read or written, and are not to be removed yet.
    in_hand: BTreeSet<u64>,
    /// Rows that are to be removed and still there; of a damaged file, all that were delivered.
    over: BTreeSet<u64>,
    /// What is noted of its rows.
    batches: Batches,
    /// The caller takes some of these for removed: whoever takes the file over has to count them.
    owes: bool,
    /// Its structure was checked.
    is_checked: bool,
    /// Everything has been read.
    is_read: bool,
    /// Reading has failed for a reason that may pass: what follows is left to a later look, or to the next process that
    /// takes the file over.
    is_stuck: bool,
    /// Some of it cannot be read, and it cannot be written.
    is_damaged: bool,
    /// Some damage has been counted.
    is_told: bool,
    /// The process that left it was killed, which has not been counted yet.
    was_killed: bool,
}

impl Queue {
    /// A new file.
    pub(crate) fn create(
        lock: Lock,
        path: PathBuf,
        number: u64,
        project: &str,
        durability: Durability,
        max_bytes: u64,
    ) -> rusqlite::Result<Self> {
        let made = between_forks(|| {
            let connection = connect(Connection::open_with_flags(&path, FLAGS)?, durability, true)?;
            let size: u64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            connection.pragma_update(None, "max_page_count", (max_bytes / size).max(8))?;
            let owner = "INSERT INTO owner VALUES (?, ?)";
            connection.execute(owner, params![project, std::process::id()])?;
            Ok::<_, rusqlite::Error>(connection)
        });
        let parts = [path.clone(), path.with_extension("db-wal")].into_iter();
        let parts: Result<Vec<_>, _> =
            parts.map(|part| part.symlink_metadata().map(|found| (part, found))).collect();
        match made.and_then(|made| Ok((made, parts.map_err(|_| rusqlite::Error::InvalidPath(path.clone()))?)))
        {
            Ok((connection, made)) => {
                let mut queue = Self::new(connection, lock, path, number);
                queue.made = made;
                Ok(queue)
            }
            Err(error) => {
                // There will be another attempt, with names of its own.
                remove(&path);
                lock.remove();
                Err(error)
            }
        }
    }

    /// The file of a process that is gone, which may have promised that it survives a power failure.
    pub(crate) fn left(lock: Lock, path: PathBuf, number: u64) -> Result<Self, (Lock, rusqlite::Error)> {
        let unusable = |_| rusqlite::Error::InvalidPath(path.clone());
        let connected = between_forks(|| {
            // Not one that others have put there, nor one that would keep whoever opens it waiting.
            let guard = open_trusted(&path, &existing()).map_err(unusable)?;
            #[cfg(unix)]
            if !try_lock(&guard).map_err(unusable)? {
                // Its owner is alive and has lost only its lock, or somebody is looking at it.
                return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None));
            }
            let log = path.with_extension("db-wal");
            let has_lost = log::is_damaged(&log).map_err(unusable)?;
            // SQLite would delete the log of an empty file; and a clean shutdown leaves no file without records.
            let is_empty = guard.metadata().map_err(unusable)?.len() == 0;
            if is_empty && (log::has_frames(&log) || lock.is_closed()) {
                return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOTADB), None));
            }
            let connection = Connection::open_with_flags_and_vfs(&path, FLAGS, UNLOCKED)?;
            // Before anything is read: the log is kept for people to look at.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_lost)?;
            // Without this, nothing could be read from a file that is shorter than its header says.
            connection.pragma_update(None, "writable_schema", true)?;
            Ok((guard, has_lost, connect(connection, Durability::Power, !has_lost)?))
        });
        match connected {
            Ok((guard, has_lost, connection)) => {
                let mut queue = Self::new(connection, lock, path, number);
                queue.is_damaged = has_lost;
                queue._guard = Some(guard).filter(|_| cfg!(unix));
                Ok(queue)
            }
            Err(error) => Err((lock, error)),
        }
    }

    const fn new(connection: Connection, lock: Lock, path: PathBuf, number: u64) -> Self {
        Self {
            connection: Some(connection),
            _guard: None,
            lock: Some(lock),
            path,
            made: Vec::new(),
            number,
            last: 0,
            in_hand: BTreeSet::new(),
            over: BTreeSet::new(),
            batches: Batches::new(),
            owes: false,
            is_checked: false,
            is_read: false,
            is_stuck: false,
            is_damaged: false,
            is_told: false,
            was_killed: false,
        }
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether nothing is left to be read now, or to be delivered.
    pub(crate) fn is_done(&self) -> bool {
        self.is_read() && self.is_empty()
    }

    /// Whether it is done, and whoever takes it over next would not find what was delivered.
    pub(crate) fn is_over(&self) -> bool {
        self.is_done() && !(self.is_stuck && self.is_late())
    }

    pub(crate) const fn is_read(&self) -> bool {
        self.is_read || self.is_stuck
    }

    pub(crate) const fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    pub(crate) const fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Whether nothing is in hand.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_hand.is_empty()
    }

    /// Whether rows are still there that should not be.
    pub(crate) fn is_late(&self) -> bool {
        !self.over.is_empty()
    }

    pub(crate) const fn owes(&self) -> bool {
        self.owes
    }

    /// From now on, the caller takes what should not be there for removed.
    pub(crate) fn owe(&mut self) {
        self.owes |= self.is_late();
    }

    /// Whether a process that took this one over would find what is in it, and it can be written.
    pub(crate) fn is_good(&self) -> bool {
        !self.is_damaged
            && self.lock.as_ref().is_some_and(Lock::is_there)
            && self.made.iter().all(|(path, made)| is_at(made, path))
    }

    /// What it has is going to be delivered here.
    pub(crate) fn begin(&mut self) {
        self.was_killed = !self.lock.as_ref().is_some_and(Lock::was_closed);
        // Most files have no such table; what cannot be read goes under new ids.
        let noted = self.connection.as_ref().map(|connection| between_forks(|| noted(connection)));
        self.batches = noted.and_then(Result::ok).unwrap_or_default();
    }

    /// Whether a process was killed that may have delivered some of it; true once.
    pub(crate) const fn count_killed(&mut self) -> bool {
        std::mem::replace(&mut self.was_killed, false)
    }

    /// Those of these records that are in this file are to be removed at the next write.
    pub(crate) fn forget(&mut self, records: &[RecordId]) {
        for record in records {
            let Some(row) = self.row(*record) else { continue };
            // After a failure halfway, the caller names some again.
            if self.in_hand.remove(&row) {
                self.over.insert(row);
            }
        }
    }

    /// Removes what is to be removed, also what could not be before, and adds rows.
    pub(crate) fn write(&mut self, new: &[OutboxRecord<'_>]) -> rusqlite::Result<Vec<RecordId>> {
        if self.over.is_empty() && new.is_empty() {
            return Ok(Vec::new());
        }
        let (first, batches) = (self.last + 1, self.batches_of(self.over.iter()));
        // What a damaged file contains, a successor may deliver again.
        if let Some(connection) = self.connection.as_ref().filter(|_| !self.is_damaged) {
            let written = between_forks(|| {
                let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
                delete(&transaction, &self.over)?;
                void(&transaction, &batches)?;
                insert(&transaction, first, new)?;
                transaction.commit()
            });
            self.is_damaged = written.as_ref().is_err_and(is_damaged);
            if !self.is_damaged || !new.is_empty() {
                written?;
            }
        }
        if !self.is_damaged {
            self.over.clear();
            self.owes = false;
            self.batches.retain(|_, batch| !batches.contains(&batch.id));
        }
        // In the file of another process this is where to read on.
        self.last += new.len() as u64;
        self.in_hand.extend(first..=self.last);
        Ok((first..=self.last).map(|row| self.id(row)).collect())
    }

    /// Notes that a batch of this size has these of its rows, with their places.
    pub(crate) fn note(&mut self, id: &str, size: usize, rows: &[(usize, u64)]) -> rusqlite::Result<()> {
        let is_here = rows.iter().all(|(_, row)| self.in_hand.contains(row));
        let Some(connection) = self.connection.as_ref().filter(|_| is_here && !self.is_damaged) else {
            return Ok(());
        };
        // A batch that has lost some of its rows to another can no longer be sent as it was.
        let others = self.batches_of(rows.iter().map(|(_, row)| row));
        between_forks(|| {
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            void(&transaction, &others)?;
            note(&transaction, id, size, rows)?;
            transaction.commit()
        })?;
        self.batches.retain(|_, batch| !others.contains(&batch.id));
        let id = Arc::<str>::from(id);
        let places = rows.iter().map(|(place, row)| (*row, BatchPlace::new(Arc::clone(&id), *place, size)));
        self.batches.extend(places);
        Ok(())
    }

    fn batches_of<'a>(&self, rows: impl Iterator<Item = &'a u64>) -> BTreeSet<Arc<str>> {
        rows.filter_map(|row| Some(Arc::clone(&self.batches.get(row)?.id))).collect()
    }

    /// Takes over what is in hand in another file of the same number, as far as it can be read; returns how many rows
    /// cannot be, which the SDK still has in its memory.
    pub(crate) fn replace(&mut self, other: &Self) -> rusqlite::Result<usize> {
        let Some(connection) = &self.connection else { return Ok(0) };
        let copied = between_forks(|| {
            let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
            let (mut copied, mut last) = (BTreeSet::new(), 0);
            loop {
                let (rows, end) = other.rows_after(last, COPIED_AT_A_TIME, usize::MAX);
                let (is_all, before) = (rows.len() < COPIED_AT_A_TIME, last);
                for (row, number) in rows.iter().filter_map(|row| Some((row, row.number()?))) {
                    last = number;
                    // A damaged tree can lead to the same rows twice.
                    if other.in_hand.contains(&number) && copied.insert(number) {
                        copy(&transaction, row)?;
                    }
                }
                match end {
                    Ok(()) if is_all => break,
                    Ok(()) if last == before => {
                        last = rows.iter().filter_map(|row| u64::try_from(row.id).ok()).max().unwrap_or(last);
                    }
                    Err(error) if is_damaged(&error) => match other.behind(last) {
                        (next, false) => last = next,
                        (_, true) => break,
                    },
                    Ok(()) => {}
                    Err(_) => break,
                }
            }
            transaction.commit().map(|()| copied)
        })?;
        (self.last, self.is_read, self.was_killed) = (other.last, other.is_read, other.was_killed);
        self.in_hand = copied;
        Ok(other.in_hand.len() - self.in_hand.len())
    }

    /// The project whose records these are.
    pub(crate) fn project(&self) -> rusqlite::Result<String> {
        self.ask("SELECT project FROM owner", |row| row.get(0))
    }

    /// How many rows follow, as far as that can be read.
    pub(crate) fn unread(&self) -> u64 {
        let count = "SELECT count(*) FROM records WHERE id > ?";
        self.ask(&count.replace('?', &self.last.to_string()), |row| row.get(0)).unwrap_or(0)
    }

    fn ask<T>(&self, sql: &str, read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let connection = self.connection.as_ref().ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        between_forks(|| connection.query_row(sql, [], read))
    }

    fn rows_after(&self, row: u64, most: usize, most_bytes: usize) -> (Vec<Stored>, rusqlite::Result<()>) {
        let Some(connection) = &self.connection else { return (Vec::new(), Ok(())) };
        between_forks(|| rows_after(connection, row, most, most_bytes))
    }

    /// Reads the next rows: up to so many, and so many bytes, but at least one if there is any. Skips what is
    /// damaged.
    pub(crate) fn read(&mut self, most: usize, most_bytes: usize, rows: &mut Rows) -> rusqlite::Result<()> {
        self.check()?;
        while rows.records.len() < most && rows.bytes < most_bytes && !self.is_read() {
            let (wanted, bytes) = ((most - rows.records.len()).max(FEWEST), most_bytes - rows.bytes);
            let (stored, end) = self.rows_after(self.last, wanted, bytes);
            let is_all = stored.len() < wanted && size(&stored) < bytes;
            let is_rest_taken = self.take(stored, most, (is_all, end.is_ok()), rows);
            match end {
                Ok(()) => self.is_read = is_all && is_rest_taken,
                // Nothing can be removed from a damaged file: what a later look read from it would be delivered twice.
                Err(error) if self.is_damaged || is_damaged(&error) => {
                    self.is_damaged = true;
                    // What is before the damage comes first.
                    if is_rest_taken {
                        let lost = self.jump();
                        self.tell(lost, rows);
                    }
                }
                Err(error) => {
                    self.is_stuck = true;
                    return Err(error);
                }
            }
        }
        if self.is_read && self.is_damaged && !self.is_told {
            // How many there were cannot be known.
            self.tell(1, rows);
        }
        Ok(())
    }

    /// Without a sound structure, rows come twice or not at all, and one is found in another's place.
    fn check(&mut self) -> rusqlite::Result<()> {
        if !self.is_checked {
            match self.ask("PRAGMA quick_check(1)", |row| row.get::<_, String>(0)) {
                Ok(answer) => self.is_damaged |= answer != "ok",
                Err(error) if is_damaged(&error) => self.is_damaged = true,
                Err(error) => {
                    self.is_stuck = true;
                    return Err(error);
                }
            }
            self.is_checked = true;
        }
        Ok(())
    }

    /// What kept it from being read may have passed.
    pub(crate) const fn retry(&mut self) {
        self.is_stuck = false;
    }

    /// Takes the rows that are not damaged, until there are enough; returns whether all were looked at.
    fn take(
        &mut self,
        stored: Vec<Stored>,
        most: usize,
        (is_all, is_sound): (bool, bool),
        rows: &mut Rows,
    ) -> bool {
        let (mut is_new, mut highest) = (false, self.last);
        // The number of a bad one may be wrong: only that of a good one after it tells where to read on.
        let mut bad = Vec::new();
        for row in stored {
            highest = highest.max(u64::try_from(row.id).unwrap_or(0));
            let Some(number) = row.number() else {
                bad.push(row.id);
                continue;
            };
            // A damaged tree can lead to the same rows twice.
            if self.is_damaged && (self.in_hand.contains(&number) || self.over.contains(&number)) {
                continue;
            }
            if rows.records.len() == most {
                return false;
            }
            self.lose(std::mem::take(&mut bad), rows);
            (self.last, is_new) = (number, true);
            self.in_hand.insert(number);
            rows.bytes += row.content.len();
            let batch = self.batches.get(&number).filter(|_| !self.is_damaged).cloned();
            rows.records.push(row.record(self.id(number)).with_batch(batch));
        }
        if is_sound && (is_all || !is_new) {
            self.last = highest;
            self.lose(bad, rows);
        }
        true
    }

    /// Counts damaged rows. In a sound file they are found by their numbers, and removed.
    fn lose(&mut self, bad: Vec<i64>, rows: &mut Rows) {
        self.tell(bad.len() as u64, rows);
        for row in bad {
            match u64::try_from(row) {
                Ok(row) if row >> ROW_BITS == 0 && !self.is_damaged => {
                    self.in_hand.insert(row);
                    rows.useless.push(self.id(row));
                }
                _ => self.is_damaged = true,
            }
        }
    }

    const fn tell(&mut self, lost: u64, rows: &mut Rows) {
        rows.damaged += lost;
        self.is_told |= lost > 0;
    }

    /// Skips the damaged rows that follow; returns how many there may be.
    fn jump(&mut self) -> u64 {
        let (good, is_end) = self.behind(self.last);
        self.is_read = is_end;
        good - std::mem::replace(&mut self.last, good)
    }

    /// Where the rows after this one are damaged: the row after which others can be read, and whether there are none.
    fn behind(&self, row: u64) -> (u64, bool) {
        let is_good = |row: u64| self.rows_after(row, 1, 1).1.is_ok();
        let end = self.ask("SELECT max(id) FROM records", |row| row.get(0)).unwrap_or(row + 1);
        let end = end.min(1 << ROW_BITS);
        let (mut bad, mut good) = (row, row + 1);
        while good < end && !is_good(good) {
            bad = good;
            good = good.saturating_add(good - row).min(end);
        }
        while bad + 1 < good {
            let middle = bad.midpoint(good);
            *(if is_good(middle) { &mut good } else { &mut bad }) = middle;
        }
        // After `end` there is nothing, or nothing that can be read.
        (good, good >= end)
    }

    const fn id(&self, row: u64) -> RecordId {
        RecordId::new(self.number << ROW_BITS | row)
    }

    /// The row of a record, if it is in this file.
    pub(crate) fn row(&self, record: RecordId) -> Option<u64> {
        let row = record.get() & ((1 << ROW_BITS) - 1);
        (record.get() >> ROW_BITS == self.number).then_some(row)
    }

    /// Its work is done: removes the file, unless some of it is unread, or it is damaged and kept for people to see.
    pub(crate) fn finish(mut self) {
        self.close();
        if self.is_stuck {
            return self.leave();
        }
        if self.is_damaged {
            set_aside(&self.path);
        } else {
            remove(&self.path);
        }
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
    }

    /// Removes the file, whatever is in it.
    pub(crate) fn erase(mut self) {
        // Keeps the log from being moved into the file.
        self.is_damaged = true;
        self.close();
        remove(&self.path);
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
    }

    /// This process shuts down cleanly, and has counted what may have arrived.
    pub(crate) fn leave(self) {
        if let Some(lock) = self.lock.as_ref().filter(|_| !self.was_killed && !self.owes) {
            lock.mark_closed();
        }
    }

    fn close(&mut self) {
        between_forks(|| {
            let connection = self.connection.take();
            if let Some(connection) = connection.as_ref().filter(|_| self.is_damaged) {
                let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            }
        });
    }
}

#[cfg(test)]
impl Queue {
    pub(crate) fn survives_power(&self) -> bool {
        const FULL: u8 = 2;
        self.ask("PRAGMA synchronous", |row| row.get(0)).is_ok_and(|synchronous: u8| synchronous == FULL)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// As after a failure that passes.
    pub(crate) const fn fail(&mut self) {
        self.is_stuck = true;
    }

    /// As on a full disk.
    pub(crate) fn refuse_writes(&self, refuses: bool) {
        self.connection.as_ref().unwrap().pragma_update(None, "query_only", refuses).unwrap();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.close();
    }
}

/// Keeps a damaged file and its log beside the others, where nobody adopts it.
pub(crate) fn set_aside(path: &Path) {
    for (end, aside) in [("db", "damaged"), ("db-wal", "damaged-wal")] {
        let _ = std::fs::rename(path.with_extension(end), path.with_extension(aside));
    }
    remove(path);
}

/// Removes a file and what SQLite has put beside it.
pub(crate) fn remove(path: &Path) {
    for end in PARTS {
        let _ = std::fs::remove_file(path.with_extension(end));
    }
}

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// SQLite's file system without locks, for files that are locked here: in a forked child it takes the locks of the
/// parent's connections for its own, even when the parent is gone.
const UNLOCKED: &str = if cfg!(unix) { "unix-none" } else { "win32" };

fn connect(
    mut connection: Connection,
    durability: Durability,
    may_write: bool,
) -> rusqlite::Result<Connection> {
    connection.busy_timeout(Duration::ZERO)?;
    // Nobody else uses the file, so there is no need for shared memory beside it.
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    let synchronous = match durability {
        Durability::Process => "off",
        Durability::Power => "full",
    };
    // First, as the change to a log waits for the disk otherwise, which can take a second.
    connection.pragma_update(None, "synchronous", synchronous)?;
    // A file that is not ours is left as it is.
    if version(&connection, APPLICATION, VERSIONS)?.is_none() {
        return Err(rusqlite::Error::InvalidQuery);
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A log that was moved into the file keeps no frames after its first group, where they would hide damage.
    connection.pragma_update(None, "journal_size_limit", 0)?;
    if may_write && !migrate(&mut connection, APPLICATION, VERSIONS)? {
        return Err(rusqlite::Error::InvalidQuery);
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use convert_sdk::ports::RecordKind;

    use super::*;

    /// A path for a file, in a directory that is removed when the test ends.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("convert-sqlite-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            Self(directory.join("1.db"))
        }

        fn create(&self) -> rusqlite::Result<Queue> {
            std::fs::write(&self.0, "").unwrap();
            let lock = Lock::create(&self.0.with_extension("lock")).unwrap().unwrap();
            Queue::create(lock, self.0.clone(), 1, "1/2", Durability::Process, 1 << 20)
        }

        fn left(&self) -> Queue {
            let lock = Lock::of_the_gone(&self.0.with_extension("lock")).unwrap().unwrap();
            Queue::left(lock, self.0.clone(), 1).ok().unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
        }
    }

    #[test]
    fn a_file_that_cannot_be_made_leaves_nothing_behind() {
        let place = Place::new("made");
        // The name of the log is taken.
        std::fs::create_dir_all(place.0.with_extension("db-wal")).unwrap();
        assert!(place.create().is_err());
        assert_eq!(["db", "lock"].map(|end| place.0.with_extension(end).exists()), [false, false]);
    }

    #[test]
    fn what_replaces_a_damaged_file_has_what_is_behind_the_damage() {
        let place = Place::new("replaced");
        let content = "x".repeat(200);
        let record = OutboxRecord::new(RecordKind::Exposure, SystemTime::now(), content.as_bytes());
        place.create().unwrap().write(&[record; 3_000]).unwrap();
        let mut bytes = std::fs::read(&place.0).unwrap();
        // One in the middle, which is no inner one.
        let page = (bytes.len() / 8_192..).map(|page| page * 4_096).find(|at| bytes[*at] == 13).unwrap();
        bytes[page..page + 4_096].fill(0xa5);
        std::fs::write(&place.0, bytes).unwrap();
        let mut bad = place.left();
        (bad.in_hand, bad.last) = ((1..=3_000).filter(|row| row % 2 == 0).collect(), 3_000);
        let other = Place(place.0.with_file_name("other.db"));
        let mut new = other.create().unwrap();
        let missed = new.replace(&bad).unwrap();
        assert!((1..20).contains(&missed), "{missed}");
        assert_eq!(new.in_hand.len() + missed, 1_500);
        assert_eq!((new.in_hand.first(), new.in_hand.last()), (Some(&2), Some(&3_000)));
        let stored = new.rows_after(0, 3_000, usize::MAX).0;
        assert_eq!(stored.iter().filter_map(Stored::number).collect::<BTreeSet<_>>(), new.in_hand);
    }

    #[test]
    fn a_file_that_cannot_be_read_now_is_left_to_the_next() {
        let place = Place::new("stuck");
        let record = OutboxRecord::new(RecordKind::Exposure, SystemTime::now(), b"{}");
        place.create().unwrap().write(&[record; 10]).unwrap();
        // Another connection has the lock, which passes.
        let other = place.0.with_extension("other");
        let holder = Connection::open(&other).unwrap();
        holder.execute_batch("BEGIN EXCLUSIVE; CREATE TABLE records (id)").unwrap();
        let refused = || {
            let refused = Connection::open(&other).unwrap();
            refused.busy_timeout(Duration::ZERO).unwrap();
            Some(refused)
        };
        for is_checked in [false, true] {
            let mut file = place.left();
            file.is_checked = is_checked;
            let mut rows = Rows::default();
            let good = std::mem::replace(&mut file.connection, refused());
            assert!(file.read(10, usize::MAX, &mut rows).is_err());
            file.connection = good;
            file.retry();
            file.read(3, usize::MAX, &mut rows).unwrap();
            assert_eq!((rows.records.len(), file.is_checked), (3, true), "a later look");
            file.in_hand.clear();
            file.connection = refused();
            assert!(file.read(10, usize::MAX, &mut rows).is_err());
            assert!(file.is_over(), "nobody waits for it");
            file.over.insert(1);
            assert!(!file.is_over(), "the next one would deliver it again");
            file.over.clear();
            file.finish();
        }
        let mut rows = Rows::default();
        let mut file = place.left();
        file.read(10, usize::MAX, &mut rows).unwrap();
        assert_eq!((rows.records.len(), rows.damaged), (10, 0));
        (file.last, file.is_read, file.is_damaged) = (5, false, true);
        file.connection = refused();
        file.read(20, usize::MAX, &mut rows).unwrap();
        assert_eq!((file.is_read, file.is_stuck, rows.damaged), (true, false, 1), "a damaged one ends there");
    }
}
