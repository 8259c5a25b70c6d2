//! A client that is a page in a browser: it may send and read, and needs no user agent of its own.

use convert_emulator::{Fault, FaultKind};

use crate::client::{Client, KEY, demo, one_event};

const ORIGIN: (&str, &str) = ("origin", "https://shop.example");
const BROWSER: (&str, &str) = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");

#[test]
fn a_page_of_any_origin_reads_the_answers() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let config = format!("{}/api/v1/config/{KEY}", emulator.http_url());
    let read = client.get_with(&config, &[ORIGIN]);
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, "*"));
    assert_eq!(read.header("access-control-expose-headers"), "etag, retry-after, date");
    emulator.inject(Fault::config(FaultKind::status(503)).times(1));
    let failed = client.get_with(&config, &[ORIGIN]);
    assert_eq!((failed.status, failed.header("access-control-allow-origin")), (503, "*"), "also a fault's");
    assert_eq!(client.get(&config).header("access-control-allow-origin"), "", "nobody asked");
}

#[test]
fn a_preflight_is_answered_and_not_recorded() {
    let emulator = demo();
    let client = Client::of(&emulator);
    emulator.inject(Fault::track(FaultKind::status(503)).times(1));
    let track = format!("{}/track/{KEY}", emulator.http_url());
    let asked = client.options(&track, &[ORIGIN, ("access-control-request-method", "POST")]);
    assert_eq!((asked.status, asked.header("access-control-allow-headers")), (204, "*, authorization"));
    assert_eq!(emulator.received().totals.requests, 0);
    assert_eq!(emulator.pending_faults().len(), 1);
    let admin = client.options(&format!("{}/__admin/faults", emulator.http_url()), &[ORIGIN]);
    assert_eq!((admin.status, admin.header("access-control-allow-origin")), (403, ""));
}

#[test]
fn events_of_a_page_count_with_the_browsers_agent() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let track = format!("{}/track/{KEY}", emulator.http_url());
    let json = ("content-type", "application/json");
    for headers in [&[json, BROWSER, ORIGIN][..], &[json, BROWSER], &[json, ("user-agent", "curl/8"), ORIGIN]]
    {
        assert_eq!(client.post_with(&track, &one_event("v").to_string(), headers).status, 200);
    }
    let totals = emulator.received().totals;
    assert_eq!((totals.events, totals.dropped_as_bot), (1, 2));
}

#[test]
fn a_beacon_of_a_page_calls_its_json_plain_text() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let track = format!("{}/track/{KEY}", emulator.http_url());
    let plain = ("content-type", "text/plain;charset=UTF-8");
    let post = |headers: &[_]| client.post_with(&track, &one_event("v").to_string(), headers).status;
    assert_eq!(
        (post(&[plain, BROWSER, ORIGIN]), post(&[plain, BROWSER]), post(&[plain, ORIGIN])),
        (200, 400, 400)
    );
    assert_eq!(emulator.received().totals.events, 1);
}
