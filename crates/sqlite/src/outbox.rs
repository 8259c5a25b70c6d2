//! The outbox: a directory with one file for each process.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use convert_sdk::ports::{Adopted, Outbox, OutboxError, OutboxFile, OutboxRecord, RecordId};

use crate::file::{OpenError, is_busy, is_damaged, is_trusted, new, reason};
use crate::lock::Lock;
use crate::log;
use crate::queue::{Durability, Queue, remove, set_aside};
use crate::rows::Rows;

/// The most files of others that are open at a time, each with four descriptors.
const MOST_ADOPTED: usize = 64;
/// The most files that a look takes over: those that it finds empty make room for others.
const MOST_TAKEN: usize = 1_024;

/// An [`Outbox`] in a directory, in which each process has a file of its own.
///
/// A process that looks for what others have left recognizes the files whose owners are gone by a lock that ends with
/// its owner, takes them over one by one, and removes them when their events are delivered. A damaged file costs the
/// records in the damaged part, and is kept as `*.damaged`.
///
/// The files contain visitor ids, attributes for reports and goal data, but no key or other secret, and are their
/// owner's alone (0600). The directory belongs on a local disk: file locks do not work over a network.
///
/// ```no_run
/// use convert_sdk::SdkConfig;
/// use convert_sdk_sqlite::SqliteOutbox;
///
/// let outbox = SqliteOutbox::open("/var/lib/shop/outbox")?;
/// let config = SdkConfig::builder().sdk_key("10035569/10034190").outbox(outbox).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SqliteOutbox {
    pub(crate) directory: PathBuf,
    durability: Durability,
    max_bytes: u64,
}

/// The settings of a [`SqliteOutbox`].
#[must_use]
#[derive(Debug, Clone)]
pub struct SqliteOutboxBuilder {
    directory: PathBuf,
    durability: Durability,
    max_bytes: u64,
}

impl SqliteOutbox {
    /// An outbox in this directory, with every setting at its default.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, OpenError> {
        Self::builder(directory).build()
    }

    /// An outbox in this directory, which is created if it is missing, with access for its owner alone.
    pub fn builder(directory: impl Into<PathBuf>) -> SqliteOutboxBuilder {
        let (durability, max_bytes) = (Durability::Process, 256 << 20);
        SqliteOutboxBuilder { directory: directory.into(), durability, max_bytes }
    }

    /// A file for one process.
    fn create(&self, project: &str, number: u64, durability: Durability) -> Result<Queue, OutboxError> {
        let Self { directory, max_bytes, .. } = self;
        let failed = |error: io::Error| OutboxError::new(error.kind().to_string());
        let (path, lock) = loop {
            let path = directory.join(unique(project)).with_extension("db");
            if let Some(lock) = Lock::create(&path.with_extension("lock")).map_err(failed)? {
                break (path, lock);
            }
        };
        if let Err(error) = new().open(&path) {
            remove(&path);
            lock.remove();
            return Err(failed(error));
        }
        Queue::create(lock, path, number, project, durability, *max_bytes).map_err(|error| told(&error))
    }

    /// A new file with what is in hand in a bad one, and what is to be reported of it.
    fn copied(
        &self,
        project: &str,
        bad: &Queue,
        durability: Durability,
    ) -> Result<(Queue, Option<OutboxError>), OutboxError> {
        let mut file = self.create(project, bad.number(), durability)?;
        match file.replace(bad) {
            Ok(missed) => {
                let lost = "records in use are damaged, and are in memory alone";
                Ok((file, (missed > 0).then(|| OutboxError::new(lost))))
            }
            Err(error) => {
                file.finish();
                Err(told(&error))
            }
        }
    }
}

