//! Outages: ports that refuse, come back the same, and are freed at the end.

use convert_emulator::{Emulator, Fault, FaultKind, Project, StartError};

use crate::client::{Client, KEY, bases, demo, one_event};

fn port(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
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
    // A kept connection may only turn out to be gone when it is used.
    assert!(client.try_get(&url).is_ok() || client.try_get(&url).is_ok());
    let received = emulator.received();
    let connections: Vec<_> = received.requests.iter().map(|request| request.connection).collect();
    assert_eq!(connections[0], connections[1]);
    assert_ne!(connections[1], connections[2]);
}

#[test]
fn shutting_down_frees_the_ports_and_keeps_the_record() {
    // Whoever asks the system for any port may get one of these first: then they are others' the next time.
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
fn a_taken_port_is_an_error() {
    let emulator = demo();
    let taken = Emulator::builder().http_port(port(&emulator.http_url())).start();
    assert!(matches!(taken, Err(StartError::Bind { .. })));
}

#[test]
fn a_hanging_request_does_not_hold_the_end_up() {
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
