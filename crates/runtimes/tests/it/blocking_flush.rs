//! A flush that waits while its executor does not.

use std::sync::mpsc::channel;
use std::thread;

use convert_emulator::{Fault, FaultKind, RouteKind};

use crate::http::ask;
use crate::program::{Convert, PATIENCE};

#[test]
fn the_executor_stays_free_while_a_flush_waits() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_blocking_flush"), &[], &[]);
    let address = program.address();
    assert_eq!(ask(address, "POST", "/order", Some("visitor-1")).unwrap().status, 200);

    convert.emulator.inject(Fault::track(FaultKind::Hang).times(1));
    let (answered, answer) = channel();
    thread::spawn(move || answered.send(ask(address, "POST", "/flush", None).unwrap()));
    let hanging = |received: &convert_emulator::Received| received.requests_on(RouteKind::Track).count() == 1;
    convert.emulator.wait_until(PATIENCE, hanging).unwrap();
    for _ in 0..10 {
        assert_eq!(ask(address, "GET", "/alive", None).unwrap().body, "alive");
        assert!(answer.try_recv().is_err(), "the flush still waits");
    }

    convert.emulator.close_connections();
    let failed = answer.recv_timeout(PATIENCE).unwrap();
    assert_eq!((failed.status, failed.body.as_str()), (502, "flush_incomplete"));
    let retried = ask(address, "POST", "/flush", None).unwrap();
    assert_eq!((retried.status, retried.body.as_str()), (200, "1 delivered"));
    assert_eq!(convert.conversions_of("visitor-1"), 1);
    program.signal("-TERM");
    assert!(program.end().success());
}
