//! The events route, and what happens to the events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind};
use convert_sdk::config::TransportConfig;
use redis::Commands;

use crate::server::{Redis, serve, until_ready};
use crate::support::{LONG, Running, conversion, exposure, settings, shopping, world};

pub(crate) const EVENTS: &str = "convert-relay:{10035569/10034190}:events";
pub(crate) const BYTES: &str = "convert-relay:{10035569/10034190}:bytes";
pub(crate) const REFUSED: &str = "convert-relay:{10035569/10034190}:refused";

pub(crate) fn connect(redis: &Redis) -> redis::Connection {
    redis::Client::open(redis.url()).unwrap().get_connection().unwrap()
}

/// Waits until the relays have settled everything. Redis has no notification for that, so this polls.
pub(crate) fn settled(redis: &Redis) -> bool {
    let mut connection = connect(redis);
    let until = std::time::Instant::now() + LONG;
    while std::time::Instant::now() < until {
        let (left, bytes): (u64, Option<u64>) =
            redis::pipe().cmd("XLEN").arg(EVENTS).cmd("GET").arg(BYTES).query(&mut connection).unwrap();
        if left == 0 {
            assert_eq!(bytes.unwrap_or_default(), 0, "the bytes of an empty stream");
            return true;
        }
        std::thread::yield_now();
    }
    false
}

fn visitors(convert: &Emulator) -> Vec<String> {
    let mut visitors: Vec<_> = convert.received().events.into_iter().map(|it| it.visitor_id).collect();
    visitors.sort();
    visitors
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("visitor-{number:04}")).collect()
}

#[test]
fn accepted_events_reach_convert_once() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    for name in names(50) {
        assert_eq!(relay.post(&exposure(&name)).status, 200);
    }
    convert.wait_for_events(50, LONG).unwrap();
    assert!(settled(&redis));
    assert_eq!(visitors(&convert), names(50));
    let received = convert.received();
    assert_eq!((received.totals.flawed, received.totals.dropped_as_bot), (0, 0));
    assert_eq!((relay.metric("events_accepted_total"), relay.metric("events_delivered_total")), (50, 50));
}

#[test]
fn events_wait_in_redis_while_convert_is_down() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.go_offline();
    let relay = Running::start(settings(&redis, &convert));
    for name in names(20) {
        assert_eq!(relay.post(&exposure(&name)).status, 200);
    }
    relay.stop();
    let kept: u64 = connect(&redis).xlen(EVENTS).unwrap();
    assert_eq!(kept, 20);
    convert.go_online().unwrap();
    let _another = Running::start(settings(&redis, &convert));
    convert.wait_for_events(20, LONG).unwrap();
    assert!(settled(&redis));
    assert_eq!(visitors(&convert), names(20));
}

#[test]
fn a_batch_id_is_appended_once() {
    let Some((redis, convert)) = world(&[]) else { return };
    let (one, two) = (Running::start(settings(&redis, &convert)), Running::start(settings(&redis, &convert)));
    for relay in [&one, &one, &two] {
        assert_eq!(relay.post_as(&exposure("twice"), &[("convert-batch-id", "a-1")]).status, 200);
    }
    assert_eq!(two.post_as(&exposure("other"), &[("convert-batch-id", "a-2")]).status, 200);
    convert.wait_for_events(2, LONG).unwrap();
    assert!(settled(&redis));
    assert_eq!(visitors(&convert), ["other", "twice"]);
    assert_eq!((one.metric("batches_repeated_total"), two.metric("batches_repeated_total")), (1, 1));
    let long = "x".repeat(129);
    assert_eq!(one.post_as(&exposure("v"), &[("convert-batch-id", &long)]).status, 400);
}

#[test]
fn a_full_stream_refuses_exposures_before_conversions() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.go_offline();
    let mut small = settings(&redis, &convert);
    small.max_body_bytes = 1000;
    small.stream_bytes = 10_000;
    let relay = Running::start(small);
    let first_refused = |body: &dyn Fn(&str) -> String| {
        (0..100).find_map(|number| {
            let answer = relay.post(&body(&format!("v{number}")));
            (answer.status != 200).then_some(answer)
        })
    };
    let refused = first_refused(&exposure).unwrap();
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("2")));
    assert_eq!(relay.post(&conversion("buyer")).status, 200, "the last tenth is for conversions");
    assert_eq!(first_refused(&conversion).unwrap().status, 503);
    let held: u64 = connect(&redis).get(BYTES).unwrap();
    assert!(held <= 10_000 && held > 9_000, "{held}");
    convert.go_online().unwrap();
    assert!(settled(&redis), "what was accepted is delivered");
    assert_eq!(relay.metric("requests_turned_away_total"), 2);
}

