//! What a rare `track_conversion` costs its caller, and how often the SDK's threads wake up.
//!
//! `cargo bench --bench wakes`. Each round makes one call of each kind every 3 ms: a conversion; a push into a buffer
//! that a thread polls, which wakes nobody; and a send to a thread that sleeps in `recv`, which has to be woken. Fails
//! if the tracker wakes up more than 200 times a second under calls, or any SDK thread at rest. `scripts/wakes` counts
//! the system calls with which conversions wake a thread, and with the argument `idle` those of a pump's idle turns.

#[path = "support/endpoint.rs"]
mod endpoint;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use convert_sdk::pump::Answer;
use convert_sdk::{Core, SdkConfig};
use crossbeam_channel::bounded;
use endpoint::Endpoint;

type Failure = Box<dyn std::error::Error>;

const CALLS: usize = 1_500;
const EVERY: Duration = Duration::from_millis(3);
/// The tracker's maximum wake-ups per second under calls.
const AWAKE: f64 = 200.0;
const IDLE_TURNS: usize = 100_000;
const BUDGET: Duration = Duration::from_micros(200);

fn main() -> ExitCode {
    let is_idle = std::env::args().any(|it| it == "idle");
    match if is_idle { turn_idly() } else { measure() } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Failure> {
    let config = SdkConfig::builder().data_json(include_str!("../examples/shop.json")).build()?;
    let core = Core::builder(config).transport(Endpoint::default()).build()?;
    core.initialize()?;
    let visitors: Vec<_> =
        (0..CALLS).map(|number| core.create_context(format!("v{number}"), ())).collect::<Result<_, _>>()?;

    let done = Arc::new(AtomicBool::new(false));
    let buffer = Arc::<Mutex<Vec<[u64; 16]>>>::default();
    let (polled, over) = (Arc::clone(&buffer), Arc::clone(&done));
    let poller = thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
            if let Ok(mut buffer) = polled.lock() {
                buffer.clear();
            }
        }
    });
    let (send, receive) = bounded::<[u64; 16]>(1_024);
    let sleeper = thread::spawn(move || receive.iter().map(|message| message[0]).sum::<u64>());

    // With this argument, conversions are the only thing that wakes a thread.
    let alone = std::env::args().any(|it| it == "alone");
    let [mut conversions, mut pushes, mut sends] = [(); 3].map(|()| Vec::with_capacity(CALLS));
    let before = wake_ups()?;
    let start = Instant::now();
    for visitor in &visitors {
        conversions.push(timed(|| drop(visitor.track_conversion("purchase"))));
        thread::sleep(EVERY / 3);
        pushes.push(timed(|| {
            if let Ok(mut buffer) = buffer.lock() {
                buffer.push([7; 16]);
            }
        }));
        thread::sleep(EVERY / 3);
        if !alone {
            sends.push(timed(|| {
                let _ = send.try_send([7; 16]);
            }));
        }
        thread::sleep(EVERY / 3);
    }
    let active = start.elapsed().as_secs_f64();
    let woken = wake_ups()? - before;
    done.store(true, Ordering::Relaxed);
    drop(send);
    let _ = (poller.join(), sleeper.join());

    let [conversion, push, waking] =
        [&mut conversions, &mut pushes, &mut sends].map(|times: &mut Vec<u64>| {
            times.sort_unstable();
            times.get(times.len() / 2).copied().unwrap_or_default()
        });
    if alone {
        // A tracer counts by itself, and disturbs what follows.
        core.close();
        return Ok(());
    }
    println!("one call every {EVERY:?}, {CALLS} of each kind; median ns a call, clock included");
    println!("{push:>8} push into a buffer that a thread polls");
    println!("{conversion:>8} track_conversion: {:.2} of the push", conversion as f64 / push as f64);
    println!("{waking:>8} send to a thread that sleeps in recv");
    let awake = woken as f64 / active;
    println!("{awake:>8.0} wake-ups a second of the tracker while calls come");

    let _ = core.flush(Duration::from_secs(5));
    thread::sleep(Duration::from_secs(1));
    let before = all_wake_ups()?;
    thread::sleep(Duration::from_secs(3));
    let resting = all_wake_ups()? - before;
    println!("{resting:>8} wake-ups of all the SDK's threads in three seconds at rest");
    core.close();
    if awake > AWAKE || resting > 0 { Err("the SDK wakes up too often".into()) } else { Ok(()) }
}

/// Gives a pump idle turns, between two system calls that a tracer finds by their path.
fn turn_idly() -> Result<(), Failure> {
    let config = SdkConfig::builder().data_json(include_str!("../examples/shop.json")).for_game_loop();
    let (core, mut pump) = Core::builder(config.build()?).pumped()?;
    pump.initialize().check().ok_or("direct data is compiled at once")??;
    let visitor = core.create_context("v", ())?;
    let _ = (visitor.run_experience("checkout"), visitor.track_conversion("purchase"));
    let mut flush = pump.flush(Duration::from_secs(5));
    while flush.check().is_none() {
        pump.turn(BUDGET);
        while let Some(request) = pump.next_request() {
            pump.answer(request.id, Answer::response(200));
        }
    }
    while pump.turn(BUDGET).work_left {}
    let _ = std::fs::File::open("idle-turns-begin");
    let is_idle = (0..IDLE_TURNS).all(|_| !pump.turn(BUDGET).work_left && pump.next_request().is_none());
    let _ = std::fs::File::open("idle-turns-end");
    if is_idle { Ok(()) } else { Err("a turn is not idle".into()) }
}

fn timed(call: impl FnOnce()) -> u64 {
    let start = Instant::now();
    call();
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn wake_ups() -> Result<u64, Failure> {
    wake_ups_of("convert-tracker")
}

fn all_wake_ups() -> Result<u64, Failure> {
    wake_ups_of("convert-")
}

/// How often threads of this name slept and were woken, as counted by Linux.
fn wake_ups_of(name: &str) -> Result<u64, Failure> {
    let mut switches = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.starts_with(name) {
            let status = std::fs::read_to_string(task.join("status"))?;
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            switches += line.ok_or("no count")?.trim().parse::<u64>()?;
        }
    }
    Ok(switches)
}
