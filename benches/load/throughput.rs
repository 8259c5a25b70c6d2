//! Conversions delivered per second to a collector in another process, against the offered load.

use std::time::{Duration, Instant};

use convert_sdk::{Core, SdkConfig, config::TransportConfig};

use super::collector::{Collector, Failure};
use super::svg::{Axis, Chart, Series};

/// The last ones exceed what two cores can produce and deliver.
const OFFERED: [u32; 8] = [10_000, 100_000, 200_000, 300_000, 600_000, 1_000_000, 1_500_000, 2_000_000];
const PRODUCERS: u32 = 2;
const TIME: Duration = Duration::from_secs(2);
/// How often a producer sends what is due.
const TICK: Duration = Duration::from_micros(500);

/// Conversions per second.
struct Rates {
    offered: f64,
    delivered: f64,
    dropped: f64,
}

pub(crate) fn measure() -> Result<Vec<Chart>, Failure> {
    let rates = OFFERED.into_iter().map(offer).collect::<Result<Vec<_>, _>>()?;
    let most = rates.iter().map(|it| it.offered).fold(0.0, f64::max);
    let line = |name: &str, colour, law, value: fn(&Rates) -> f64| Series {
        name: name.to_owned(),
        points: rates.iter().map(|it| (it.offered, value(it))).collect(),
        colour,
        law,
    };
    Ok(vec![Chart {
        title: "Conversions a second, two producers, loopback",
        x: Axis::linear("offered a second", most),
        y: Axis::linear("a second", most),
        series: vec![
            line("delivered", 0, false, |it| it.delivered),
            line("dropped, and counted", 1, false, |it| it.dropped),
            line("as offered", 4, true, |it| it.offered),
        ],
    }])
}

/// Offers so many per second, each for a new visitor, with the default limits.
fn offer(a_second: u32) -> Result<Rates, Failure> {
    let collector = Collector::start()?;
    let network = TransportConfig::builder()
        .track_base_url(&collector.url)
        .danger_allow_http_on_loopback(true)
        .build()?;
    let shop = include_str!("../../examples/shop.json");
    let core = Core::new(SdkConfig::builder().data_json(shop).transport(network).build()?);
    core.initialize()?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let core = &core;
            scope.spawn(move || produce(core, producer, a_second / PRODUCERS, start));
        }
    });
    let produced = start.elapsed();
    let report = core.flush(Duration::from_secs(60)).or_else(|error| match error {
        // Dropped under load.
        convert_sdk::FlushError::Incomplete(report) if report.pending == 0 => Ok(*report),
        other => Err(other),
    })?;
    let ended = start.elapsed();
    core.close();
    let (stats, counted) = (report.stats, collector.end()?);
    if !(stats.is_balanced() && stats.pending == 0 && stats.delivered == counted) {
        return Err(format!("the counts differ: {counted} by the collector, {stats:?}").into());
    }
    Ok(Rates {
        offered: stats.recorded as f64 / produced.as_secs_f64(),
        delivered: stats.delivered as f64 / ended.as_secs_f64(),
        dropped: stats.dropped.total() as f64 / produced.as_secs_f64(),
    })
}

fn produce(core: &Core, producer: u32, a_second: u32, start: Instant) {
    let mut done = 0_u64;
    loop {
        let elapsed = start.elapsed().min(TIME);
        let due = (f64::from(a_second) * elapsed.as_secs_f64()).round();
        while (done as f64) < due {
            if let Ok(visitor) = core.create_context(format!("{producer}-{done}"), ()) {
                visitor.track_conversion("purchase");
            }
            done += 1;
            // A producer that cannot keep up still ends on time.
            if done.is_multiple_of(1_000) && start.elapsed() > TIME {
                return;
            }
        }
        if elapsed == TIME {
            return;
        }
        std::thread::sleep(TICK);
    }
}
