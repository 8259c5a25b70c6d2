//! The table of records: its rows as they are, and how damaged ones are recognized.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convert_sdk::ports::{BatchPlace, LeftRecord, OutboxRecord, RecordId};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, params};

/// Marks the file as one of an outbox: `CVob`.
pub(crate) const APPLICATION: i32 = 0x4356_6f62;

pub(crate) const VERSIONS: &[&str] = &["CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        recorded_at INTEGER NOT NULL, -- in milliseconds since 1970
        checksum INTEGER NOT NULL, -- FNV-1a, 64 bits, of id, kind, recorded_at and content
        content TEXT NOT NULL -- JSON
    ) STRICT;
    CREATE TABLE owner (project TEXT NOT NULL, process INTEGER NOT NULL) STRICT;"];

/// Made with the first note, and no version of its own: who does not know it delivers the records under new ids.
const BATCHES: &str = "CREATE TABLE IF NOT EXISTS batches (
        id TEXT NOT NULL,
        size INTEGER NOT NULL, -- in records
        place INTEGER NOT NULL, -- of the first of these rows, which follow each other
        first INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        checksum INTEGER NOT NULL -- FNV-1a, 64 bits, of first, id, place, size and rows
    ) STRICT";

/// What was read of a file.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) records: Vec<LeftRecord>,
    pub(crate) bytes: usize,
    pub(crate) damaged: u64,
    /// Damaged rows, which are to be removed once they are counted.
    pub(crate) useless: Vec<RecordId>,
}

/// A row as it was found, damaged or not.
pub(crate) struct Stored {
    pub(crate) id: i64,
    kind: Vec<u8>,
    recorded_at: i64,
    checksum: i64,
    pub(crate) content: Vec<u8>,
}

impl Stored {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        // A value of another type is no error: the checksum finds it, and damage costs no more than this record.
        let bytes = |column| row.get_ref(column).map(|value| value.as_bytes().unwrap_or_default().to_vec());
        let number = |column| row.get_ref(column).map(|value| value.as_i64().unwrap_or_default());
        Ok(Self {
            id: number(0)?,
            kind: bytes(1)?,
            recorded_at: number(2)?,
            checksum: number(3)?,
            content: bytes(4)?,
        })
    }

    /// The number of the row, if that is not damaged.
    pub(crate) fn number(&self) -> Option<u64> {
        let is_good = self.checksum == checksum(self.id, &self.kind, self.recorded_at, &self.content);
        u64::try_from(self.id).ok().filter(|_| is_good)
    }

    pub(crate) fn record(self, id: RecordId) -> LeftRecord {
        let since = Duration::from_millis(u64::try_from(self.recorded_at).unwrap_or(0));
        LeftRecord::new(id, UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH), self.content)
    }
}

/// The rows after this one, until there are enough, and why there are no more.
pub(crate) fn rows_after(
    file: &Connection,
    row: u64,
    most: usize,
    most_bytes: usize,
) -> (Vec<Stored>, rusqlite::Result<()>) {
    let (mut stored, mut bytes) = (Vec::new(), 0);
    let end = (|| {
        // In a damaged file, the search for the first may end before it.
        let next = "SELECT id, kind, recorded_at, checksum, content FROM records
            WHERE id > ?1 AND +id > ?1 ORDER BY id LIMIT ?2";
        let mut next = file.prepare_cached(next)?;
        let mut rows = next.query(params![row, most])?;
        while bytes < most_bytes
            && let Some(row) = rows.next()?
        {
            let row = Stored::read(row)?;
            bytes += row.content.len();
            stored.push(row);
        }
        Ok(())
    })();
    (stored, end)
}

pub(crate) fn delete(file: &Connection, rows: &BTreeSet<u64>) -> rusqlite::Result<()> {
    let mut delete = file.prepare_cached("DELETE FROM records WHERE id BETWEEN ? AND ?")?;
    let mut rows = rows.iter().copied().peekable();
    while let Some(first) = rows.next() {
        let mut last = first;
        while let Some(next) = rows.next_if_eq(&(last + 1)) {
            last = next;
        }
        delete.execute([first, last])?;
    }
    Ok(())
}