#[test]
fn a_full_stream_keeps_its_bound_and_drains_by_age() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.go_offline();
    let mut small = settings(&redis, &convert);
    (small.max_body_bytes, small.stream_bytes, small.held_bytes, small.lanes) = (1000, 100_000, 10_000, 1);
    let relay = Running::start(small);
    let bytes = exposure("visitor-0000").len() as u64;
    let accepted: Vec<_> =
        names(1000).into_iter().filter(|name| relay.post(&exposure(name)).status == 200).collect();
    // A tenth is reserved for conversions.
    assert_eq!(accepted.len() as u64, 90_000 / bytes);
    assert_eq!(connect(&redis).get::<_, u64>(BYTES).unwrap(), accepted.len() as u64 * bytes);
    let in_hand = relay.metric("entries_in_hand");
    assert!(in_hand <= 10_000 / bytes + 1 + 16, "{in_hand} entries in memory");
    convert.go_online().unwrap();
    assert!(settled(&redis));
    let arrived: Vec<_> = convert.received().events.into_iter().map(|it| it.visitor_id).collect();
    assert_eq!(arrived, accepted, "each once, oldest first");
    assert_eq!(relay.metric("requests_turned_away_total"), 1000 - accepted.len() as u64);
}

#[test]
fn a_poisoned_event_is_kept_aside_and_the_others_arrive() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.go_offline();
    convert.inject(Fault::track(FaultKind::poisoned_visitor("bad-")));
    let relay = Running::start(settings(&redis, &convert));
    let mut all = names(30);
    all.insert(17, "bad-1".to_owned());
    for name in &all {
        assert_eq!(relay.post(&exposure(name)).status, 200);
    }
    convert.go_online().unwrap();
    convert.wait_for_events(30, LONG).unwrap();
    assert!(settled(&redis));
    assert_eq!(visitors(&convert), names(30));
    let kept: redis::streams::StreamRangeReply = connect(&redis).xrange_all(REFUSED).unwrap();
    assert_eq!(kept.ids.len(), 1);
    let body: String = kept.ids[0].get("body").unwrap();
    assert_eq!(body, exposure("bad-1"));
    assert_eq!(kept.ids[0].get::<u16>("status"), Some(400));
}

#[test]
fn a_request_without_an_answer_is_repeated_and_counted() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.inject(Fault::track(FaultKind::DropAfterRecording).times(1));
    let relay = Running::start(settings(&redis, &convert));
    assert_eq!(relay.post(&exposure("v")).status, 200);
    convert.wait_for_events(2, LONG).unwrap();
    assert!(settled(&redis));
    assert_eq!(visitors(&convert), ["v", "v"]);
    assert_eq!(relay.metric("deliveries_unanswered_total"), 1);
}

#[test]
fn another_relay_takes_over_what_a_dead_one_had() {
    let Some((redis, convert)) = world(&[]) else { return };
    // A consumer that reads and then does nothing more.
    let mut connection = connect(&redis);
    let _: () = connection.xgroup_create_mkstream(EVENTS, "relays", "0").unwrap();
    for name in names(40) {
        let body = exposure(&name);
        let _: String = connection.xadd(EVENTS, "*", &[("body", &body)]).unwrap();
        let _: u64 = connection.incr(BYTES, body.len()).unwrap();
    }
    let _: redis::Value = redis::cmd("XREADGROUP")
        .arg(&["GROUP", "relays", "dead", "COUNT", "100", "STREAMS", EVENTS, ">"])
        .query(&mut connection)
        .unwrap();
    let relay = Running::start(settings(&redis, &convert));
    convert.wait_for_events(40, LONG).unwrap();
    assert!(settled(&redis));
    assert_eq!(visitors(&convert), names(40));
    assert_eq!(relay.metric("entries_taken_over_total"), 40);
}

#[test]
fn abandoned_entries_behind_many_held_ones_are_taken_over() {
    /// Redis looks at 160 at a time.
    const HELD: usize = 400;
    let Some((redis, convert)) = world(&[]) else { return };
    let mut connection = connect(&redis);
    let _: () = connection.xgroup_create_mkstream(EVENTS, "relays", "0").unwrap();
    let mut ids = Vec::new();
    for name in names(HELD + 1) {
        let id: String = connection.xadd(EVENTS, "*", &[("body", &exposure(&name))]).unwrap();
        ids.push(id);
    }
    let _: redis::Value = redis::cmd("XREADGROUP")
        .arg(&["GROUP", "relays", "another", "COUNT", "1000", "STREAMS", EVENTS, ">"])
        .query(&mut connection)
        .unwrap();
    let mut settings = settings(&redis, &convert);
    // Longer than this thread may pause between two touches.
    settings.takeover_ms = 10_000;
    let _relay = Running::start(settings);
    let touch = |connection: &mut redis::Connection| {
        let mut claim = redis::cmd("XCLAIM");
        claim.arg(&[EVENTS, "relays", "another", "0"]).arg(&ids[..HELD]).arg("JUSTID").exec(connection)
    };
    let until = std::time::Instant::now() + LONG;
    while convert.received().totals.events == 0 && std::time::Instant::now() < until {
        touch(&mut connection).unwrap();
    }
    assert_eq!(visitors(&convert), names(HELD + 1)[HELD..]);
}

