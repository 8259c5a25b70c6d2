//! Replays every line of a parity file through the public API of the SDK, and prints what differs.

mod error;
mod features;
mod findings;
mod input;
mod json;
mod line;
mod parts;
mod payload;
mod prepared;
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
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use clap::Parser;

use error::Failure;
use input::Lines;
use reader::{Chunk, Reader};
use report::{Case, Report};
use surface::Surface;
use worker::{Answers, Worker};

/// Chunks queued per worker: enough to keep all busy, few enough that a stream is not read into memory.
const AHEAD: usize = 4;

/// A worker mostly waits for the threads of its SDK instances.
const WORKERS_A_CORE: usize = 4;

/// Replays parity files through the SDK and prints each difference.
///
/// Exit status: 0 on success, 1 if something differs, 2 if the input is invalid.
#[derive(Debug, Parser)]
#[command(name = "replay", max_term_width = 100)]
struct Args {
    /// JSON lines, plain or gzip-compressed; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON object per difference, then one with the totals
    #[arg(long)]
    json: bool,
    /// Use the SDK's asynchronous surface; the answers must be the same
    #[arg(long = "async")]
    asynchronous: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // A closed pipe is no error: the reader, such as `head`, has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // If this fails, there is nobody left to tell.
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Whether every answer is as expected.
fn run(args: &Args) -> Result<bool, Failure> {
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
    let lines = Lines::open(path)?;
    let name = lines.name().to_owned();
    let workers = thread::available_parallelism().map_or(1, usize::from) * WORKERS_A_CORE;
    thread::scope(|scope| {
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
        let printed = print(&answers, &name, report);
        // Tells the remaining workers that nobody waits for them.
        drop(answers);
        let read = reader.join().unwrap_or_else(|_| Err(Failure::Sdk("the reader panicked".to_owned())));
        printed.and(read)
    })
}

fn next(chunks: &Mutex<Receiver<(u64, Chunk)>>) -> Option<(u64, Chunk)> {
    chunks.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Prints the answers in the order of their chunks, up to the first failure.
fn print(answers: &Receiver<(u64, Answers)>, name: &str, report: &mut Report) -> Result<(), Failure> {
    let (mut early, mut next) = (BTreeMap::new(), 0);
    for (at, answer) in answers {
        early.insert(at, answer);
        while let Some(Answers { lines, failure }) = early.remove(&next) {
            for (number, case, findings) in lines {
                let config_ref = case.config_ref.as_deref();
                let case = Case { file: name, line: number, id: &case.id, config_ref };
                report.record(&case, findings).map_err(Failure::Output)?;
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            next += 1;
        }
    }
    Ok(())
}
