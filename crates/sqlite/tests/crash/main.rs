//! Processes that are killed, and what becomes of what they had accepted: a program that starts itself.
#![cfg_attr(
    unix,
    expect(clippy::unwrap_used, reason = "a process that cannot go on must fail where it stands")
)]

#[cfg(unix)]
#[path = "../support/folder.rs"]
mod folder;
#[cfg(unix)]
mod worker;

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    match std::env::var(worker::ROLE) {
        Ok(_) => worker::run(),
        Err(_) => judge::run(),
    }
}

#[cfg(unix)]
mod judge {
    //! Kills workers at random moments, and compares what they said with what the collector has.

    use std::collections::HashMap;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Stdio};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use convert_emulator::{Emulator, EventData, Project};

    use crate::folder::Folder;
    use crate::worker;

    const WORKERS: usize = 4;

    /// What a worker has said, line by line: `accepted N` before `kept N` for the same.
    struct Worker {
        child: Child,
        name: String,
        said: Arc<Mutex<Said>>,
        reader: Option<std::thread::JoinHandle<()>>,
    }

    #[derive(Default)]
    struct Said {
        /// How many conversions have been accepted, and how many of them are on disk.
        accepted: u64,
        kept: u64,
        /// How many the outbox has missed, as the ledger tells.
        missed: u64,
    }

    /// What the judge found out.
    #[derive(Default, Debug)]
    struct Tally {
        accepted: u64,
        kept: u64,
        arrived: u64,
        /// Accepted and not on disk when their process was killed, and not there.
        lost_in_the_last_moments: u64,
        /// The outbox was late or failed, as its worker's ledger tells, and not there.
        missed: u64,
        /// On disk, and not there.
        lost: u64,
        twice: u64,
    }

    pub(crate) fn run() {
        let kills = std::env::var("KILL_STORM_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8);
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        let folder = Folder::new();
        let mut seed =
            std::env::var("KILL_STORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut gone = Vec::new();
        let mut number = 0;
        let mut start = || {
            number += 1;
            Worker::start(&emulator, &folder, &format!("w{number}"))
        };
        let mut workers: Vec<Worker> = (0..WORKERS).map(|_| start()).collect();
        while gone.len() < kills {
            let at = (random() % WORKERS as u64) as usize;
            // Not a wait for something to happen: the moment of the kill is the random part.
            std::thread::sleep(Duration::from_micros(random() % 100_000));
            if workers[at].has_said_something() {
                let mut killed = std::mem::replace(&mut workers[at], start());
                killed.kill();
                gone.push(killed);
            }
        }
        let killed = gone.len();
        for mut worker in workers {
            worker.kill();
            gone.push(worker);
        }
        drain(&emulator, &folder);
        let tally = judge(&emulator, &gone);
        println!("{killed} kills under load, then {WORKERS} at the end: {tally:#?}");
        assert_eq!(tally.lost, 0, "records were lost that were on disk");
        // The records of one worker can be in the hands of several who are killed in turn.
        let most = gone.len() as u64 * worker::MOST_A_REQUEST * worker::LANES;
        assert!(tally.twice <= most, "more than a request a lane and kill: {tally:?}");
        assert!(tally.arrived > 0 && tally.kept > 0, "{tally:?}");
        let left = std::fs::read_dir(&*folder).unwrap().count();
        assert_eq!(left, 0, "files are left behind");
    }

    /// One more process delivers what is left.
    fn drain(emulator: &Emulator, folder: &Folder) {
        let status = worker::command(emulator, folder, "drain").status().unwrap();
        assert!(status.success(), "the last worker has failed");
    }

    fn judge(emulator: &Emulator, workers: &[Worker]) -> Tally {
        let mut tally = Tally::default();
        let mut arrived: HashMap<String, u64> = HashMap::new();
        for event in emulator.received().events {
            if matches!(event.event, EventData::Conversion { .. }) {
                *arrived.entry(event.visitor_id).or_default() += 1;
            }
        }
        for worker in workers {
            let said = worker.said.lock().unwrap();
            tally.accepted += said.accepted;
            tally.kept += said.kept;
            for number in 0..said.accepted {
                match arrived.get(&format!("{}-{number}", worker.name)) {
                    None if number < said.kept && said.missed > 0 => tally.missed += 1,
                    None if number < said.kept => tally.lost += 1,
                    None => tally.lost_in_the_last_moments += 1,
                    Some(_) => {}
                }
            }
        }
        for times in arrived.values() {
            tally.arrived += 1;
            tally.twice += times - 1;
        }
        tally
    }

    impl Worker {
        fn start(emulator: &Emulator, folder: &Folder, name: &str) -> Self {
            let mut child = worker::command(emulator, folder, name).stdout(Stdio::piped()).spawn().unwrap();
            let said = Arc::<Mutex<Said>>::default();
            let (lines, heard) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&said));
            let reader = std::thread::spawn(move || {
                for line in lines.lines().map_while(Result::ok) {
                    let mut said = heard.lock().unwrap();
                    match line.split_once(' ') {
                        Some(("accepted", number)) => said.accepted = number.parse().unwrap(),
                        Some(("kept", numbers)) => {
                            let (kept, missed) = numbers.split_once(' ').unwrap();
                            (said.kept, said.missed) = (kept.parse().unwrap(), missed.parse().unwrap());
                        }
                        _ => {}
                    }
                }
            });
            Self { child, name: name.to_owned(), said, reader: Some(reader) }
        }

        fn has_said_something(&self) -> bool {
            let until = Instant::now() + Duration::from_secs(60);
            while self.said.lock().unwrap().kept == 0 {
                assert!(Instant::now() < until, "a worker does nothing");
                std::thread::yield_now();
            }
            true
        }

        /// SIGKILL; then hears what it has said before.
        fn kill(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            self.reader.take().unwrap().join().unwrap();
        }
    }

    impl Drop for Worker {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