#[test]
fn a_slow_relay_keeps_what_it_has() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.inject(Fault::track(FaultKind::Delay { ms: 12_000 }).times(1));
    let mut patient = settings(&redis, &convert);
    patient.delivery_ms = 30_000;
    let one = Running::start(patient.clone());
    assert_eq!(one.post(&exposure("v")).status, 200);
    convert.wait_until(LONG, |it| it.totals.track_requests > 0).unwrap();
    // Its takeover time is less than half of the delay.
    let two = Running::start(patient);
    convert.wait_for_events(1, LONG).unwrap();
    assert!(settled(&redis));
    assert_eq!(visitors(&convert), ["v"]);
    assert_eq!(two.metric("entries_taken_over_total"), 0);
}

#[test]
fn a_killed_redis_loses_nothing_acknowledged() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some((mut redis, convert)) = world(&durable) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let mut acknowledged = Vec::new();
    for (round, name) in names(30).into_iter().enumerate() {
        if round % 10 == 5 {
            redis.process.kill().unwrap();
            redis.process.wait().unwrap();
            redis.process = serve(redis.port, &redis.folder, &durable).unwrap();
            until_ready(&mut redis.process).unwrap();
        }
        // A client retries what was not acknowledged; its id makes that harmless.
        let id = format!("id-{name}");
        while relay.post_as(&exposure(&name), &[("convert-batch-id", &id)]).status != 200 {}
        acknowledged.push(name);
    }
    convert.wait_for_events(30, LONG).unwrap();
    assert!(settled(&redis));
    assert_eq!(visitors(&convert), acknowledged);
}

#[test]
fn too_few_replicas_are_no_acknowledgement() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut replicated = settings(&redis, &convert);
    (replicated.replicas, replicated.replicas_ms) = (1, 50);
    let relay = Running::start(replicated.clone());
    let id = [("convert-batch-id", "r-1")];
    assert_eq!(relay.post_as(&exposure("v"), &id).status, 503);
    let (host, port) = ("127.0.0.1", redis.port.to_string());
    let Some(_replica) = Redis::start(&["--replicaof", host, &port]) else { return };
    // Until the replica has caught up.
    while relay.post_as(&exposure("v"), &id).status != 200 {}
    convert.wait_for_events(1, LONG).unwrap();
    assert!(settled(&redis));
    assert_eq!(visitors(&convert), ["v"]);
    relay.stop();
}

#[test]
fn a_dead_replica_does_not_stop_deliveries() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut replicated = settings(&redis, &convert);
    (replicated.replicas, replicated.replicas_ms) = (1, 4900);
    let relay = Running::start(replicated);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Redis always waits for the replica on behalf of some of these.
        for host in 0..8 {
            let (relay, is_over) = (&relay, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(relay.post(&exposure(&format!("host-{host}"))).status, 503);
                }
            });
        }
        let mut connection = connect(&redis);
        let mut first = None;
        let until = std::time::Instant::now() + LONG;
        let is_settled = loop {
            let kept: redis::streams::StreamRangeReply =
                connection.xrange_count(EVENTS, "-", "+", 1).unwrap();
            let oldest = kept.ids.into_iter().next().map(|entry| entry.id);
            if first.is_some() && oldest != first {
                break true;
            }
            first = oldest;
            if std::time::Instant::now() > until {
                break false;
            }
        };
        is_over.store(true, Ordering::Relaxed);
        assert!(is_settled, "the acknowledgement does not stand behind the appends");
    });
}

#[test]
fn an_unreadable_entry_is_kept_aside() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut connection = connect(&redis);
    let _: String = connection.xadd(EVENTS, "*", &[("body", "no JSON")]).unwrap();
    let _: u64 = connection.incr(BYTES, 7).unwrap();
    let _relay = Running::start(settings(&redis, &convert));
    assert!(settled(&redis));
    let kept: redis::streams::StreamRangeReply = connection.xrange_all(REFUSED).unwrap();
    assert_eq!(kept.ids[0].get::<String>("status").as_deref(), Some("none"));
    assert_eq!(convert.received().totals.track_requests, 0);
}

#[test]
fn an_sdk_delivers_through_the_relay_by_its_urls_alone() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let network = TransportConfig::builder()
        .config_base_url(&relay.url)
        .track_base_url(format!("{}/v1", relay.url))
        .danger_allow_http_on_loopback(true);
    let (core, context) = shopping(network);
    let _ = context.track_conversion("purchase");
    core.flush(Duration::from_secs(20)).unwrap();
    let received = convert.wait_for_events(2, LONG).unwrap();
    assert_eq!((received.totals.bucketing, received.totals.conversion, received.totals.flawed), (1, 1, 0));
}