pub(crate) fn insert(file: &Connection, first: u64, records: &[OutboxRecord<'_>]) -> rusqlite::Result<()> {
    for (row, record) in (first.cast_signed()..).zip(records) {
        let (kind, at) = (record.kind.as_str().as_bytes(), milliseconds(record.recorded_at));
        insert_row(file, row, kind, at, record.content)?;
    }
    Ok(())
}

/// Copies a row under the same number.
pub(crate) fn copy(file: &Connection, row: &Stored) -> rusqlite::Result<()> {
    insert_row(file, row.id, &row.kind, row.recorded_at, &row.content)
}

fn insert_row(file: &Connection, id: i64, kind: &[u8], at: i64, content: &[u8]) -> rusqlite::Result<()> {
    let mut insert = file.prepare_cached("INSERT INTO records VALUES (?, ?, ?, ?, ?)")?;
    let text = |bytes| ToSqlOutput::Borrowed(ValueRef::Text(bytes));
    insert.execute(params![id, text(kind), at, checksum(id, kind, at, content), text(content)])?;
    Ok(())
}

/// The batches that rows are in.
pub(crate) type Batches = BTreeMap<u64, BatchPlace>;

/// Notes that these rows, with their places, are in a batch.
pub(crate) fn note(file: &Connection, id: &str, size: usize, rows: &[(usize, u64)]) -> rusqlite::Result<()> {
    file.execute_batch(BATCHES)?;
    let mut insert = file.prepare_cached("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?)")?;
    let follows = |one: &(usize, u64), next: &(usize, u64)| (one.0 + 1, one.1 + 1) == *next;
    for run in rows.chunk_by(follows) {
        let [(place, first), ..] = run else { continue };
        let sum = note_checksum(id, size, *place, *first, run.len());
        insert.execute(params![id, size, place, first, run.len(), sum])?;
    }
    Ok(())
}

/// Forgets what was noted of these batches.
pub(crate) fn void(file: &Connection, ids: &BTreeSet<Arc<str>>) -> rusqlite::Result<()> {
    ids.iter().try_for_each(|id| {
        file.prepare_cached("DELETE FROM batches WHERE id = ?")?.execute([&**id]).map(drop)
    })
}

/// What is noted in a file, as far as it is not damaged.
pub(crate) fn noted(file: &Connection) -> rusqlite::Result<Batches> {
    let mut noted = Batches::new();
    let mut all = file.prepare("SELECT id, size, place, first, rows, checksum FROM batches")?;
    let mut all = all.query([])?;
    while let Some(run) = all.next()? {
        let (id, size, place): (String, usize, usize) = (run.get(0)?, run.get(1)?, run.get(2)?);
        let (first, rows): (u64, usize) = (run.get(3)?, run.get(4)?);
        if run.get::<_, i64>(5)? == note_checksum(&id, size, place, first, rows) {
            let id = Arc::<str>::from(id);
            let of_run = (first..).zip(place..).take(rows);
            noted.extend(of_run.map(|(row, place)| (row, BatchPlace::new(Arc::clone(&id), place, size))));
        }
    }
    Ok(noted)
}

fn note_checksum(id: &str, size: usize, place: usize, first: u64, rows: usize) -> i64 {
    let others = [size, place, rows].map(|number| (number as u64).to_le_bytes()).concat();
    checksum(first.cast_signed(), id.as_bytes(), 0, &others)
}

pub(crate) fn size(stored: &[Stored]) -> usize {
    stored.iter().map(|row| row.content.len()).sum()
}

fn milliseconds(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

/// FNV-1a, in 64 bits.
fn checksum(id: i64, kind: &[u8], recorded_at: i64, content: &[u8]) -> i64 {
    let numbers = [id.to_le_bytes(), recorded_at.to_le_bytes()];
    let bytes = numbers.iter().flatten().chain(kind).chain(content);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.cast_signed()
}
