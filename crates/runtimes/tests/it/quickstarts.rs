//! The quickstart of each helper's README, run as written.

use std::net::SocketAddr;

use crate::http::ask;
use crate::program::{Convert, Program, ROCKET, ROCKET_LISTENS, conversions_of};

#[test]
fn the_quickstart_of_axum() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_axum_quickstart"), &[], &[]);
    let address = program.address();
    visit(&convert, program, address);
}

#[test]
fn the_quickstart_of_actix() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_actix_quickstart"), &[], &[]);
    let address = program.address();
    visit(&convert, program, address);
}

#[test]
fn the_quickstart_of_rocket() {
    let convert = Convert::start();
    let program = convert.run(env!("CARGO_BIN_EXE_rocket_quickstart"), &[], &ROCKET);
    let address = program.rest_of_line(ROCKET_LISTENS).parse().unwrap();
    visit(&convert, program, address);
}

#[test]
fn a_bad_environment_ends_the_program_before_it_listens() {
    let convert = Convert::start();
    let mistakes = [
        ("CONVERT_SDK_KEY", ""),
        ("CONVERT_CA_FILE", "no/such/file.pem"),
        ("CONVERT_CONFIG_ENDPOINT", "http://example.com"),
    ];
    for mistake in mistakes {
        let program = convert.run(env!("CARGO_BIN_EXE_axum_quickstart"), &[], &[mistake]);
        assert_eq!(program.rest(), Vec::<String>::new(), "{mistake:?}");
        assert_eq!(program.end().code(), Some(1), "{mistake:?}");
    }
    assert!(convert.received().requests.is_empty());
}

/// A new visitor views the page, returns with the cookie, and buys.
fn visit(convert: &Convert, program: Program, address: SocketAddr) {
    let first = ask(address, "GET", "/", None).unwrap();
    assert_eq!(first.status, 200);
    assert!(["original", "short", "playful"].contains(&first.body.as_str()), "{}", first.body);
    let set = first.set_cookie.unwrap();
    assert!(set.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=31536000"), "{set}");
    let id = set.strip_prefix("convert_visitor=").unwrap().split(';').next().unwrap();

    let again = ask(address, "GET", "/", Some(id)).unwrap();
    assert_eq!((again.body, again.set_cookie), (first.body, None), "the same variation, and no other cookie");
    let bought = ask(address, "POST", "/purchase", Some(id)).unwrap();
    assert_eq!((bought.status, bought.body.as_str()), (200, "thank you"));

    program.signal("-TERM");
    assert_eq!(program.rest_of_line("2 records"), "delivered");
    assert!(program.end().success());
    let received = convert.received();
    assert_eq!((received.totals.events, received.totals.refused), (2, 0));
    assert_eq!((received.events_of(id).count(), conversions_of(&received, id)), (2, 1));
}
