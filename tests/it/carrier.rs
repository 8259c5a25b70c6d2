//! The ready-made carrier of a pump, against the emulator over HTTPS.

use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind, RetryAfter};
use convert_sdk::config::RefreshOutcome;
use convert_sdk::delivery::DeliveryConfig;
use convert_sdk::error::RefreshError;
use convert_sdk::pump::{Carrier, Pump, Question};
use convert_sdk::{Core, FlushError, SdkConfigBuilder};

use crate::pump::Hand;
use crate::support::{PATIENCE, convert, deadline, keyed, serve};

const BUDGET: Duration = Duration::from_micros(200);

fn carried(config: SdkConfigBuilder) -> (Core, Pump, Carrier) {
    let (core, mut pump) = Core::builder(config.build().unwrap()).pumped().unwrap();
    let mut carrier = Carrier::new(&pump);
    let asked = pump.initialize();
    assert_eq!(settle(&mut pump, &mut carrier, asked), Ok(()));
    (core, pump, carrier)
}

/// Turns as fast as they come, until the question is answered.
pub(crate) fn settle<T>(pump: &mut Pump, carrier: &mut Carrier, mut question: Question<T>) -> T {
    let deadline = deadline();
    while std::time::Instant::now() < deadline {
        pump.turn(BUDGET);
        carrier.carry(pump);
        if let Some(answer) = question.check() {
            return answer;
        }
    }
    panic!("never answered");
}

fn events(emulator: &Emulator) -> u64 {
    emulator.received().totals.events
}

#[test]
fn a_carrier_fetches_and_delivers_over_https() {
    let emulator = serve();
    let (core, mut pump, mut carrier) = carried(keyed(&emulator).for_game_loop());
    convert(&core, 0..1_234);
    let asked = pump.refresh_now_within(PATIENCE);
    let refreshed = settle(&mut pump, &mut carrier, asked);
    assert_eq!(refreshed, Ok(RefreshOutcome::NotModified), "the ETag went both ways");
    let asked = pump.shutdown(PATIENCE);
    let report = settle(&mut pump, &mut carrier, asked).unwrap();
    assert!(report.is_complete() && report.stats.is_balanced());
    assert_eq!((report.stats.delivered, events(&emulator)), (1_234, 1_234));
}

#[test]
fn a_carrier_tells_what_became_of_each_request() {
    let emulator = serve();
    let delivery = DeliveryConfig::builder().backoff(Duration::from_millis(1)).build().unwrap();
    let (core, mut pump, mut carrier) = carried(keyed(&emulator).for_game_loop().delivery(delivery));
    let mut flush = |visitor: u32| {
        convert(&core, visitor..visitor + 1);
        let asked = pump.flush(PATIENCE);
        assert!(settle(&mut pump, &mut carrier, asked).unwrap().is_complete());
        core.stats()
    };
    emulator.inject(Fault::track(FaultKind::DropAfterRecording).times(1));
    let stats = flush(1);
    assert_eq!((stats.fate_unknown, stats.retries, stats.delivered), (1, 1, 1));
    assert_eq!(events(&emulator), 2, "the server had taken it");
    let retry_after = Some(RetryAfter::Seconds(0));
    emulator.inject(Fault::track(FaultKind::Status { status: 503, retry_after }).times(1));
    let stats = flush(2);
    assert_eq!((stats.fate_unknown, stats.retries, stats.delivered), (1, 2, 2));
    emulator.inject(Fault::config(FaultKind::GarbageBody).times(1));
    let asked = pump.refresh_now_within(PATIENCE);
    assert!(settle(&mut pump, &mut carrier, asked).is_err());
    assert!(core.is_ready());
}

#[test]
fn a_carrier_does_not_wait_for_a_server_that_hangs() {
    let (emulator, clock) = (serve(), Hand::default());
    let config = keyed(&emulator).for_game_loop().build().unwrap();
    let (core, mut pump) = Core::builder(config).pumped_by(clock.clone()).unwrap();
    let mut carrier = Carrier::new(&pump);
    let asked = pump.initialize();
    assert_eq!(settle(&mut pump, &mut carrier, asked), Ok(()));
    emulator.inject(Fault::track(FaultKind::Hang));
    convert(&core, 0..10);
    let mut asked = pump.shutdown(Duration::from_secs(1));
    // A second of frames, in no time: whoever waited would wait for the request's ten seconds.
    let ended = (0..70).find_map(|_| {
        pump.turn(BUDGET);
        carrier.carry(&mut pump);
        clock.advance(Duration::from_millis(16));
        asked.check()
    });
    assert!(matches!(ended, Some(Err(FlushError::Timeout(_)))), "{ended:?}");
    let stats = core.stats();
    assert_eq!((stats.dropped.total(), stats.pending, stats.is_balanced()), (10, 0, true));
}

#[test]
fn a_config_fetch_that_hangs_holds_up_no_delivery() {
    let emulator = serve();
    let (core, mut pump, mut carrier) = carried(keyed(&emulator).for_game_loop());
    emulator.inject(Fault::config(FaultKind::Hang));
    let mut hanging = pump.refresh_now_within(PATIENCE);
    pump.turn(BUDGET);
    carrier.carry(&mut pump);
    convert(&core, 0..3);
    let asked = pump.shutdown(PATIENCE);
    let report = settle(&mut pump, &mut carrier, asked).unwrap();
    assert_eq!((report.delivered, events(&emulator)), (3, 3));
    assert_eq!(hanging.check(), Some(Err(RefreshError::Closed)), "nothing else ended it");
}
