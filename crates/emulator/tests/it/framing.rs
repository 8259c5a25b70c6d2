//! Messages that violate HTTP: rejected if a response is possible, recorded in any case.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use convert_emulator::{Emulator, Fault, FaultKind, Received, RouteKind};

use crate::client::{AGENT, Client, KEY, PATIENCE, demo, one_event};

/// Sends these bytes on a connection of their own.
fn begin(emulator: &Emulator, message: &str) -> TcpStream {
    let mut stream = TcpStream::connect(emulator.http_url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(message.as_bytes()).unwrap();
    stream
}

/// Sends a message that ends its connection, and reads the whole response.
fn send(emulator: &Emulator, message: &str) -> String {
    let mut stream = begin(emulator, message);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn post(headers: &str, body: &str) -> String {
    let fixed = format!("content-type: application/json\r\nuser-agent: {AGENT}\r\n");
    format!("POST /track/{KEY} HTTP/1.1\r\n{fixed}{headers}\r\n{body}")
}

/// The headers of a connection that carries one message.
const CLOSE: &str = "host: localhost\r\nconnection: close\r\n";

/// What the record says about the only request.
fn judged(emulator: &Emulator, done: impl Fn(&Received) -> bool) -> (Option<u16>, Option<String>, u64) {
    let received = emulator.wait_until(PATIENCE, done).unwrap();
    assert_eq!((received.requests.len(), received.totals.events), (1, 0));
    let request = &received.requests[0];
    let judged = (request.status, request.flaw.clone(), received.totals.flawed);
    emulator.clear();
    judged
}

fn answered(received: &Received) -> bool {
    received.totals.answered == 1
}

#[test]
fn a_message_with_both_length_and_chunks_is_rejected() {
    let emulator = demo();
    let body = one_event("v").to_string();
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let length = format!("Content-Length: {}\r\n", chunked.len());
    let chunks = "transfer-encoding: chunked\r\n";
    let framings =
        [format!("{length}{chunks}"), format!("{chunks}{length}"), format!("{chunks}content-length:1\r\n")];
    for framing in framings {
        let answer = send(&emulator, &post(&format!("{CLOSE}{framing}"), &chunked));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{framing}: {answer}");
        let (status, flaw, flawed) = judged(&emulator, answered);
        assert_eq!((status, flawed), (Some(400), 1));
        assert!(flaw.unwrap().contains("Transfer-Encoding"));
    }
    let only = send(&emulator, &post(&format!("{CLOSE}{chunks}"), &chunked));
    assert!(only.starts_with("HTTP/1.1 200 "), "{only}");
}

#[test]
fn an_http_1_1_request_without_exactly_one_host_is_rejected() {
    let emulator = demo();
    let get = |version: &str, headers: &str| {
        send(&emulator, &format!("GET /api/v1/config/{KEY} HTTP/{version}\r\n{headers}\r\n"))
    };
    for hosts in ["", "host: a\r\nhost: a\r\n"] {
        let answer = get("1.1", &format!("{hosts}connection: close\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{hosts:?}: {answer}");
        let (status, flaw, flawed) = judged(&emulator, answered);
        assert_eq!((status, flawed), (Some(400), 1));
        assert!(flaw.unwrap().contains("Host"));
    }
    assert!(get("1.0", "").starts_with("HTTP/1.0 200 "), "HTTP/1.0 has none");
}

#[test]
fn every_message_of_a_connection_is_checked() {
    let emulator = demo();
    let body = one_event("v").to_string();
    let mut bytes = [0; 4096];
    let right = post(&format!("host: localhost\r\ncontent-length: {}\r\n", body.len()), &body);
    let mut stream = begin(&emulator, "");
    for _ in 0..2 {
        stream.write_all(right.as_bytes()).unwrap();
        let read = stream.read(&mut bytes).unwrap();
        assert!(bytes[..read].starts_with(b"HTTP/1.1 200 "));
    }
    let wrong = "host: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n";
    stream.write_all(post(wrong, "0\r\n\r\n").as_bytes()).unwrap();
    let read = stream.read(&mut bytes).unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 400 "));
    assert_eq!((emulator.received().totals.events, emulator.received().totals.flawed), (2, 1));
}

#[test]
fn a_body_that_ends_early_is_recorded() {
    let emulator = demo();
    let body = one_event("v").to_string();
    let length = format!("host: localhost\r\ncontent-length: {}\r\n", body.len() + 1);
    let chunks = "host: localhost\r\ntransfer-encoding: chunked\r\n";
    for message in [post(&length, &body), post(chunks, "5\r\n{\"a\"")] {
        begin(&emulator, &message).shutdown(Shutdown::Write).unwrap();
        let (status, flaw, flawed) = judged(&emulator, |received| received.totals.answered == 1);
        assert_eq!((status, flaw.as_deref(), flawed), (None, Some("the body ended early"), 1));
    }
}

/// A fault responds, and the client's bug still shows.
#[test]
fn a_body_that_is_not_json_is_recorded_even_under_a_fault() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let headers = [("content-type", "application/json"), ("user-agent", AGENT)];
    emulator.inject(Fault::track(FaultKind::status(503)));
    for (body, flaw) in [("{\"visitors\": [", "not JSON"), ("{}", "accountId: missing")] {
        let reply = client.post_with(&format!("{}/track/{KEY}", emulator.http_url()), body, &headers);
        assert_eq!(reply.status, 503);
        let received = emulator.received();
        assert!(received.requests[0].flaw.as_ref().unwrap().starts_with(flaw), "{:?}", received.requests);
        assert_eq!((received.totals.flawed, received.totals.refused), (1, 0));
        emulator.clear();
    }
    client.post(&format!("{}/track/{KEY}", emulator.http_url()), &one_event("v"));
    let received = emulator.received();
    assert_eq!((received.totals.flawed, received.requests_on(RouteKind::Track).count()), (0, 1));
}
