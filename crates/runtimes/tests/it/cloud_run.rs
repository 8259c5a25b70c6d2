//! The Cloud Run service.

use std::time::Duration;

use crate::http::ask;
use crate::load;
use crate::program::{Convert, conversions_of};

/// The time between SIGTERM and SIGKILL.
const CLOUD_RUN_LEAVES: Duration = Duration::from_secs(10);

#[test]
fn a_stop_under_load_loses_no_event() {
    let convert = Convert::start();
    let settings = [("HOST", "127.0.0.1"), ("PORT", "0")];
    let program = convert.run(env!("CARGO_BIN_EXE_cloud_run"), &[], &settings);
    let address = program.address();
    for number in 0..3 {
        let visitor = format!("first-{number}");
        assert_eq!(ask(address, "POST", "/checkout", Some(&visitor)).unwrap().status, 200);
        assert_eq!(convert.conversions_of(&visitor), 1, "delivered before the response");
    }
    let answered = load::until_stopped(address, "/checkout", || program.signal("-TERM"));
    assert!(program.end_or_kill(CLOUD_RUN_LEAVES).success());

    let received = convert.received();
    for visitor in &answered {
        assert_eq!(conversions_of(&received, visitor), 1, "{visitor} was answered");
    }
    assert_eq!(received.totals.refused, 0);
}
