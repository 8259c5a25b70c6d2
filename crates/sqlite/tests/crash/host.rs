//! A pre-fork host: it has a core of its own, which its workers inherit, and kills them at random moments.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use convert_sdk::Core;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::forked::child;
use crate::worker::{self, PATIENCE};

pub(crate) const WORKERS: usize = 4;

struct Worker {
    /// Until it is killed.
    process: Option<Pid>,
    name: String,
    words: PathBuf,
    begun: Instant,
}

/// Says of each worker when it was killed, in microseconds since the same moment as its own words, and at last how many
/// conversions it has recorded itself: `killed NAME AT` and `recorded NUMBER`.
pub(crate) fn run(core: &Core, words: &Path, kills: usize, seed: u64) {
    let begun = Instant::now();
    let mut recorded = 0_u64;
    let mut record = || {
        recorded += 1;
        worker::record(core, format!("host-{recorded}"), true);
    };
    // Its file, connection and threads are there before the first fork.
    record();
    let mut number = 0;
    let mut start = || {
        number += 1;
        Worker::start(core, words, format!("w{number}"), begun)
    };
    let mut state = seed;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut workers: Vec<Worker> = (0..WORKERS).map(|_| start()).collect();
    for _ in 0..kills {
        // Not waits for something to happen: the moment of the kill is the random part.
        let at = if random(2) == 0 {
            // The youngest, whatever it does: it starts, makes its file, takes over what others have left.
            std::thread::sleep(Duration::from_micros(random(20_000)));
            WORKERS - 1
        } else {
            let at = random(WORKERS as u64) as usize;
            let until = Instant::now() + PATIENCE;
            while !workers[at].has_kept_something() {
                assert!(Instant::now() < until, "a worker does nothing");
                record();
            }
            std::thread::sleep(Duration::from_micros(random(100_000)));
            at
        };
        workers.remove(at).kill();
        workers.push(start());
        record();
    }
    workers.into_iter().for_each(Worker::kill);
    let stats = core.shutdown(PATIENCE).unwrap().stats;
    assert!(stats.is_balanced() && stats.pending == 0, "{stats:?}");
    println!("recorded {recorded}");
}

impl Worker {
    fn start(core: &Core, words: &Path, name: String, begun: Instant) -> Self {
        let words = words.join(&name);
        let file = File::options().append(true).create_new(true).open(&words).unwrap();
        let process = child(|| worker::run(core, &name, begun, file));
        Self { process: Some(process), name, words, begun }
    }

    fn has_kept_something(&self) -> bool {
        std::fs::read_to_string(&self.words).unwrap().contains("kept")
    }

    fn kill(mut self) {
        let Some(process) = self.process.take() else { return };
        kill(process, Signal::SIGKILL).unwrap();
        let at = self.begun.elapsed().as_micros();
        // One that has failed has ended by itself.
        assert_eq!(waitpid(process, None).unwrap(), WaitStatus::Signaled(process, Signal::SIGKILL, false));
        println!("killed {} {at}", self.name);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            let _ = kill(process, Signal::SIGKILL);
            let _ = waitpid(process, None);
        }
    }
}