impl SqliteOutboxBuilder {
    /// What a record survives once it is on disk. Default [`Durability::Process`].
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How large the file of a process may get, in bytes, besides some MiB of its log; at least 1. Default 256 MiB.
    /// What finds no room is delivered from memory and counted in
    /// [`Stats::outbox_missed`](convert_sdk::Stats::outbox_missed).
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Checks that the directory can be used; makes no file yet.
    ///
    /// # Errors
    /// The limit is zero, or the directory belongs to another user, others may write to it, or this process may not.
    pub fn build(self) -> Result<SqliteOutbox, OpenError> {
        let Self { directory, durability, max_bytes } = self;
        if max_bytes == 0 {
            return Err(OpenError::Zero("max_bytes"));
        }
        make_directory(&directory, durability).map_err(OpenError::file(&directory))?;
        let directory = fs::canonicalize(&directory).map_err(OpenError::file(&directory))?;
        if !is_trusted(&fs::metadata(&directory).map_err(OpenError::file(&directory))?) {
            return Err(OpenError::Foreign(directory));
        }
        // Only an attempt tells whether files can be made there.
        let probe = Lock::create(&directory.join(unique("probe")).with_extension("lock"));
        let probe = probe.map_err(OpenError::file(&directory))?;
        if let Some(probe) = probe {
            probe.remove();
        }
        Ok(SqliteOutbox { directory, durability, max_bytes })
    }
}

impl Outbox for SqliteOutbox {
    fn begin(&self, project: &str) -> Result<Box<dyn OutboxFile>, OutboxError> {
        Ok(Box::new(Files::new(self.clone(), project)))
    }
}

impl std::fmt::Debug for SqliteOutbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteOutbox")
            .field("durability", &self.durability)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// What one process uses of the directory.
struct Files {
    outbox: SqliteOutbox,
    project: String,
    /// Made with the first record.
    own: Option<Queue>,
    adopted: Vec<Queue>,
    next_number: u64,
    /// A failure that the next look that finds nothing reports.
    untold: Option<OutboxError>,
    /// Files that cannot be taken over, each of which is reported once.
    passed_over: BTreeSet<PathBuf>,
}

impl OutboxFile for Files {
    fn write(
        &mut self,
        removed: &[RecordId],
        new: &[OutboxRecord<'_>],
    ) -> Result<Vec<RecordId>, OutboxError> {
        let answer = self.write_all(removed, new);
        if answer.is_ok() {
            // The caller takes all of these for removed, and will not name them again.
            self.adopted.iter_mut().chain(&mut self.own).for_each(Queue::owe);
        }
        answer
    }

    fn adopt(&mut self, most_records: usize, most_bytes: usize) -> Result<Adopted, OutboxError> {
        // If that fails, the next write reports it.
        let _ = self.renew();
        self.adopted.iter_mut().for_each(Queue::retry);
        let (mut rows, mut killed, mut failure) = (Rows::default(), 0, None);
        let (mut found, mut taken) = (self.left_behind()?.into_iter(), 0);
        while rows.records.len() < most_records && rows.bytes < most_bytes {
            if let Some(file) = self.adopted.iter_mut().find(|file| !file.is_read()) {
                let before = rows.records.len();
                let read = file.read(most_records, most_bytes, &mut rows);
                let useless = std::mem::take(&mut rows.useless);
                file.forget(&useless);
                let removed = file.write(&[]).map(drop);
                // The others can be read all the same, and what was read is in hand.
                failure = failure.or_else(|| read.and(removed).err());
                killed += u64::from(rows.records.len() > before && file.count_killed());
                self.finish();
            } else if self.adopted.len() < MOST_ADOPTED
                && taken < MOST_TAKEN
                && let Some(lock) = found.next()
            {
                let file = self.take_over(&lock, &mut rows);
                taken += usize::from(file.is_some());
                self.adopted.extend(file);
            } else {
                break;
            }
        }
        if let Some(error) = failure {
            self.untold.get_or_insert_with(|| told(&error));
        }
        if rows.records.is_empty()
            && rows.damaged == 0
            && let Some(error) = self.untold.take()
        {
            return Err(error);
        }
        let left = self.adopted.iter().filter(|file| !file.is_read()).map(Queue::unread).sum();
        Ok(Adopted { records: rows.records, damaged: rows.damaged, left, killed })
    }

    /// Each file has its part of a batch: with all of them, the whole is found again.
    fn note(&mut self, batch: &str, records: &[RecordId]) -> Result<(), OutboxError> {
        for file in self.adopted.iter_mut().chain(&mut self.own) {
            let row = |(place, record): (usize, &RecordId)| Some((place, file.row(*record)?));
            let rows: Vec<_> = records.iter().enumerate().filter_map(row).collect();
            if !rows.is_empty() {
                file.note(batch, records.len(), &rows).map_err(|error| told(&error))?;
            }
        }
        Ok(())
    }
}

impl Files {
    fn new(outbox: SqliteOutbox, project: &str) -> Self {
        Self {
            outbox,
            project: project.to_owned(),
            own: None,
            adopted: Vec::new(),
            next_number: 0,
            untold: None,
            passed_over: BTreeSet::new(),
        }
    }

