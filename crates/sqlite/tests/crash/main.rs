//! Processes that are killed, and what becomes of what they had accepted: a program that starts itself.
#![cfg_attr(
    unix,
    expect(
        clippy::unwrap_used,
        clippy::panic,
        unsafe_code,
        reason = "a process that cannot go on must fail where it stands; forks are unsafe"
    )
)]

#[cfg(unix)]
#[path = "../support/folder.rs"]
mod folder;
#[cfg(unix)]
#[path = "../support/forked.rs"]
#[expect(dead_code, reason = "no child of this program ends by itself")]
mod forked;
#[cfg(unix)]
mod host;
#[cfg(unix)]
mod worker;

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, track, authority, directory, lanes, rest @ ..] = &arguments[..] else { return judge::run() };
    let has_ids = [judge::UNANSWERED, judge::RESUMED].contains(&&**role);
    let core = worker::core(track, authority, directory, lanes, has_ids);
    match rest {
        [words, kills, seed] if role == judge::HOST => {
            host::run(&core, words.as_ref(), kills.parse().unwrap(), seed.parse().unwrap());
        }
        _ if role == judge::UNANSWERED => worker::wait(&core),
        _ => worker::drain(&core, directory.as_ref()),
    }
}

#[cfg(unix)]
mod judge {
    //! Has workers killed, and compares what they said with what the collector has.

    use std::collections::{HashMap, HashSet};
    use std::io::{BufRead as _, BufReader};
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use convert_emulator::{Emulator, Fault, FaultKind, Project, Received, RouteKind};
    use convert_sdk::http::BATCH_ID;

    use crate::folder::Folder;
    use crate::host::WORKERS;
    use crate::worker::{PATIENCE, RECORDS};

    pub(crate) const HOST: &str = "host";
    /// Sends what it records and what others have left, and gets no answer.
    pub(crate) const UNANSWERED: &str = "unanswered";
    /// Delivers what these have left.
    pub(crate) const RESUMED: &str = "resumed";
    const KILLED: usize = 3;
    /// Within which the outbox means to have written what was accepted.
    const LAST_MOMENTS: u64 = 10_000;

    /// What a worker has said.
    #[derive(Default)]
    struct Said {
        /// When each conversion was recorded.
        accepted: Vec<u64>,
        /// How many of them are on disk.
        kept: usize,
        /// How many the outbox has missed, as the ledger tells.
        missed: usize,
    }

    /// What the judge found out.
    #[derive(Default, Debug)]
    struct Tally {
        killed: usize,
        killed_before_anything_was_kept: usize,
        accepted: usize,
        kept: usize,
        arrived: usize,
        /// On disk, and not there.
        lost: usize,
        /// The outbox was late or failed, as the workers' ledgers tell.
        missed: usize,
        accepted_in_the_last_10_ms: usize,
        /// Of these, not there, which nobody had confirmed.
        lost_of_the_last_10_ms: usize,
        lost_earlier_and_not_confirmed: usize,
        oldest_lost: Duration,
        events_repeated: usize,
        requests_repeated: usize,
    }

    pub(crate) fn run() {
        let given = |name, or| std::env::var(name).map_or(or, |given: String| given.parse().unwrap());
        let (kills, seed) = (given("KILL_STORM_KILLS", 8_u64), given("KILL_STORM_SEED", 1));
        for lanes in [1, 2] {
            storm(kills.div_ceil(2), lanes, seed);
        }
        killed_without_an_answer();
    }

