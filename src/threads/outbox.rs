//! The outbox's thread: keeps records in groups, removes them in groups, and reads what others have left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::clock::Clock;
use super::worker::Worker;
use crate::caught::PanicGuard;
use crate::engine::{BatchId, Found, Left, Moment, Note, OutboxRequests, Recovered, Saved, TrackedEvent};
use crate::error::StartError;
use crate::ports::{Outbox, OutboxError, OutboxFile, OutboxRecord, RecordId, RecordKind};

/// The most records in a group, so that one that is late costs no more.
const MOST_A_GROUP: usize = 8_192;

pub(crate) struct OutboxSettings {
    pub(crate) outbox: Arc<dyn Outbox>,
    /// `{account}/{project}`.
    pub(crate) project: String,
    pub(crate) guard: PanicGuard,
}

/// What the outbox tells the tracker.
pub(crate) enum OutboxAnswer {
    /// Everything handed over up to this record was written, or could not be.
    Saved { through: u64, is_kept: bool },
    /// What so many deliveries have carried was removed, with what could not be before; or it could not be.
    Removed { deliveries: u64, is_removed: bool },
    /// The ids of the requests up to this attempt were noted, or could not be.
    Noted { through: u64 },
    /// What others have left; `None` if that could not be read.
    Recovered(Option<Recovered>),
}

pub(crate) struct OutboxThread {
    settings: OutboxSettings,
    answers: Sender<OutboxAnswer>,
    file: Option<Box<dyn OutboxFile>>,
    /// What the outbox calls this process's records.
    ids: HashMap<u64, RecordId>,
    /// To be removed, as soon as that works.
    removals: Vec<RecordId>,
    /// To be replaced, as soon as that works.
    changes: HashMap<u64, Saved>,
    /// What others have left of requests of which the rest is still to be read, each with its place.
    partial: BTreeMap<BatchId, Vec<(usize, Found)>>,
    /// It has panicked, so what it says about its records means nothing any more.
    is_broken: bool,
    is_failing: bool,
}

/// Starts the thread; it ends when the sender of requests is dropped, after what was sent.
pub(super) fn start(
    settings: OutboxSettings,
    clock: Clock,
) -> Result<(Sender<OutboxRequests>, Receiver<OutboxAnswer>, Worker), StartError> {
    // Unbounded: the tracker bounds what it hands over and has not been answered.
    let (requests, waiting) = unbounded();
    let (answers_in, answers) = unbounded();
    let mut thread = OutboxThread::new(settings, answers_in);
    let worker = Worker::start("convert-outbox", move || {
        while let Some(group) = next_group(&waiting) {
            thread.turn(group, clock.now(), SystemTime::now());
        }
    })?;
    Ok((requests, answers, worker))
}

/// Waits for a request, and takes what else is there: while a group is written, the next one gathers.
pub(crate) fn next_group(waiting: &Receiver<OutboxRequests>) -> Option<OutboxRequests> {
    let mut group = waiting.recv().ok()?;
    while group.saves.len() < MOST_A_GROUP
        && let Ok(OutboxRequests { saves, changes, forgets, deliveries, notes, adopt }) = waiting.try_recv()
    {
        group.saves.extend(saves);
        group.changes.extend(changes);
        group.forgets.extend(forgets);
        group.deliveries += deliveries;
        group.notes.extend(notes);
        group.adopt = adopt.or(group.adopt);
    }
    Some(group)
}

impl OutboxThread {
    pub(crate) fn new(settings: OutboxSettings, answers: Sender<OutboxAnswer>) -> Self {
        Self {
            settings,
            answers,
            file: None,
            ids: HashMap::new(),
            removals: Vec::new(),
            changes: HashMap::new(),
            partial: BTreeMap::new(),
            is_broken: false,
            is_failing: false,
        }
    }

