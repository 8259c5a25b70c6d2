//! The latency of one call by percentile: at rest, while the config is swapped a hundred times a second, and while the
//! pipeline is full and its endpoint does not answer.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use convert_sdk::{Context, Core, RunOptions, SdkConfig, delivery::DeliveryConfig};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::collector::Failure;
use super::support::endpoint::Endpoint;
use super::support::project::{ASKED, experience_key, project, visitor_id};
use super::support::{context, quiet};
use super::svg::{Axis, Chart, Scale, Series};

/// Calls of each kind under each condition.
const CALLS: usize = 200_000;
const BETWEEN_SWAPS: Duration = Duration::from_millis(10);
/// A caller does something else between two calls.
const BETWEEN_CALLS: Duration = Duration::from_micros(2);
/// Records on the way to the tracker and behind it, small enough to fill up.
const SMALL: usize = 1_000;
const SWAP_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn measure() -> Result<Vec<Chart>, Failure> {
    let (mut evaluations, mut conversions) = (Vec::new(), Vec::new());
    for (colour, name) in ["quiet", "100 swaps a second", "pipeline full"].into_iter().enumerate() {
        let (hold, held): (Sender<()>, _) = bounded(0);
        let core = core((colour == 2).then_some(held))?;
        if colour == 2 {
            fill(&core)?;
        }
        let [evaluation, conversion] = if colour == 1 { swapping(&core) } else { latencies(&core) };
        drop(hold);
        core.close();
        evaluations.push(series(name, colour, evaluation));
        conversions.push(series(name, colour, conversion));
    }
    Ok(vec![chart("Evaluation by key", evaluations), chart("track_conversion", conversions)])
}

fn core(hang: Option<Receiver<()>>) -> Result<Core, Failure> {
    let bounds = DeliveryConfig::builder();
    let full = hang.is_some();
    let bounds = if full { bounds.queue_capacity(SMALL).max_pending_records(SMALL) } else { bounds };
    let delivery = bounds.build()?;
    let config = SdkConfig::builder().sdk_key("shop/key").delivery(delivery).max_visitors(1_000).build()?;
    let endpoint = Endpoint { config: Some(project(100, 2)), hang };
    let core = Core::builder(config).transport(endpoint).build()?;
    core.initialize()?;
    Ok(core)
}

/// Records until something is dropped because the backlog is full.
fn fill(core: &Core) -> Result<(), Failure> {
    let deadline = Instant::now() + SWAP_PATIENCE;
    for number in CALLS.. {
        context(core, &visitor_id(number)).track_conversion("purchase");
        if core.stats().dropped.total() > 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            break;
        }
    }
    Err("the pipeline does not fill up".into())
}

fn swapping(core: &Core) -> [Vec<u64>; 2] {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(BETWEEN_SWAPS);
                assert!(core.refresh_now_within(SWAP_PATIENCE).is_ok(), "a refresh");
            }
        });
        let measured = latencies(core);
        stop.store(true, Ordering::Relaxed);
        measured
    })
}

/// Nanoseconds per call, of evaluations and of conversions, each for a new visitor.
fn latencies(core: &Core) -> [Vec<u64>; 2] {
    let (key, quiet) = (experience_key(ASKED), quiet());
    let evaluate =
        |context: &Context| black_box(context.run_experience_with(black_box(&key), &quiet)).is_ok();
    let convert = |context: &Context| black_box(context.track_conversion("purchase")).tracked();
    let untracked = RunOptions::new().enable_tracking(false);
    let mut measured = [Vec::with_capacity(CALLS), Vec::with_capacity(CALLS)];
    for number in 0..CALLS {
        let context = context(core, &visitor_id(number));
        // As in a request: the visitor has a decision before anything is measured.
        black_box(context.run_experience_with(&key, &untracked).is_ok());
        measured[0].push(timed(|| evaluate(&context)));
        measured[1].push(timed(|| convert(&context)));
        let next = Instant::now() + BETWEEN_CALLS;
        while Instant::now() < next {
            std::hint::spin_loop();
        }
    }
    measured
}

#[expect(clippy::cast_possible_truncation, reason = "nanoseconds of a call")]
fn timed(call: impl FnOnce() -> bool) -> u64 {
    let start = Instant::now();
    black_box(call());
    start.elapsed().as_nanos() as u64
}

/// The latency at each tenth of a nine, up to four nines.
fn series(name: &str, colour: usize, mut latencies: Vec<u64>) -> Series {
    latencies.sort_unstable();
    let points = (0..=40_u8).map(|tenth| {
        let rest = 10_f64.powf(f64::from(tenth) / -10.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a position in a list")]
        let at = ((1.0 - rest) * latencies.len() as f64) as usize;
        (1.0 / rest, latencies[at] as f64)
    });
    Series { name: name.to_owned(), points: points.collect(), colour, law: false }
}

fn chart(title: &'static str, series: Vec<Series>) -> Chart {
    let nines = [(1.0, "0"), (2.0, "50"), (10.0, "90"), (100.0, "99"), (1e3, "99.9"), (1e4, "99.99")];
    let x = Axis {
        label: "percent of the calls took at most",
        scale: Scale::Log { from: 1.0, to: 1e4 },
        ticks: nines.map(|(at, name)| (at, name.to_owned())).to_vec(),
    };
    let y = Axis::log("ns, the clock's own included", series.iter().flat_map(|it| &it.points).map(|it| it.1));
    Chart { title, x, y, series }
}
