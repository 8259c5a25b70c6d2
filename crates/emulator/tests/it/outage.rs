//! Outages: ports that refuse connections, come back the same, and are freed at the end.

use std::error::Error;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind, Project, StartError};

use crate::client::{Client, KEY, bases, demo, one_event};

fn port(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// More clients than a system's usual backlog, while none is accepted.
#[test]
fn a_thousand_clients_can_wait_from_the_start() {
    let (busy, is_busy) = sync_channel(1);
    let (go_on, told) = sync_channel::<()>(0);
    let told = Mutex::new(told);
    let emulator = Emulator::builder()
        .project(Project::demo().sdk_key(KEY))
        .log_to(move |_| {
            let _ = busy.try_send(());
            let _ = told.lock().unwrap().recv();
        })
        .start()
        .unwrap();
    let address = emulator.http_url().trim_start_matches("http://").parse().unwrap();
    let mut first = TcpStream::connect(address).unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    is_busy.recv().unwrap();
    let waiting: Vec<_> =
        (0..1024).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()).collect();
    drop(go_on);
    assert_eq!(waiting.len(), 1024);
}

#[test]
fn an_outage_keeps_ports_record_and_faults() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let urls = bases(&emulator).map(|base| format!("{base}/track/{KEY}"));
    for url in &urls {
        assert_eq!(client.post(url, &one_event("v")).status, 200);
    }
    emulator.inject(Fault::track(FaultKind::status(503)).times(1));
    emulator.go_offline();
    for url in &urls {
        assert!(client.try_post(url, &one_event("v")).is_err());
    }
    emulator.go_online().unwrap();
    assert_eq!(client.post(&urls[0], &one_event("v")).status, 503);
    assert_eq!(client.post(&urls[1], &one_event("v")).status, 200);
    assert_eq!(emulator.received().totals.events, 3);
}

#[test]
fn closed_connections_are_replaced_by_new_ones() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let url = format!("{}/api/v1/config/{KEY}", emulator.http_url());
    client.get(&url);
    client.get(&url);
    emulator.close_connections();
    // A closed keep-alive connection may only be noticed when it is used.
    assert!(client.try_get(&url).is_ok() || client.try_get(&url).is_ok());
    let received = emulator.received();
    let connections: Vec<_> = received.requests.iter().map(|request| request.connection).collect();
    assert_eq!(connections[0], connections[1]);
    assert_ne!(connections[1], connections[2]);
}

#[test]
fn shutting_down_frees_the_ports_and_keeps_the_record() {
    // Another program that asks the system for any port may get one of these first; then the next attempt decides.
    let freed = (0..5).any(|_| {
        let mut emulator = demo();
        let ports = bases(&emulator).map(|base| port(&base));
        Client::of(&emulator).get(&format!("{}/api/v1/config/{KEY}", emulator.http_url()));
        emulator.shutdown();
        emulator.shutdown();
        assert_eq!(emulator.received().totals.requests, 1);
        let project = Project::demo().sdk_key(KEY);
        let again = Emulator::builder().project(project).https_port(ports[0]).http_port(ports[1]).start();
        again.is_ok_and(|again| bases(&again) == bases(&emulator))
    });
    assert!(freed, "another one on the same ports");
}

#[test]
fn a_port_in_use_is_an_error_that_says_why_once() {
    let emulator = demo();
    let taken = Emulator::builder().http_port(port(&emulator.http_url())).start();
    assert!(matches!(taken, Err(StartError::Bind { .. })));
    let broken = Emulator::builder().project(Project::from_json("[")).start();
    for error in [taken.unwrap_err(), broken.unwrap_err()] {
        let source = error.source().map(ToString::to_string);
        assert!(source.is_none_or(|source| !error.to_string().contains(&source)), "{error} says it twice");
    }
}

#[test]
fn a_hanging_request_does_not_delay_the_shutdown() {
    let emulator = demo();
    emulator.inject(Fault::config(FaultKind::Hang));
    let client = Client::of(&emulator);
    let url = format!("{}/api/v1/config/{KEY}", emulator.https_url());
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| client.try_get(&url));
        emulator.wait_for_requests(1, crate::client::PATIENCE).unwrap();
        drop(emulator);
        assert!(hanging.join().unwrap().is_err());
    });
}
