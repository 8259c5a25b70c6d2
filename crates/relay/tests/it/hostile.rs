//! Input that no SDK sends.

use std::io::{Read, Write};
use std::net::TcpStream;

use convert_emulator::{Fault, FaultKind, Received};
use convert_relay::Secret;

use crate::support::{KEY, LONG, Running, client, exposure, settings, world};

fn raw(relay: &Running, request: &[u8]) -> String {
    String::from_utf8_lossy(&relay.raw(request)).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("closed")
}

#[test]
fn a_malformed_request_is_told_why() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let answer = relay.post(&exposure("v").replace("visitorId", "visitor"));
    assert_eq!((answer.status, answer.body.contains("visitors[0].visitorId")), (400, true), "{answer:?}");
    assert_eq!(relay.post("{").status, 400);
    let compressed = relay.post_as(&exposure("v"), &[("content-encoding", "gzip")]);
    assert_eq!(compressed.status, 415);
    for (path, expected) in [("/v1/track/unknown", 404), ("/nothing", 404), ("/api/v1/config/unknown", 404)] {
        let status = client().post(format!("{}{path}", relay.url)).send("{}").unwrap().status().as_u16();
        assert_eq!(status, expected, "{path}");
    }
    let get = relay.get(&format!("/v1/track/{KEY}"));
    assert_eq!(get.status, 405);
    assert_eq!(relay.metric("requests_malformed_total"), 3);
}

#[test]
fn events_of_another_project_are_refused_before_any_client_asks() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    convert.wait_until(LONG, |it| it.totals.config_requests > 0).unwrap();
    let of_another = exposure("v").replace("10034190", "10034191");
    // Until the relay has read the config.
    let told = (0..).map(|_| relay.post(&of_another).status).find(|status| *status != 200);
    assert_eq!(told, Some(400));
    assert_eq!(relay.post(&exposure("v")).status, 200);
}

#[test]
fn events_need_the_secret_if_so_chosen() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut closed = settings(&redis, &convert);
    (closed.client_secret, closed.client_secret_for_events) = (Some(Secret::new("mine")), true);
    let relay = Running::start(closed);
    let status = |name: &str, headers: &[(&str, &str)]| relay.post_as(&exposure(name), headers).status;
    assert_eq!(status("none", &[]), 401);
    assert_eq!(status("wrong", &[("authorization", "Bearer yours")]), 403);
    assert_eq!(status("right", &[("authorization", "Bearer mine")]), 200);
    let received = convert.wait_for_events(1, LONG).unwrap();
    assert_eq!(received.events[0].visitor_id, "right");
    assert_eq!(relay.metric("events_accepted_total"), 1);
}

#[test]
fn bodies_and_heads_have_a_bound() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut small = settings(&redis, &convert);
    small.max_body_bytes = 1000;
    let relay = Running::start(small);
    assert_eq!(relay.post(&exposure(&"v".repeat(1000))).status, 413);
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    assert_eq!(status(&raw(&relay, long.as_bytes())), "431");
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(1000));
    assert_eq!(status(&raw(&relay, many.as_bytes())), "431");
}

#[test]
fn slow_clients_are_cut_off() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut quick = settings(&redis, &convert);
    quick.request_ms = 1000;
    let relay = Running::start(quick);
    assert_eq!(status(&raw(&relay, b"GET / HTTP/1.1\r\nhost: a\r\n")), "closed", "half a head");
    let half = format!(
        "POST /v1/track/{KEY} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    assert_eq!(status(&raw(&relay, half.as_bytes())), "408", "half a body");
}

#[test]
fn waiting_connections_are_served_when_others_end() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut few = settings(&redis, &convert);
    few.max_connections = 2;
    let relay = Running::start(few);
    let address = relay.url.trim_start_matches("http://");
    let held: Vec<_> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    // The relay serves two: the third waits until one of them is closed.
    let mut third = TcpStream::connect(address).unwrap();
    third.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    drop(held);
    let mut answer = String::new();
    third.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "200");
}

#[test]
fn clients_that_hang_up_do_not_lift_the_bound_of_passing() {
    const PASSING: usize = 32;
    let Some((redis, convert)) = world(&[]) else { return };
    convert.inject(Fault::config(FaultKind::Hang));
    let mut few = settings(&redis, &convert);
    few.max_connections = PASSING;
    let relay = Running::start(few);
    let address = relay.url.trim_start_matches("http://");
    let ask = |number| {
        let mut stream = TcpStream::connect(address).unwrap();
        let path = format!("/api/v1/config/{KEY}?exp={number}");
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).unwrap();
        stream
    };
    let passed = |received: &Received| {
        received.requests.iter().filter(|request| request.query_value("exp").is_some()).count()
    };
    let clients: Vec<_> = (0..PASSING).map(ask).collect();
    convert.wait_until(LONG, |received| passed(received) == PASSING).unwrap();
    drop(clients);
    // A further connection is served only when the relay has noticed that others are gone.
    let mut answer = [0; 12];
    ask(PASSING).read_exact(&mut answer).unwrap();
    assert_eq!(status(&String::from_utf8_lossy(&answer)), "503");
    assert_eq!(passed(&convert.received()), PASSING);
    convert.go_offline();
}
