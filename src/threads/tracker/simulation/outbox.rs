//! The simulated disk that processes share, and the outbox actor of each: the real one, without its thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender};

use super::Bug;
use crate::caught::PanicGuard;
use crate::engine::{BatchId, Moment, OutboxRequests, TrackedEvent};
use crate::ports::{
    Adopted, BatchPlace, LeftRecord, Outbox, OutboxError, OutboxFile, OutboxRecord, RecordId,
};
use crate::threads::outbox::{OutboxAnswer, OutboxSettings, OutboxThread, next_group};

/// How a call to the outbox ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiskWay {
    Works,
    Fails,
    /// Not now: the actor does nothing else meanwhile.
    Hangs,
}

/// What is on disk.
#[derive(Default)]
pub(super) struct SimulatedDisk(Mutex<Files>);

#[derive(Default)]
struct Files {
    next_file: u64,
    next_row: u64,
    fails: bool,
    forgets_nothing: bool,
    notes_nothing: bool,
    files: BTreeMap<u64, File>,
}

struct File {
    /// `None` once it is gone.
    owner: Option<usize>,
    rows: BTreeMap<u64, LeftRecord>,
    /// Read by its owner up to here, if that has taken it over.
    read: u64,
}

impl SimulatedDisk {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap()
    }

    /// The calls whose records a process has on disk.
    pub(super) fn calls_of(&self, process: usize) -> BTreeSet<usize> {
        self.calls(|owner| owner == Some(process))
    }

    /// The calls whose records nobody has taken over.
    pub(super) fn left_behind(&self) -> BTreeSet<usize> {
        self.calls(|owner| owner.is_none())
    }

    fn calls(&self, is_meant: impl Fn(Option<usize>) -> bool) -> BTreeSet<usize> {
        let files = self.files();
        let rows =
            files.files.values().filter(|file| is_meant(file.owner)).flat_map(|file| file.rows.values());
        rows.map(call_in).collect()
    }

    /// Whether these calls' records are in one file.
    pub(super) fn has_together(&self, calls: &BTreeSet<usize>) -> bool {
        let files = self.files();
        files.files.values().any(|file| calls.is_subset(&file.rows.values().map(call_in).collect()))
    }

    /// A process has ended, however that was.
    pub(super) fn ends(&self, process: usize) {
        for file in self.files().files.values_mut().filter(|file| file.owner == Some(process)) {
            (file.owner, file.read) = (None, 0);
        }
    }
}

/// The disk as one process sees it.
struct Mount {
    disk: Arc<SimulatedDisk>,
    process: usize,
}

struct Open {
    disk: Arc<SimulatedDisk>,
    process: usize,
    own: u64,
}

impl Outbox for Mount {
    fn begin(&self, project: &str) -> Result<Box<dyn OutboxFile>, OutboxError> {
        assert_eq!(project, "1/2");
        let mut files = self.disk.files();
        files.next_file += 1;
        let own = files.next_file;
        files.files.insert(own, File { owner: Some(self.process), rows: BTreeMap::new(), read: u64::MAX });
        Ok(Box::new(Open { disk: Arc::clone(&self.disk), process: self.process, own }))
    }
}