    /// Serves one group. A tracker that has ended hears no answer.
    pub(crate) fn turn(&mut self, group: OutboxRequests, now: Moment, wall: SystemTime) {
        let OutboxRequests { mut saves, changes, forgets, deliveries, notes, adopt } = group;
        let ends = saves.first().zip(saves.last()).map(|(first, last)| (first.sequence, last.sequence));
        let (mut over, was_behind) = (HashSet::new(), !self.removals.is_empty());
        self.changes.extend(changes.into_iter().map(|changed| (changed.sequence, changed)));
        for left in forgets {
            match left {
                Left::Adopted(id) => self.removals.push(id),
                Left::Own(sequence) if ends.is_some_and(|(first, _)| first <= sequence) => {
                    over.insert(sequence);
                }
                Left::Own(sequence) => {
                    self.changes.remove(&sequence);
                    self.removals.extend(self.ids.remove(&sequence));
                }
            }
        }
        saves.retain(|record| !over.contains(&record.sequence));
        let is_kept = self.write(saves, now, wall).is_some();
        if let Some((_, through)) = ends {
            let _ = self.answers.send(OutboxAnswer::Saved { through, is_kept });
        }
        if deliveries > 0 || was_behind {
            let is_removed = self.removals.is_empty();
            let _ = self.answers.send(OutboxAnswer::Removed { deliveries, is_removed });
        }
        if let Some(through) = notes.last().map(|note| note.attempt) {
            notes.into_iter().for_each(|note| self.note(&note));
            let _ = self.answers.send(OutboxAnswer::Noted { through });
        }
        if let Some((records, bytes)) = adopt {
            let recovered = self.adopt(records, bytes, wall);
            let _ = self.answers.send(OutboxAnswer::Recovered(recovered));
        }
    }

    /// Removes what is over, replaces what has changed, and keeps the others.
    fn write(&mut self, mut saves: Vec<Saved>, now: Moment, wall: SystemTime) -> Option<()> {
        for record in &mut saves {
            if let Some(changed) = self.changes.remove(&record.sequence) {
                *record = changed;
            }
        }
        // Any other one was never written.
        self.changes.retain(|sequence, _| self.ids.contains_key(sequence));
        if saves.is_empty() && self.changes.is_empty() && self.removals.is_empty() {
            return Some(());
        }
        let record = |saved: &Saved| {
            let recorded_at = wall.checked_sub(now - saved.at).unwrap_or(wall);
            (RecordKind::from(saved.event.class()), recorded_at, saved.event.to_saved())
        };
        let contents: Vec<_> = saves.iter().chain(self.changes.values()).map(record).collect();
        let records: Vec<_> =
            contents.iter().map(|(kind, at, content)| OutboxRecord::new(*kind, *at, content)).collect();
        let removals = std::mem::take(&mut self.removals);
        let replaced = self.changes.keys().filter_map(|sequence| self.ids.get(sequence));
        let removed: Vec<_> = removals.iter().chain(replaced).copied().collect();
        let Some(ids) = self.call(|file| file.write(&removed, &records)) else {
            // Where there is no room for the new ones, there may be some after this. What has changed goes along: it is
            // not to be removed without its replacement.
            let changed = records.get(saves.len()..).unwrap_or_default();
            let written =
                (!saves.is_empty()).then(|| self.call(|file| file.write(&removed, changed))).flatten();
            match written.filter(|ids| ids.len() >= changed.len()) {
                Some(ids) => {
                    self.ids.extend(self.changes.keys().copied().zip(ids));
                    self.changes.clear();
                }
                None => self.removals = removals,
            }
            return None;
        };
        if ids.len() < records.len() {
            self.fails(&OutboxError::new("returned too few ids"));
            self.removals = ids;
            return None;
        }
        let sequences = saves.iter().map(|record| record.sequence).chain(self.changes.keys().copied());
        self.ids.extend(sequences.zip(ids));
        self.changes.clear();
        Some(())
    }

    /// Notes what a request carries, unless some of it is not on disk as it is sent: then nobody else could send it again.
    fn note(&mut self, Note { id, records, .. }: &Note) {
        let name = |left: &Left| match left {
            Left::Adopted(id) => Some(*id),
            Left::Own(sequence) if self.changes.contains_key(sequence) => None,
            Left::Own(sequence) => self.ids.get(sequence).copied(),
        };
        if let Some(records) = records.iter().map(name).collect::<Option<Vec<_>>>() {
            self.call(|file| file.note(&id.to_string(), &records));
        }
    }

