//! A loop of 10,000 frames with 64 players, with and without the SDK: the frame times side by side. The SDK has two
//! threads, which carry its requests; all else is done in the loop.

mod endpoint;

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use convert_sdk::pump::Carrier;
use convert_sdk::{Core, attributes};

const FRAMES: usize = 10_000;
const PLAYERS: usize = 64;
const BUDGET: Duration = Duration::from_micros(200);

fn main() -> Result<(), Box<dyn Error>> {
    let emulator = endpoint::emulator()?;
    let config = endpoint::configure(emulator.as_ref())?.for_game_loop();
    let (core, mut pump) = Core::builder(config.build()?).pumped()?;
    let mut carrier = Carrier::new(&pump);
    let mut ready = pump.initialize();
    loop {
        pump.turn(BUDGET);
        carrier.carry(&mut pump);
        if let Some(outcome) = ready.check() {
            break outcome?;
        }
    }

    let mut without = (0..FRAMES).map(|_| timed(simulate)).collect::<Vec<_>>();
    let mut with = Vec::with_capacity(FRAMES);
    for frame in 0..FRAMES {
        with.push(timed(|| {
            simulate();
            play(&core, frame);
            pump.turn(BUDGET);
            carrier.carry(&mut pump);
        }));
    }

    let mut end = pump.shutdown(Duration::from_secs(1));
    let report = loop {
        pump.turn(BUDGET);
        carrier.carry(&mut pump);
        if let Some(report) = end.check() {
            break report?;
        }
    };

    println!("frame time in microseconds  without     with");
    for (name, part) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
        let (without, with) = (percentile(&mut without, part), percentile(&mut with, part));
        println!("  {name:<24} {:>9.1} {:>8.1}", without.as_secs_f64() * 1e6, with.as_secs_f64() * 1e6);
    }
    let stats = report.stats;
    println!("{} events in {} requests", stats.delivered_events, stats.requests);
    if !stats.is_balanced() || stats.pending + stats.dropped.total() > 0 {
        return Err(format!("the ledger does not balance: {stats:?}").into());
    }
    if let Some(emulator) = emulator {
        let received = emulator.received().totals;
        if (received.events, received.flawed) != (stats.delivered_events, 0) || received.events == 0 {
            return Err(format!("the emulator received something else: {received:?}, {stats:?}").into());
        }
    }
    Ok(())
}

/// What a frame costs anyway.
fn simulate() {
    let mut state = 1_u64;
    for _ in 0..200_000 {
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Every player decides in every frame and buys once in 60; once in 60 frames another one has joined.
fn play(core: &Core, frame: usize) {
    for player in 0..PLAYERS {
        let number = player + frame / 60;
        if let Ok(visitor) = core.create_context(format!("player-{number}"), attributes! { "age" => 30 }) {
            let _ = black_box(visitor.run_experience("homepage-headline"));
            if (frame + player).is_multiple_of(60) {
                visitor.track_conversion("purchase");
            }
        }
    }
}

fn timed(body: impl FnOnce()) -> Duration {
    let start = Instant::now();
    body();
    start.elapsed()
}

fn percentile(times: &mut [Duration], part: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * part / 1_000]
}