impl OutboxFile for Open {
    fn write(
        &mut self,
        removed: &[RecordId],
        new: &[OutboxRecord<'_>],
    ) -> Result<Vec<RecordId>, OutboxError> {
        let mut files = self.disk.files();
        if files.fails {
            return Err(OutboxError::new("out of order"));
        }
        if !files.forgets_nothing {
            for file in files.files.values_mut().filter(|file| file.owner == Some(self.process)) {
                removed.iter().for_each(|id| drop(file.rows.remove(&id.get())));
            }
        }
        let mut ids = Vec::new();
        for record in new {
            files.next_row += 1;
            let row = files.next_row;
            let own = files.files.get_mut(&self.own).expect("its file");
            let id = RecordId::new(row);
            own.rows.insert(row, LeftRecord::new(id, record.recorded_at, record.content.to_vec()));
            ids.push(id);
        }
        Ok(ids)
    }

    fn adopt(&mut self, most_records: usize, _: usize) -> Result<Adopted, OutboxError> {
        let mut files = self.disk.files();
        if files.fails {
            return Err(OutboxError::new("out of order"));
        }
        let mut adopted = Adopted::default();
        for file in files.files.values_mut() {
            if file.owner.is_none() && adopted.records.len() < most_records && !file.rows.is_empty() {
                file.owner = Some(self.process);
                adopted.killed += 1;
            }
            if file.owner != Some(self.process) || file.read == u64::MAX {
                continue;
            }
            let most = most_records - adopted.records.len();
            for (row, record) in file.rows.range(file.read + 1..).take(most) {
                file.read = *row;
                adopted.records.push(record.clone());
            }
            adopted.left += file.rows.range(file.read + 1..).count() as u64;
        }
        Ok(adopted)
    }

    fn note(&mut self, batch: &str, records: &[RecordId]) -> Result<(), OutboxError> {
        let mut files = self.disk.files();
        if files.fails {
            return Err(OutboxError::new("out of order"));
        }
        if files.notes_nothing {
            return Ok(());
        }
        let id = Arc::<str>::from(batch);
        for (place, record) in records.iter().enumerate() {
            let mut owned = files.files.values_mut().filter(|file| file.owner == Some(self.process));
            let Some(row) = owned.find_map(|file| file.rows.get_mut(&record.get())) else { continue };
            row.batch = Some(BatchPlace::new(Arc::clone(&id), place, records.len()));
        }
        Ok(())
    }
}

/// The actor of a process.
pub(super) struct OutboxActor {
    disk: Arc<SimulatedDisk>,
    process: usize,
    thread: OutboxThread,
    requests: Receiver<OutboxRequests>,
    hangs: Option<OutboxRequests>,
    noted: BTreeSet<BatchId>,
    answers: Sender<OutboxAnswer>,
    bug: Option<Bug>,
}

impl OutboxActor {
    pub(super) fn new(
        disk: &Arc<SimulatedDisk>,
        process: usize,
        requests: Receiver<OutboxRequests>,
        answers: Sender<OutboxAnswer>,
        bug: Option<Bug>,
    ) -> Self {
        let settings = OutboxSettings {
            outbox: Arc::new(Mount { disk: Arc::clone(disk), process }),
            project: "1/2".to_owned(),
            guard: PanicGuard::default(),
        };
        let thread = OutboxThread::new(settings, answers.clone());
        Self {
            disk: Arc::clone(disk),
            process,
            thread,
            requests,
            hangs: None,
            noted: BTreeSet::new(),
            answers,
            bug,
        }
    }

    /// Whether it has something to do.
    pub(super) fn has_work(&self) -> bool {
        self.hangs.is_some() || !self.requests.is_empty()
    }

    pub(super) fn hangs(&self) -> bool {
        self.hangs.is_some()
    }

    /// Serves the next group of requests, or resumes the one it is stuck in.
    pub(super) fn turn(&mut self, way: DiskWay, now: Moment) {
        let is_new = self.hangs.is_none();
        let waiting = || (!self.requests.is_empty()).then(|| next_group(&self.requests)).flatten();
        let Some(group) = self.hangs.take().or_else(waiting) else { return };
        let is_early = is_new && self.bug == Some(Bug::EarlyKept);
        if let Some(last) = group.saves.last().filter(|_| is_early) {
            let _ = self.answers.send(OutboxAnswer::Saved { through: last.sequence, is_kept: true });
        }
        if way == DiskWay::Hangs || is_early {
            self.hangs = Some(group);
            return;
        }
        let mut files = self.disk.files();
        files.fails = way == DiskWay::Fails;
        files.forgets_nothing = self.bug == Some(Bug::KeptForever);
        files.notes_nothing = self.bug == Some(Bug::UnnotedId);
        drop(files);
        if way == DiskWay::Works {
            self.noted.extend(group.notes.iter().map(|note| note.id));
        }
        self.thread.turn(group, now, SystemTime::UNIX_EPOCH + now.since_origin());
        self.disk.files().fails = false;
    }

    /// Whether it has had the chance to note this id.
    pub(super) fn has_noted(&self, id: BatchId) -> bool {
        self.noted.contains(&id)
    }

    /// The calls whose records are on disk.
    pub(super) fn on_disk(&self) -> BTreeSet<usize> {
        self.disk.calls_of(self.process)
    }

    /// The calls whose records it has just left.
    pub(super) fn left_behind(&self) -> BTreeSet<usize> {
        self.disk.left_behind()
    }

    pub(super) fn disk(&self) -> &SimulatedDisk {
        &self.disk
    }

    /// Its process ends: other processes take over what is there.
    pub(super) fn ends(&self) {
        self.disk.ends(self.process);
    }
}

fn call_in(row: &LeftRecord) -> usize {
    call_of(&TrackedEvent::from_saved(&row.content).expect("a record"))
}

/// The number of the call that a record carries.
pub(super) fn call_of(event: &TrackedEvent) -> usize {
    let number = match event {
        TrackedEvent::Exposure(exposure) => &exposure.variation_id,
        TrackedEvent::Conversion(conversion) => &conversion.bucketing[0].1,
    };
    number.parse().expect("a call's number")
}