    fn adopt(&mut self, most_records: usize, most_bytes: usize, wall: SystemTime) -> Option<Recovered> {
        let waiting = |partial: &BTreeMap<_, Vec<_>>| partial.values().map(Vec::len).sum::<usize>();
        let most_records = most_records.saturating_sub(waiting(&self.partial)).max(1);
        let adopted = self.call(|file| file.adopt(most_records, most_bytes))?;
        let mut recovered = Recovered {
            records: Vec::with_capacity(adopted.records.len()),
            batches: Vec::new(),
            damaged: adopted.damaged,
            left: adopted.left,
            killed: adopted.killed,
        };
        let mut others = Vec::new();
        for record in adopted.records {
            match TrackedEvent::from_saved(&record.content) {
                Some(event) => {
                    let age = wall.duration_since(record.recorded_at).unwrap_or_default();
                    let batch = record.batch.and_then(|batch| Some((BatchId::read(&batch.id)?, batch)));
                    let Some((id, batch)) = batch else {
                        others.push((record.id, event, age));
                        continue;
                    };
                    let known = self.partial.entry(id).or_default();
                    known.push((batch.place, (record.id, event, age)));
                    if known.len() == batch.of {
                        let mut whole = self.partial.remove(&id).unwrap_or_default();
                        whole.sort_unstable_by_key(|(place, _)| *place);
                        recovered.batches.push((id, whole.len()));
                        recovered.records.extend(whole.into_iter().map(|(_, found)| found));
                    }
                }
                None => {
                    recovered.damaged += 1;
                    self.removals.push(record.id);
                }
            }
        }
        if recovered.left == 0 {
            // The rest of these is gone, or another process has taken it: what cannot be sent again as it was goes under
            // a new id.
            others.extend(std::mem::take(&mut self.partial).into_values().flatten().map(|(_, found)| found));
        }
        recovered.left += waiting(&self.partial) as u64;
        recovered.records.extend(others);
        Some(recovered)
    }

    /// Calls the outbox, which is begun if it has to be.
    fn call<T>(&mut self, call: impl FnOnce(&mut dyn OutboxFile) -> Result<T, OutboxError>) -> Option<T> {
        const WHAT: &str = "the outbox";
        if self.is_broken {
            return None;
        }
        let Self { settings: OutboxSettings { outbox, project, guard }, file, .. } = self;
        let called = guard.caught(WHAT, || {
            let file = match file {
                Some(file) => file,
                None => file.insert(outbox.begin(project)?),
            };
            call(file.as_mut())
        });
        match called {
            Some(Ok(answer)) => {
                self.is_failing = false;
                Some(answer)
            }
            Some(Err(error)) => {
                self.fails(&error);
                None
            }
            None => {
                self.is_broken = true;
                None
            }
        }
    }

