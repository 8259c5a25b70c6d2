//! A pump in a loop: an idle turn, the time of turns under full recording with a budget of 200 µs, and of single steps,
//! which are what a turn may exceed its budget by. Fails above its bars, which are for a machine without other load.
//!
//!     cargo bench --bench pump [-- FRAMES]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use convert_sdk::pump::{Answer, Pump};
use convert_sdk::{Core, SdkConfig, attributes};

const BUDGET: Duration = Duration::from_micros(200);
const FRAMES: usize = 10_000;
/// A frame's, each of a visitor of its own; half of the visitors convert.
const DECISIONS: usize = 130;
const IDLE_TURNS: u32 = 1_000_000;
/// The bars.
const IDLE: Duration = Duration::from_micros(1);
const P99: Duration = Duration::from_micros(250);
const P999: Duration = Duration::from_micros(500);

fn main() -> Result<(), Box<dyn Error>> {
    let frames = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(FRAMES);
    let (_core, mut pump) = pumped()?;
    while pump.turn(BUDGET).work_left {}
    let start = Instant::now();
    for _ in 0..IDLE_TURNS {
        black_box(pump.turn(black_box(BUDGET)));
    }
    let idle = start.elapsed() / IDLE_TURNS;
    println!("an idle turn: {} ns (bar {})", idle.as_nanos(), IDLE.as_nanos());

    let (core, mut pump) = pumped()?;
    let mut times = Vec::with_capacity(frames);
    for frame in 0..frames {
        record(&core, frame)?;
        let start = Instant::now();
        black_box(pump.turn(BUDGET));
        times.push(start.elapsed());
        carry(&mut pump);
    }
    let stats = core.stats();
    println!("recorded {}, delivered {}, dropped {}", stats.recorded, stats.delivered, stats.dropped.total());
    let [_, p99, p999] = print("a turn under full recording", times);
    println!("(bars: {} and {} µs)", P99.as_micros(), P999.as_micros());

    let (core, mut pump) = pumped()?;
    let mut times = Vec::new();
    for frame in 0..frames {
        record(&core, frame)?;
        loop {
            let start = Instant::now();
            let work_left = one_step(&mut pump);
            times.push(start.elapsed());
            if !work_left {
                break;
            }
        }
        carry(&mut pump);
    }
    print("a single step of it", times);
    if idle < IDLE && p99 <= P99 && p999 <= P999 { Ok(()) } else { Err("a bar is not met".into()) }
}

/// Every frame has new visitors, so that each of the decisions and conversions is recorded and sent.
fn record(core: &Core, frame: usize) -> Result<(), Box<dyn Error>> {
    for number in 0..DECISIONS {
        let visitor = core.create_context(format!("{frame}-{number}"), attributes! { "age" => 30 })?;
        let _ = black_box(visitor.run_experience("checkout"));
        if number % 2 == 0 {
            visitor.track_conversion("purchase");
        }
    }
    Ok(())
}

/// A turn without a budget, which takes one step. Callgrind finds it by name.
#[inline(never)]
fn one_step(pump: &mut Pump) -> bool {
    pump.turn(Duration::ZERO).work_left
}

/// The 50th, 99th and 99.9th percentiles.
fn print(what: &str, mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    [("p50", 500), ("p99", 990), ("p99.9", 999)].map(|(name, part)| {
        let time = times[times.len() * part / 1_000];
        println!("{what}, {name}: {:.1} µs", time.as_secs_f64() * 1e6);
        time
    })
}

fn pumped() -> Result<(Core, Pump), Box<dyn Error>> {
    let config = SdkConfig::builder().data_json(include_str!("../examples/shop.json")).for_game_loop();
    let (core, pump) = Core::builder(config.build()?).pumped()?;
    pump.initialize().check().ok_or("direct data is compiled at once")??;
    Ok((core, pump))
}

fn carry(pump: &mut Pump) {
    while let Some(request) = pump.next_request() {
        pump.answer(request.id, Answer::response(200));
    }
}
