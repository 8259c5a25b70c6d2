//! The power fails at every step of an outbox, under which a disk loses what was not synced: a program that starts
//! itself. Nothing that was confirmed may be lost with `Durability::Power`; with `Durability::Process` it may.
#![cfg_attr(
    unix,
    expect(clippy::unwrap_used, reason = "a process that cannot go on must fail where it stands")
)]

#[cfg(unix)]
mod disk;
#[cfg(unix)]
#[path = "../support/folder.rs"]
mod folder;

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("worker", settings)) => worker::run(settings),
        _ => judge::run(),
    }
}

#[cfg(unix)]
mod worker {
    //! A process whose power fails. It says which group it has finished as soon as that is confirmed.

    use std::time::SystemTime;

    use convert_sdk::ports::{Outbox as _, OutboxRecord, RecordId, RecordKind};
    use convert_sdk_sqlite::{Durability, SqliteOutbox};

    use crate::disk::{self, Failure};

    pub(crate) const PROJECT: &str = "1/2";
    /// More records and bytes than there are.
    pub(crate) const ALL: usize = 1 << 30;
    /// Groups of records are on disk for as long as it takes to write this many others.
    pub(crate) const KEPT: usize = 3;

    /// What there is to write: how many groups, of how many records, of how many bytes.
    #[derive(Clone, Copy)]
    pub(crate) struct Work {
        pub(crate) groups: usize,
        pub(crate) records: usize,
        pub(crate) bytes: usize,
    }

    impl Work {
        /// The content of a record, as text.
        pub(crate) fn content(self, group: usize) -> String {
            format!("{group} {}", "x".repeat(self.bytes))
        }
    }

    pub(crate) fn run(settings: &[String]) {
        let [role, directory, durability, at, seed, groups, records, bytes] = settings else { return };
        let number = |text: &String| text.parse::<usize>().unwrap();
        disk::install(Failure { at: at.parse().unwrap(), seed: seed.parse().unwrap() });
        let durability = if durability == "power" { Durability::Power } else { Durability::Process };
        let outbox = SqliteOutbox::builder(directory).durability(durability).build().unwrap();
        let work = Work { groups: number(groups), records: number(records), bytes: number(bytes) };
        match role.as_str() {
            "writes" => writes(&outbox, work),
            _ => adopts(&outbox),
        }
        println!("operations {}", disk::operations());
        // Without an orderly end.
        std::process::exit(0);
    }

    fn writes(outbox: &SqliteOutbox, work: Work) {
        let mut file = outbox.begin(PROJECT).unwrap();
        let mut kept: Vec<Vec<RecordId>> = Vec::new();
        for group in 0..work.groups {
            let content = work.content(group);
            let record = OutboxRecord::new(RecordKind::Conversion, SystemTime::now(), content.as_bytes());
            let removed = if group < KEPT { &[] } else { &*kept[group - KEPT] };
            kept.push(file.write(removed, &vec![record; work.records]).unwrap());
            println!("finished {group}");
        }
    }

    /// Removes one group after the other.
    fn adopts(outbox: &SqliteOutbox) {
        let mut file = outbox.begin(PROJECT).unwrap();
        let adopted = file.adopt(ALL, ALL).unwrap();
        let group = |content: &[u8]| content.split(|byte| *byte == b' ').next().map(<[u8]>::to_vec);
        let groups = adopted.records.chunk_by(|one, next| group(&one.content) == group(&next.content));
        for (number, group) in groups.enumerate() {
            let ids: Vec<RecordId> = group.iter().map(|record| record.id).collect();
            file.write(&ids, &[]).unwrap();
            println!("finished {number}");
        }
    }
}

#[cfg(unix)]
mod judge {
    //! Lets the power fail at every step, and compares what is left with what was confirmed.

    use std::collections::BTreeMap;
    use std::path::Path;
    use std::process::Command;

    use convert_sdk::ports::Outbox as _;
    use convert_sdk_sqlite::SqliteOutbox;

    use crate::folder::Folder;
    use crate::worker::{ALL, KEPT, PROJECT, Work};

    const SMALL: Work = Work { groups: 5, records: 3, bytes: 200 };
    /// More than a log holds, which has to be moved to its file meanwhile.
    const LARGE: Work = Work { groups: 5, records: 30, bytes: 40_000 };
    const NEVER: u64 = u64::MAX;
    /// The most failures of one kind; more steps are tried evenly.
    const MOST: u64 = 40;

