//! `convert replay`: every line of a parity file through the public API, and what differs.

mod features;
mod findings;
mod line;
mod parts;
mod payload;
mod preview;
mod reader;
mod report;
mod request;
mod rulings;
mod script;
mod sequence;
mod served;
mod store;
mod subject;
mod surface;
mod units;
mod wire;
mod worker;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use self::reader::{Chunk, Reader};
use self::report::{Case, Report};
use self::surface::Surface;
use self::worker::{Answers, Worker};
use crate::Verdict;
use crate::args::ReplayArgs;
use crate::error::Failure;
use crate::input::Lines;
use crate::progress::Progress;

/// Chunks that wait for each worker: enough that none is idle, few enough that a stream is not read
/// into memory.
const AHEAD: usize = 4;

/// A worker waits for the threads of its SDK instances most of the time.
const WORKERS_A_CORE: usize = 4;

/// Runs the command.
pub(crate) fn run(args: &ReplayArgs) -> Result<Verdict, Failure> {
    let mut report = Report::new(args.json);
    let surface = if args.asynchronous { Surface::Async } else { Surface::Sync };
    let outcome = args.files.iter().try_for_each(|file| replay_file(file, surface, &mut report));
    // What was found before a failure is still worth reading.
    report.flush().map_err(Failure::Output)?;
    outcome?;
    report.finish().map_err(Failure::Output)
}

/// One thread reads, several answer, and this one prints in the order of the file.
fn replay_file(path: &Path, surface: Surface, report: &mut Report) -> Result<(), Failure> {
    let progress = Progress::new();
    let lines = Lines::open(path, &progress)?;
    let name = lines.name().to_owned();
    let workers = thread::available_parallelism().map_or(1, usize::from) * WORKERS_A_CORE;
    let outcome = thread::scope(|scope| {
        let (chunks_in, chunks) = sync_channel(workers * AHEAD);
        let (answers_in, answers) = channel();
        let chunks = Arc::new(Mutex::new(chunks));
        for _ in 0..workers {
            let (chunks, answers_in, name) = (Arc::clone(&chunks), answers_in.clone(), &name);
            scope.spawn(move || {
                let mut worker = Worker::new(name, surface);
                while let Some((at, chunk)) = next(&chunks) {
                    if answers_in.send((at, worker.answer(chunk))).is_err() {
                        break;
                    }
                }
            });
        }
        drop((chunks, answers_in));
        let reader = scope.spawn(move || Reader::new(lines).read_into(&chunks_in));
        let printed = print(&answers, &name, &progress, report);
        // Whoever still works sees by this that nobody waits for it.
        drop(answers);
        let read = reader.join().unwrap_or_else(|_| Err(Failure::Sdk("the reader panicked".to_owned())));
        printed.and(read)
    });
    progress.clear();
    outcome
}

fn next(chunks: &Mutex<Receiver<(u64, Chunk)>>) -> Option<(u64, Chunk)> {
    chunks.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Prints the answers in the order of their chunks, up to the first failure.
fn print(
    answers: &Receiver<(u64, Answers)>,
    name: &str,
    progress: &Progress,
    report: &mut Report,
) -> Result<(), Failure> {
    let (mut early, mut next) = (BTreeMap::new(), 0);
    for (at, answer) in answers {
        early.insert(at, answer);
        while let Some(Answers { lines, failure }) = early.remove(&next) {
            for (number, case, findings) in lines {
                let config_ref = case.config_ref.as_deref();
                let case = Case { file: name, line: number, id: &case.id, config_ref };
                let recorded = match findings.is_clean() {
                    true => report.record(&case, findings),
                    false => progress.aside(|| report.record(&case, findings)),
                };
                recorded.map_err(Failure::Output)?;
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            next += 1;
        }
    }
    Ok(())
}