    fn write_all(
        &mut self,
        removed: &[RecordId],
        new: &[OutboxRecord<'_>],
    ) -> Result<Vec<RecordId>, OutboxError> {
        let mut failure = None;
        for file in &mut self.adopted {
            file.forget(removed);
            let written = file.write(&[]);
            // A file with nothing left to deliver is removed as a whole, for which there is always room.
            failure = failure.or(written.err().filter(|_| !file.is_over()));
        }
        let mut failure = failure.map(|error| told(&error));
        self.finish();
        if let Err(error) = self.replace_damaged() {
            failure.get_or_insert(error);
        }
        if let Some(own) = &mut self.own {
            own.forget(removed);
        }
        self.renew()?;
        let own = match &mut self.own {
            Some(own) => own,
            None if new.is_empty() => return failure.map_or(Ok(Vec::new()), Err),
            None => {
                let number = self.number();
                let own = self.outbox.create(&self.project, number, self.outbox.durability)?;
                self.own.insert(own)
            }
        };
        let written = own.write(new);
        if let Some(over) = self.own.take_if(|own| own.is_late() && own.is_empty()) {
            over.finish();
            if new.is_empty() {
                return failure.map_or(Ok(Vec::new()), Err);
            }
        }
        match failure.filter(|_| new.is_empty()) {
            Some(error) => Err(error),
            None => written.map_err(|error| told(&error)),
        }
    }

    /// Nothing can be removed from a damaged file: once all is read, what is not delivered yet moves to a new one.
    fn replace_damaged(&mut self) -> Result<(), OutboxError> {
        let Self { outbox, project, adopted, untold, .. } = self;
        let mut result = Ok(());
        for bad in adopted.iter_mut().filter(|file| file.is_damaged() && file.is_late()) {
            let copied = if bad.is_read() && !bad.is_stuck() {
                outbox.copied(project, bad, Durability::Power)
            } else if bad.owes() {
                continue;
            } else {
                // Reported once: other removals must not wait for this one.
                bad.owe();
                Err(OutboxError::new("SQLITE_CORRUPT"))
            };
            match copied {
                Ok((file, lost)) => {
                    *untold = lost.or(untold.take());
                    std::mem::replace(bad, file).finish();
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Moves to a new file if somebody has removed this process's own, or it is damaged.
    fn renew(&mut self) -> Result<(), OutboxError> {
        let Some(bad) = self.own.as_ref().filter(|own| !own.is_good()) else { return Ok(()) };
        let mut new = None;
        if !bad.is_empty() {
            let (file, lost) = self.outbox.copied(&self.project, bad, self.outbox.durability)?;
            self.untold = lost.or(self.untold.take());
            new = Some(file);
        }
        std::mem::replace(&mut self.own, new).into_iter().for_each(Queue::finish);
        Ok(())
    }

    const fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// The locks of this project's files, also those that somebody has removed.
    fn left_behind(&self) -> Result<Vec<PathBuf>, OutboxError> {
        let failed = |error: io::Error| OutboxError::new(error.kind().to_string());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.outbox.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_one = path
                .extension()
                .is_some_and(|end| ["lock", "db", "db-wal"].iter().any(|known| end == *known));
            if is_one && project_of(&path).is_some_and(|project| project == self.project) {
                found.push(path.with_extension("lock"));
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Takes a file over, if its owner is gone.
    fn take_over(&mut self, path: &Path, rows: &mut Rows) -> Option<Queue> {
        let lock = match Lock::of_the_gone(path) {
            Ok(Some(lock)) => lock,
            // Alive.
            Ok(None) => return None,
            Err(error) => {
                self.pass_over(path, &format!("lock: {}", error.kind()));
                return None;
            }
        };
        let path = path.with_extension("db");
        if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            if log::has_frames(&path.with_extension("db-wal")) {
                set_aside(&path);
                rows.damaged += 1;
            } else {
                // Its owner was gone before it made the file.
                remove(&path);
            }
            lock.remove();
            return None;
        }
        let number = self.number();
        match Queue::left(lock, path.clone(), number) {
            Ok(file) if file.project().is_ok_and(|project| project != self.project) => {
                self.pass_over(&path, "another project");
                None
            }
            Ok(mut file) => {
                file.begin();
                Some(file)
            }
            Err((lock, error)) if is_damaged(&error) => {
                set_aside(&path);
                lock.remove();
                // How many there were cannot be known.
                rows.damaged += 1;
                None
            }
            // Somebody looks at it: not now.
            Err((_, error)) if is_busy(&error) => None,
            Err((_, error)) => {
                let why = match error {
                    rusqlite::Error::InvalidQuery => "another application or a newer version",
                    rusqlite::Error::InvalidPath(_) => "a link, of another user, or without access",
                    error => reason(&error),
                };
                self.pass_over(&path, why);
                None
            }
        }
    }

    /// Others can be taken over all the same.
    fn pass_over(&mut self, path: &Path, why: &str) {
        // One at a time.
        if self.untold.is_none() && self.passed_over.insert(path.to_owned()) {
            self.untold = Some(OutboxError::new(format!("a file is passed over: {why}")));
        }
    }

    /// Removes the files of others whose records are all delivered.
    fn finish(&mut self) {
        self.adopted.extract_if(.., |file| file.is_over()).for_each(Queue::finish);
    }
}

/// A file without records is of no use to anybody.
impl Drop for Files {
    fn drop(&mut self) {
        // What cannot be copied is left where nobody finds it.
        let _ = self.renew();
        if let Some(own) = self.own.take_if(|own| own.is_empty()) {
            own.finish();
        }
        self.own.take().into_iter().chain(self.adopted.drain(..)).for_each(Queue::leave);
    }
}

fn told(error: &rusqlite::Error) -> OutboxError {
    OutboxError::new(reason(error))
}

/// A name that no file has had.
fn unique(project: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{since:x}-{number}", plain(project), std::process::id())
}

/// The project in a name that [`unique`] has made; `None` for any other: its file is somebody else's.
pub(crate) fn project_of(path: &Path) -> Option<String> {
    let mut parts = path.file_stem()?.to_str()?.rsplitn(4, '-');
    let mut is_number = |base| {
        let is_digit = |byte: u8| char::from(byte).is_digit(base) && !byte.is_ascii_uppercase();
        parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(is_digit))
    };
    let is_ours = is_number(10) && is_number(16) && is_number(10);
    let name = parts.next().filter(|_| is_ours)?;
    let mut codes = name.split('_');
    let mut project = codes.next().map(|text| text.replace('-', "/").into_bytes())?;
    for code in codes {
        let (byte, text) = code.split_at_checked(2)?;
        project.push(u8::from_str_radix(byte, 16).ok()?);
        project.extend(text.replace('-', "/").bytes());
    }
    String::from_utf8(project).ok().filter(|project| plain(project) == name)
}

/// A project as a part of a name; characters that projects never have in their ids are written as numbers.
fn plain(project: &str) -> String {
    let mut name = String::with_capacity(project.len());
    for byte in project.bytes() {
        match byte {
            b'/' => name.push('-'),
            b'0'..=b'9' | b'a'..=b'z' => name.push(byte.into()),
            _ => name.push_str(&format!("_{byte:02x}")),
        }
    }
    name
}

fn make_directory(path: &Path, durability: Durability) -> io::Result<()> {
    let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let new: Vec<&Path> = path.ancestors().take_while(is_new).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    // SQLite syncs the directory, but not what makes it a part of the one above.
    if cfg!(unix) && durability == Durability::Power {
        for path in new {
            let above = path.parent().filter(|above| !above.as_os_str().is_empty());
            fs::File::open(above.unwrap_or(Path::new(".")))?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use convert_sdk::ports::RecordKind;

    use super::*;

    const MOST: usize = 1_000;

    fn files(directory: &Path) -> Files {
        Files::new(SqliteOutbox::open(directory).unwrap(), "1/2")
    }

    fn keep(files: &mut Files) -> Vec<RecordId> {
        let record = OutboxRecord::new(RecordKind::Exposure, SystemTime::now(), b"{}");
        files.write(&[], &[record; 10]).unwrap()
    }

    #[test]
    fn a_name_tells_its_project_and_any_other_is_no_name() {
        for project in ["10035569/10034190", "1/2", "1/2-3", "a_b/Ü", "", "/"] {
            let path = PathBuf::from(unique(project)).with_extension("db");
            assert_eq!(project_of(&path).as_deref(), Some(project));
        }
        for other in
            ["Cargo", "orders", "1-2-3", "My-1-2-3", "a.b-1-2-3", "1-x-2-3", "1-2--3", "1-2-AB-3", "_-1-2-3"]
        {
            assert_eq!(project_of(&PathBuf::from(format!("{other}.db"))), None, "{other}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_removed_when_all_is_delivered() {
        let directory = std::env::temp_dir().join(format!("convert-sqlite-full-{}", std::process::id()));
        keep(&mut files(&directory));
        let mut heir = files(&directory);
        let found = heir.adopt(MOST, MOST).unwrap();
        let ids: Vec<_> = found.records.iter().map(|record| record.id).collect();
        assert!(heir.adopted[0].survives_power(), "another setting may have been promised");
        heir.adopted[0].refuse_writes(true);
        for _ in 0..2 {
            assert!(heir.write(&ids[..4], &[]).is_err(), "a successor would deliver them again");
        }
        heir.adopted[0].refuse_writes(false);
        heir.write(&[], &[]).unwrap();
        drop(heir);
        let mut heir = files(&directory);
        let found = heir.adopt(MOST, MOST).unwrap();
        let ids: Vec<_> = found.records.iter().map(|record| record.id).collect();
        assert_eq!(ids.len(), 6, "the removal was tried again");
        heir.adopted[0].refuse_writes(true);
        assert!(heir.write(&ids[..4], &[]).is_err());
        let own = keep(&mut heir);
        heir.own.as_ref().unwrap().refuse_writes(true);
        heir.write(&[&ids, &*own].concat(), &[]).unwrap();
        let left = fs::read_dir(&directory).unwrap().count();
        assert_eq!((left, keep(&mut heir).len()), (0, 10));
        drop(heir);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_fails_beside_records_is_told_later_and_tried_again() {
        let directory = std::env::temp_dir().join(format!("convert-sqlite-beside-{}", std::process::id()));
        let mut writer = files(&directory);
        keep(&mut writer);
        let path = writer.own.as_ref().unwrap().path().to_owned();
        drop(writer);
        let other = rusqlite::Connection::open(path).unwrap();
        other.execute("UPDATE records SET content = 'x' WHERE id = 5", []).unwrap();
        drop(other);
        let mut heir = files(&directory);
        assert_eq!(heir.adopt(1, MOST).unwrap().records.len(), 1);
        heir.adopted[0].fail();
        heir.adopted[0].refuse_writes(true);
        let found = heir.adopt(MOST, MOST).unwrap();
        assert_eq!(
            (found.records.len(), found.damaged),
            (8, 1),
            "read again, but the bad one cannot be removed"
        );
        assert_eq!(heir.adopt(MOST, MOST).unwrap_err().to_string(), "outbox: SQLITE_READONLY");
        assert_eq!(heir.adopt(MOST, MOST).unwrap(), Adopted::default(), "once");
        drop(heir);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_removal_that_fails_and_is_not_told_is_counted_by_the_next() {
        let directory = std::env::temp_dir().join(format!("convert-sqlite-owed-{}", std::process::id()));
        keep(&mut files(&directory));
        for (is_told, killed) in [(true, 0), (false, 1), (true, 0)] {
            let mut heir = files(&directory);
            let found = heir.adopt(MOST, MOST).unwrap();
            heir.adopted[0].refuse_writes(true);
            if is_told {
                heir.write(&[found.records[0].id], &[]).unwrap_err();
            } else {
                let record = OutboxRecord::new(RecordKind::Exposure, SystemTime::now(), b"{}");
                let own = heir.write(&[found.records[0].id], &[record]).unwrap();
                heir.write(&own, &[]).unwrap_err();
            }
            drop(heir);
            let mut next = files(&directory);
            let found = next.adopt(MOST, MOST).unwrap();
            assert_eq!((found.records.len(), found.killed), (10, killed), "{is_told}");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