    fn fails(&mut self, error: &OutboxError) {
        if !std::mem::replace(&mut self.is_failing, true) {
            logged!(error, "{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::engine::Exposure;
    use crate::ports::Adopted;

    type Written = Result<Vec<RecordId>, OutboxError>;
    type Write = dyn FnMut(&[RecordId], &[OutboxRecord<'_>]) -> Written + Send;

    /// An outbox whose writes are this.
    #[derive(Clone)]
    struct Fake(Arc<Mutex<Write>>);

    impl Outbox for Fake {
        fn begin(&self, _: &str) -> Result<Box<dyn OutboxFile>, OutboxError> {
            Ok(Box::new(self.clone()))
        }
    }

    impl OutboxFile for Fake {
        fn write(&mut self, removed: &[RecordId], new: &[OutboxRecord<'_>]) -> Written {
            (self.0.lock().unwrap())(removed, new)
        }

        fn adopt(&mut self, _: usize, _: usize) -> Result<Adopted, OutboxError> {
            Ok(Adopted::default())
        }
    }

    fn thread(
        write: impl FnMut(&[RecordId], &[OutboxRecord<'_>]) -> Written + Send + 'static,
    ) -> (OutboxThread, Receiver<OutboxAnswer>) {
        let (answers_in, answers) = unbounded();
        let settings = OutboxSettings {
            outbox: Arc::new(Fake(Arc::new(Mutex::new(write)))),
            project: "1/2".to_owned(),
            guard: PanicGuard::default(),
        };
        (OutboxThread::new(settings, answers_in), answers)
    }

    impl OutboxThread {
        fn serve(&mut self, group: OutboxRequests) {
            self.turn(group, Moment::default(), SystemTime::now());
        }
    }

    #[test]
    fn a_removal_that_fails_is_told_and_tried_again() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let called = Arc::clone(&calls);
        // Removes nothing at first.
        let (mut thread, answers) = thread(move |removed, _| {
            let mut calls = called.lock().unwrap();
            calls.push(removed.to_vec());
            if calls.len() < 3 { Err(OutboxError::new("full")) } else { Ok(Vec::new()) }
        });
        let mut turn = |forgets: &[u64], adopt| {
            let forgets: Vec<_> = forgets.iter().map(|id| Left::Adopted(RecordId::new(*id))).collect();
            let deliveries = forgets.len() as u64;
            thread.serve(OutboxRequests { forgets, deliveries, adopt, ..OutboxRequests::default() });
            answers.try_iter().find_map(|answer| match answer {
                OutboxAnswer::Removed { deliveries, is_removed } => Some((deliveries, is_removed)),
                _ => None,
            })
        };
        assert_eq!(turn(&[7], None), Some((1, false)));
        assert_eq!(turn(&[8], None), Some((1, false)));
        // At the next look for what others have left, at the latest.
        assert_eq!(turn(&[], Some((1, 1))), Some((0, true)));
        assert_eq!(turn(&[], Some((1, 1))), None);
        let [seven, eight] = [7, 8].map(RecordId::new);
        assert_eq!(*calls.lock().unwrap(), [vec![seven], vec![seven, eight], vec![seven, eight]]);
    }

    fn exposure(sequence: u64, variation: &str) -> Saved {
        let event = TrackedEvent::Exposure(Exposure {
            visitor_id: "v".into(),
            experience_id: "1".into(),
            variation_id: variation.into(),
            segments: Default::default(),
        });
        Saved { sequence, event, at: Moment::default() }
    }

    /// What is there, in order.
    #[derive(Clone, Default)]
    struct Rows(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

    impl Rows {
        fn write(&self, removed: &[RecordId], new: &[OutboxRecord<'_>]) -> Written {
            let mut rows = self.0.lock().unwrap();
            removed.iter().for_each(|id| drop(rows.remove(&id.get())));
            let insert = |record: &OutboxRecord<'_>| {
                let id = rows.last_key_value().map_or(1, |(last, _)| last + 1);
                rows.insert(id, record.content.to_vec());
                RecordId::new(id)
            };
            Ok(new.iter().map(insert).collect())
        }

        fn variations(&self) -> Vec<String> {
            let variation = |row: &Vec<u8>| match TrackedEvent::from_saved(row) {
                Some(TrackedEvent::Exposure(exposure)) => exposure.variation_id.to_string(),
                _ => panic!("an exposure"),
            };
            self.0.lock().unwrap().values().map(variation).collect()
        }
    }

    #[test]
    fn a_record_that_has_changed_replaces_what_is_on_disk() {
        let rows = Rows::default();
        let written = rows.clone();
        let (mut thread, _answers) = thread(move |removed, new| written.write(removed, new));
        let mut turn = |saves, changes, forgets| {
            thread.serve(OutboxRequests { saves, changes, forgets, ..OutboxRequests::default() });
            rows.variations()
        };
        // In the group that writes it, and in a later one.
        let saves = vec![exposure(0, "a"), exposure(1, "b")];
        assert_eq!(turn(saves, vec![exposure(1, "c")], vec![]), ["a", "c"]);
        assert_eq!(turn(vec![exposure(2, "d")], vec![exposure(0, "e")], vec![]), ["c", "d", "e"]);
        // One that is over, and one that was never there.
        let changes = vec![exposure(1, "f"), exposure(9, "g")];
        assert_eq!(turn(vec![], changes, vec![Left::Own(1)]), ["d", "e"]);
        assert_eq!(turn(vec![], vec![], vec![Left::Own(0), Left::Own(2)]), [""; 0]);
    }

    #[test]
    fn what_has_changed_is_not_removed_without_its_replacement() {
        let rows = Rows::default();
        let (written, mut due) = (rows.clone(), Vec::new());
        // Has no room for more than one record; what is to be removed stays due until a group is written.
        let (mut thread, _answers) = thread(move |removed, new| {
            due.extend(removed);
            if new.len() > 1 {
                return Err(OutboxError::new("full"));
            }
            written.write(&std::mem::take(&mut due), new)
        });
        let mut turn = |saves, changes| {
            thread.serve(OutboxRequests { saves, changes, ..OutboxRequests::default() });
            rows.variations()
        };
        assert_eq!(turn(vec![exposure(0, "a")], vec![]), ["a"]);
        assert_eq!(turn(vec![exposure(1, "b"), exposure(2, "c")], vec![exposure(0, "d")]), ["d"]);
    }
}