    fn command(emulator: &Emulator, role: &str, folder: &Path, lanes: usize) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([role, &*emulator.track_url(), &*emulator.ca_pem()]).arg(folder).arg(lanes.to_string());
        command.stderr(Stdio::inherit());
        command
    }

    /// Processes are killed one after another while the answer to their requests is withheld: an endpoint that takes a
    /// batch once for each id has each record once.
    fn killed_without_an_answer() {
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        let folder = Folder::new();
        emulator.inject(Fault::track(FaultKind::Hang));
        for _ in 0..KILLED {
            let sent = emulator.received().requests.len() as u64;
            let mut child =
                command(&emulator, UNANSWERED, &folder, 1).stdout(Stdio::piped()).spawn().unwrap();
            let mut word = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut word).unwrap();
            assert_eq!(word, "kept\n");
            emulator.wait_for_requests(sent + 1, PATIENCE).unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
        }
        emulator.clear_faults();
        assert!(command(&emulator, RESUMED, &folder, 1).status().unwrap().success());
        let received = emulator.received();
        let (mut batches, mut taken) = (HashMap::new(), HashMap::<String, usize>::new());
        for request in received.requests_on(RouteKind::Track) {
            let id = request.header(BATCH_ID).unwrap();
            let known = batches.entry(id).or_insert(&request.body);
            assert_eq!(*known, &request.body, "{id} names two batches");
        }
        for body in batches.values() {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            for visitor in body["visitors"].as_array().unwrap() {
                let name = visitor["visitorId"].as_str().unwrap();
                *taken.entry(name.to_owned()).or_default() += visitor["events"].as_array().unwrap().len();
            }
        }
        let requests = received.requests_on(RouteKind::Track).count();
        println!("{requests} requests with {} ids: {} conversions", batches.len(), taken.len());
        assert!(taken.len() == KILLED * RECORDS && taken.values().all(|times| *times == 1), "{taken:?}");
        assert!(batches.len() < requests, "some have come again");
    }

    fn storm(kills: u64, lanes: usize, seed: u64) {
        let emulator =
            Emulator::builder().project(Project::demo()).request_history(usize::MAX).start().unwrap();
        let (folder, words) = (Folder::new(), Folder::new());
        let command = |role: &str| command(&emulator, role, &folder, lanes);
        let mut host = command(HOST);
        let host = host.arg(&*words).args([kills, seed].map(|number| number.to_string())).output().unwrap();
        assert!(host.status.success(), "the host or one of its workers has failed");
        assert!(command("drain").status().unwrap().success(), "the last process has failed");
        let tally = judge(&emulator.received(), &words, &String::from_utf8(host.stdout).unwrap(), lanes);
        println!("{kills} kills under load, then {WORKERS} at the end, {lanes} lanes: {tally:#?}");
        assert_eq!(tally.killed, kills as usize + WORKERS);
        assert!(tally.killed_before_anything_was_kept < tally.killed, "nobody did anything");
        let left = std::fs::read_dir(&*folder).unwrap().count();
        assert_eq!(left, 0, "files are left behind");
    }

    fn judge(received: &Received, words: &Path, host: &str, lanes: usize) -> Tally {
        let mut tally = Tally::default();
        let mut carried: HashMap<&str, Vec<u64>> = HashMap::new();
        for event in &received.events {
            carried.entry(&event.visitor_id).or_default().push(event.request);
        }
        for line in host.lines() {
            let parts: Vec<&str> = line.split(' ').collect();
            match parts[..] {
                ["killed", name, at] => {
                    let said = Said::read(&words.join(name));
                    tally.add(name, &said, at.parse().unwrap(), &carried);
                }
                ["recorded", number] => {
                    for number in 1..=number.parse().unwrap() {
                        let times = carried.get(&*format!("host-{number}")).map_or(0, Vec::len);
                        assert_eq!(times, 1, "of {number}, which the host has recorded");
                    }
                }
                _ => panic!("the host says {line:?}"),
            }
        }
        tally.arrived = carried.len();
        tally.events_repeated = received.events.len() - carried.len();
        tally.requests_repeated = repeated(received, &carried, lanes).len();
        // An outbox that was late has missed some, which each worker tells; on a disk that keeps up none.
        assert!(tally.lost <= tally.missed, "records were lost that were on disk: {tally:#?}");
        assert!(
            tally.requests_repeated <= tally.killed * lanes,
            "more than a request a lane and kill: {tally:#?}"
        );
        tally
    }

    /// The requests whose events came again. A process is at most a request a lane ahead of what the disk says was
    /// delivered: of the requests that carried the same event, it has sent more than that after one alone.
    fn repeated(received: &Received, carried: &HashMap<&str, Vec<u64>>, lanes: usize) -> HashSet<u64> {
        let mut of_connections: HashMap<u64, Vec<u64>> = HashMap::new();
        for request in &received.requests {
            of_connections.entry(request.connection).or_default().push(request.number);
        }
        let last = |mut all: Vec<u64>| all.split_off(all.len().saturating_sub(lanes));
        let last: HashSet<u64> = of_connections.into_values().flat_map(last).collect();
        let mut repeated = HashSet::new();
        for (visitor, requests) in carried.iter().filter(|(_, requests)| requests.len() > 1) {
            let went_on = requests.iter().filter(|number| !last.contains(number)).count();
            assert!(went_on <= 1, "{visitor} came again from processes that went on: {requests:?}");
            let counts = requests.iter().max_by_key(|number| (!last.contains(number), **number));
            repeated.extend(requests.iter().filter(|number| Some(*number) != counts));
        }
        repeated
    }

    impl Said {
        fn read(words: &Path) -> Self {
            let words = std::fs::read_to_string(words).unwrap();
            let mut said = Self::default();
            // A kill can cut the last line.
            for line in words.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
                match line.split_once(' ').unwrap() {
                    ("accepted", at) => said.accepted.push(at.parse().unwrap()),
                    ("kept", missed) => {
                        (said.kept, said.missed) = (said.accepted.len(), missed.parse().unwrap())
                    }
                    _ => panic!("a worker says {line:?}"),
                }
            }
            said
        }
    }

    impl Tally {
        /// One that was killed.
        fn add(&mut self, name: &str, said: &Said, killed_at: u64, carried: &HashMap<&str, Vec<u64>>) {
            self.killed += 1;
            self.killed_before_anything_was_kept += usize::from(said.kept == 0);
            self.accepted += said.accepted.len();
            self.kept += said.kept;
            self.missed += said.missed;
            let mut lost = 0;
            for (index, at) in said.accepted.iter().enumerate() {
                let age = killed_at.saturating_sub(*at);
                let (is_recent, is_kept) = (age <= LAST_MOMENTS, index < said.kept);
                self.accepted_in_the_last_10_ms += usize::from(is_recent);
                if !carried.contains_key(&*format!("{name}-{}", index + 1)) {
                    lost += usize::from(is_kept);
                    self.lost_of_the_last_10_ms += usize::from(is_recent && !is_kept);
                    self.lost_earlier_and_not_confirmed += usize::from(!is_recent && !is_kept);
                    self.oldest_lost = self.oldest_lost.max(Duration::from_micros(age));
                }
            }
            assert!(lost <= said.missed, "{name} lost {lost} on disk, and has missed {}", said.missed);
            self.lost += lost;
        }
    }
}
