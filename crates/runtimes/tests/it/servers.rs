//! Long-running servers that are stopped while connections are open.

use crate::http::{Client, ask, head};
use crate::load;
use crate::program::{Convert, Program, ROCKET, ROCKET_LISTENS, conversions_of};

#[test]
fn a_stopped_axum_server_responds_and_delivers() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_axum_server"), &[], &[]);
    stop_with_open_connections(&convert, program);
}

#[test]
fn a_stopped_actix_server_responds_and_delivers() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_actix_server"), &[], &[]);
    stop_with_open_connections(&convert, program);
}

#[test]
fn a_rocket_server_stopped_under_load_delivers() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_rocket_quickstart"), &[], &ROCKET);
    let address = program.rest_of_line(ROCKET_LISTENS).parse().unwrap();
    let answered = load::until_stopped(address, "/purchase", || program.signal("-TERM"));
    assert!(program.end().success());
    let received = convert.received();
    for visitor in &answered {
        assert_eq!(conversions_of(&received, visitor), 1, "{visitor} was answered");
    }
}

#[test]
fn the_exit_code_shows_that_a_server_could_not_deliver() {
    let servers = [env!("CARGO_BIN_EXE_axum_server"), env!("CARGO_BIN_EXE_actix_server")];
    for server in servers {
        let convert = Convert::start();
        let program = convert.run(server, &[], &[]);
        let address = program.address();
        assert_eq!(ask(address, "POST", "/order", Some("visitor-1")).unwrap().status, 200);
        convert.emulator.go_offline();
        program.signal("-TERM");
        assert_eq!(program.end().code(), Some(1), "{server}");
        assert_eq!(convert.received().totals.events, 0);
    }
}

/// When SIGTERM arrives, one connection is idle, another in the middle of a request, and others are under load.
fn stop_with_open_connections(convert: &Convert, program: Program) {
    let address = program.address();
    let mut idle = Client::connect(address).unwrap();
    idle.write(&head("POST", "/order", Some("idle"), 0)).unwrap();
    assert_eq!(idle.answer().unwrap().status, 200);
    let mut open = Client::connect(address).unwrap();
    // `100 Continue` tells the client that the request is being handled.
    let head =
        head("POST", "/order", Some("open"), 4).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    open.write(&head).unwrap();
    assert_eq!(open.answer().unwrap().status, 100);

    let mut answered = load::until_stopped(address, "/order", || program.signal("-TERM"));
    while Client::connect(address).is_ok() {
        std::thread::yield_now();
    }
    open.write("book").unwrap();
    let answer = open.answer().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "book"));
    idle.closed().unwrap();
    assert!(program.end().success());

    answered.extend(["idle".to_owned(), "open".to_owned()]);
    let received = convert.received();
    for visitor in &answered {
        assert_eq!(conversions_of(&received, visitor), 1, "{visitor} was answered");
    }
    assert_eq!(received.totals.refused, 0);
}
