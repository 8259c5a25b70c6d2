//! Files of an outbox: written, left behind, damaged, found.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convert_sdk::ports::{Adopted, Outbox, OutboxFile, OutboxRecord, RecordId, RecordKind};
use convert_sdk_sqlite::SqliteOutbox;
use rusqlite::Connection;

use crate::folder::Folder;

pub(crate) const PROJECT: &str = "10035569/10034190";
pub(crate) const MOST: usize = 1_000_000;

pub(crate) fn begin(folder: &Folder) -> Box<dyn OutboxFile> {
    SqliteOutbox::open(&**folder).unwrap().begin(PROJECT).unwrap()
}

/// Keeps records with these numbers as their content.
pub(crate) fn keep(file: &mut dyn OutboxFile, numbers: std::ops::Range<u32>) -> Vec<RecordId> {
    let contents: Vec<String> = numbers.map(|number| format!("{number:>200}")).collect();
    let records: Vec<_> = contents
        .iter()
        .map(|content| OutboxRecord::new(RecordKind::Conversion, at(7), content.as_bytes()))
        .collect();
    file.write(&[], &records).unwrap()
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// What another process finds.
pub(crate) fn adopt(file: &mut dyn OutboxFile) -> Adopted {
    let mut all = Adopted::default();
    loop {
        // Each that is passed over is reported once.
        let some = (0..4).find_map(|_| file.adopt(100, MOST).ok()).unwrap();
        all.damaged += some.damaged;
        all.killed += some.killed;
        if some.records.is_empty() {
            assert_eq!(some.left, 0);
            return all;
        }
        all.records.extend(some.records);
    }
}

pub(crate) fn numbers(adopted: &Adopted) -> Vec<u32> {
    let number = |content: &[u8]| std::str::from_utf8(content).unwrap().trim().parse().unwrap();
    adopted.records.iter().map(|record| number(&record.content)).collect()
}

pub(crate) fn files(folder: &Folder, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(&**folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|extension| extension == end)).collect()
}

/// A file of ten records changed by these statements, as a flipped bit can change it.
pub(crate) fn damage(folder: &Folder, numbers: std::ops::Range<u32>, sql: &str) {
    let known = files(folder, "db");
    keep(&mut *begin(folder), numbers);
    let path = files(folder, "db").into_iter().find(|path| !known.contains(path)).unwrap();
    let file = Connection::open(path).unwrap();
    file.pragma_update(None, "writable_schema", true).unwrap();
    file.execute_batch(sql).unwrap();
}

/// What this directory would be if its processes were killed now.
pub(crate) fn killed(folder: &Path) -> Folder {
    let copy = Folder::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    copy
}
