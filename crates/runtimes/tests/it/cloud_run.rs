//! The Cloud Run service.

use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::http::ask;
use crate::program::{Convert, conversions_of};

const CLIENTS: u32 = 4;
/// The most that each client asks, which none reaches unless the service does not stop.
const REQUESTS: u32 = 5_000;

#[test]
fn an_event_is_delivered_before_the_response_and_none_is_lost_in_a_stop_under_load() {
    let convert = Convert::start();
    let settings = [("HOST", "127.0.0.1"), ("PORT", "0")];
    let program = convert.run(env!("CARGO_BIN_EXE_cloud_run"), &[], &settings);
    let address = program.address();
    for number in 0..3 {
        let visitor = format!("first-{number}");
        assert_eq!(ask(address, "POST", "/checkout", Some(&visitor)).unwrap().status, 200);
        assert_eq!(convert.conversions_of(&visitor), 1, "delivered before the response");
    }

    let (answered, mut seen) = (channel(), Vec::new());
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let answered: Sender<String> = answered.0.clone();
            scope.spawn(move || {
                for number in 0..REQUESTS {
                    let visitor = format!("visitor-{client}-{number}");
                    match ask(address, "POST", "/checkout", Some(&visitor)) {
                        Ok(answer) => {
                            assert_eq!(answer.status, 200);
                            answered.send(visitor).unwrap();
                        }
                        // The service is gone.
                        Err(_) => return,
                    }
                }
                unreachable!("the service did not stop");
            });
        }
        seen.extend(answered.1.iter().take(100));
        program.signal("-TERM");
    });
    drop(answered.0);
    seen.extend(answered.1.iter());
    assert!(program.end().success());

    let received = convert.received();
    for visitor in &seen {
        assert_eq!(conversions_of(&received, visitor), 1, "{visitor} was answered");
    }
    assert_eq!(received.totals.refused, 0);
}