    /// Which groups are there, and with how many records.
    type Left = BTreeMap<usize, usize>;

    /// What a worker has said.
    struct Said {
        finished: usize,
        operations: u64,
    }

    fn work(role: &str, directory: &Path, durability: &str, (at, seed): (u64, u64), work: Work) -> Said {
        let numbers = [work.groups, work.records, work.bytes].map(|number| number.to_string());
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "worker",
                role,
                directory.to_str().unwrap(),
                durability,
                &at.to_string(),
                &seed.to_string(),
            ])
            .args(numbers)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let operations = said.lines().find_map(|line| line.strip_prefix("operations "));
        let failed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), operations.is_some(), "{failed}");
        assert!(failed.is_empty(), "{failed}");
        Said {
            finished: said.lines().filter(|line| line.starts_with("finished")).count(),
            operations: operations.map_or(0, |number| number.parse().unwrap()),
        }
    }

    fn left(directory: &Path) -> Left {
        let outbox = SqliteOutbox::open(directory).unwrap();
        let adopted = outbox.begin(PROJECT).unwrap().adopt(ALL, ALL).unwrap();
        let mut left = Left::new();
        for record in adopted.records {
            let group = record.content.split(|byte| *byte == b' ').next().unwrap();
            *left.entry(std::str::from_utf8(group).unwrap().parse().unwrap()).or_default() += 1;
        }
        left
    }

    /// What is there once so many groups are written.
    fn written(work: Work, finished: usize) -> Left {
        (finished.saturating_sub(KEPT)..finished).map(|group| (group, work.records)).collect()
    }

    /// Some of the steps, with all that was not synced lost, and with a part of it.
    fn failures(operations: u64) -> impl Iterator<Item = (u64, u64)> {
        let steps = (1..=operations).step_by(operations.div_ceil(MOST).try_into().unwrap());
        steps.flat_map(|at| [(at, 0), (at, at)])
    }

    /// Returns in how many of the failures something was lost, and of how many.
    fn lost_by_writers(durability: &str, load: Work) -> (usize, usize) {
        let whole = work("writes", &Folder::new(), durability, (NEVER, 0), load);
        assert_eq!(whole.finished, load.groups);
        let (mut bad, mut all) = (0, 0);
        for failure in failures(whole.operations) {
            let directory = Folder::new();
            let finished = work("writes", &directory, durability, failure, load).finished;
            let left = left(&directory);
            // The group in progress is there as a whole or not at all.
            bad += usize::from(![finished, finished + 1].map(|it| written(load, it)).contains(&left));
            all += 1;
        }
        (bad, all)
    }

    /// The same for a process that takes over what another has left.
    fn lost_by_adopters(durability: &str, load: Work) -> (usize, usize) {
        let source = Folder::new();
        work("writes", &source, durability, (NEVER, 0), load);
        let copy = || {
            let directory = Folder::new();
            for entry in std::fs::read_dir(&*source).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), directory.join(entry.file_name())).unwrap();
            }
            directory
        };
        let whole = work("adopts", &copy(), durability, (NEVER, 0), load);
        assert_eq!(whole.finished, KEPT);
        let (mut bad, mut all) = (0, 0);
        for failure in failures(whole.operations) {
            let directory = copy();
            let finished = work("adopts", &directory, durability, failure, load).finished;
            let left = left(&directory);
            let after =
                |removed: usize| written(load, load.groups).into_iter().skip(removed).collect::<Left>();
            bad += usize::from(![finished, finished + 1].map(after).contains(&left));
            all += 1;
        }
        (bad, all)
    }

    pub(crate) fn run() {
        for (load, name) in [(SMALL, "small groups"), (LARGE, "large groups")] {
            for durability in ["power", "process"] {
                let writers = lost_by_writers(durability, load);
                let adopters = lost_by_adopters(durability, load);
                println!(
                    "{name}, {durability}: of {} power failures while writing {} lost something confirmed, of {} while \
                     adopting {}",
                    writers.1, writers.0, adopters.1, adopters.0
                );
                // Whatever its setting, an heir keeps what another process has promised.
                assert_eq!(adopters.0, 0, "a record that was taken over is lost");
                if durability == "power" {
                    assert_eq!(writers.0, 0, "a confirmed record is lost");
                } else {
                    assert!(writers.0 > 0, "the disk loses nothing");
                }
            }
        }
    }
}
