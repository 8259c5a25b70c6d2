//! A whole request: the visitor out of owned data, three flags by key, one conversion where there are any.

use std::time::{Duration, Instant};

use convert_sdk::{Core, SdkConfig, delivery::DeliveryConfig};

use crate::endpoint::Endpoint;
use crate::project::project;
use crate::request::{Request, RequestFloor, asked_keys, request};
use crate::{EXPERIENCES, allocations, others};

/// Makes one request; returns whether everything had a result.
pub(crate) type Ask = Box<dyn FnMut(&Request) -> bool>;

const VISITORS: usize = 1_000;
const BURST: usize = 500;
const ROUNDS: usize = 41;
/// The records of a burst of new visitors are taken out before the next one.
const PAUSE: Duration = Duration::from_millis(20);

/// Prints the medians of bursts in turn, for visitors who have made the request before and for new ones.
pub(crate) fn measure() {
    let mut subjects: Vec<(&str, Ask)> = vec![
        ("floor", floor()),
        ("this SDK", convert()),
        ("eppo_core 10.0.0", others::eppo::requests(EXPERIENCES)),
    ];
    let known: Vec<Request> = (0..VISITORS).map(Request::of).collect();
    for (name, ask) in &mut subjects {
        assert!(known.iter().all(ask), "{name} gives no variation");
    }
    let mut costs = vec![[Vec::new(), Vec::new()]; subjects.len()];
    let mut made = vec![[0; 2]; subjects.len()];
    for round in 0..ROUNDS {
        let first = VISITORS + round * BURST;
        let new: Vec<Request> = (first..first + BURST).map(Request::of).collect();
        for (at, (name, ask)) in subjects.iter_mut().enumerate() {
            for (kind, asked) in [&known[..BURST], &new].into_iter().enumerate() {
                let (before, start) = (allocations::count(), Instant::now());
                let answered = asked.iter().all(&mut *ask);
                costs[at][kind].push(start.elapsed().as_nanos() as f64 / BURST as f64);
                made[at][kind] = (allocations::count() - before + BURST as u64 / 2) / BURST as u64;
                assert!(answered, "{name} gives no variation");
                std::thread::sleep(PAUSE);
            }
        }
    }
    println!("{:<45} {:>8} {:>8} {:>8} {:>8}", "ns a request", "known", "new", "allocs", "new");
    for (((name, _), mut costs), made) in subjects.iter().zip(costs).zip(made) {
        costs.iter_mut().for_each(|costs| costs.sort_by(f64::total_cmp));
        let [known, new] = costs.map(|costs| costs[ROUNDS / 2]);
        println!("{name:<45} {known:>8.0} {new:>8.0} {:>8} {:>8}", made[0], made[1]);
    }
}

fn floor() -> Ask {
    let (floor, records) = RequestFloor::new(EXPERIENCES);
    std::thread::spawn(move || records.into_iter().for_each(|record| _ = std::hint::black_box(record)));
    let keys = asked_keys();
    Box::new(move |request| floor.request(request, &keys))
}

/// Its records go nowhere, as those of the others.
fn convert() -> Ask {
    let delivery = DeliveryConfig::builder().queue_capacity(1 << 20).build().unwrap_or_default();
    let config = SdkConfig::builder().data_json(project(EXPERIENCES, 2)).delivery(delivery).build();
    let core = config.ok().and_then(|it| Core::builder(it).transport(Endpoint::default()).build().ok());
    let Some(core) = core.filter(|core| core.initialize().is_ok()) else {
        unreachable!("the generated config is valid")
    };
    let keys = asked_keys();
    Box::new(move |it| request(&core, it, Request::attributes, &keys))
}
