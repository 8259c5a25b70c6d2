//! A Redis whose data somebody else has changed, or that has lost it; whose clock has jumped; that closes connections.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use convert_emulator::{Emulator, Fault, FaultKind};
use convert_relay::Secret;
use redis::{Commands, Connection, cmd};

use crate::events::{BYTES, EVENTS, REFUSED, connect, settled};
use crate::server::{serve, until_ready};
use crate::support::{KEY, LONG, Running, conversion, envelope, exposure, settings, world};

/// What somebody else's command leaves behind.
fn run(connection: &mut Connection, command: &[&str]) {
    cmd(command[0]).arg(&command[1..]).exec(connection).unwrap();
}

fn name(what: &str) -> String {
    format!("convert-relay:{{{KEY}}}:{what}")
}

fn has_arrived(convert: &Emulator, visitor: &str) -> bool {
    convert.wait_until(LONG, |it| it.events.iter().any(|event| event.visitor_id == visitor)).is_ok()
}

/// Redis has no notification for these, so this polls.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn an_entry_with_the_id_of_a_lost_one_is_delivered() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.go_offline();
    let relay = Running::start(settings(&redis, &convert));
    assert_eq!(relay.post(&exposure("lost")).status, 200);
    until("the relay has read it", || relay.metric("entries_in_hand") == 1);
    let mut connection = connect(&redis);
    let kept: redis::streams::StreamRangeReply = connection.xrange_all(EVENTS).unwrap();
    let id = kept.ids[0].id.clone();
    run(&mut connection, &["DEL", EVENTS, BYTES]);
    run(&mut connection, &["XADD", EVENTS, &id, "body", &exposure("kept")]);
    convert.go_online().unwrap();
    assert!(has_arrived(&convert, "kept"));
    assert!(settled(&redis));
}

#[test]
fn a_stream_of_a_wrong_type_is_no_acknowledgement() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let mut connection = connect(&redis);
    run(&mut connection, &["DEL", EVENTS]);
    run(&mut connection, &["SET", EVENTS, "text"]);
    let id = [("convert-batch-id", "a-1")];
    assert_eq!(relay.post_as(&exposure("v"), &id).status, 503);
    run(&mut connection, &["DEL", EVENTS]);
    assert_eq!(relay.post_as(&exposure("v"), &id).status, 200);
    assert!(has_arrived(&convert, "v"));
}

#[test]
fn an_append_that_fails_halfway_leaves_nothing() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.go_offline();
    let mut connection = connect(&redis);
    run(&mut connection, &["ACL", "SETUSER", "relay", "on", ">pass", "~*", "&*", "+@all", "-set", "-incrby"]);
    let mut limited = settings(&redis, &convert);
    limited.redis = Secret::new(format!("redis://relay:pass@127.0.0.1:{}/", redis.port));
    let relay = Running::start(limited);
    for _ in 0..3 {
        assert_eq!(relay.post_as(&exposure("v"), &[("convert-batch-id", "a-1")]).status, 503);
    }
    assert_eq!(connection.xlen::<_, u64>(EVENTS).unwrap(), 0);
    assert!(!connection.exists::<_, bool>(name("id:a-1")).unwrap(), "the id of what was not appended");
}

#[test]
fn a_repetition_removes_nothing_of_others() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.go_offline();
    let relay = Running::start(settings(&redis, &convert));
    let id = [("convert-batch-id", "a-1")];
    assert_eq!(relay.post_as(&exposure("first"), &id).status, 200);
    let mut connection = connect(&redis);
    // Nothing can be appended after this id.
    let last = format!("{0}-{0}", u64::MAX);
    run(&mut connection, &["XADD", EVENTS, &last, "body", &exposure("other")]);
    assert_eq!(relay.post_as(&exposure("first"), &id).status, 200);
    for _ in 0..2 {
        assert_eq!(relay.post_as(&exposure("third"), &[("convert-batch-id", "a-2")]).status, 503);
    }
    assert_eq!(connection.xlen::<_, u64>(EVENTS).unwrap(), 2);
}

#[test]
fn a_wrong_count_of_bytes_is_corrected() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.go_offline();
    let relay = Running::start(settings(&redis, &convert));
    let mut connection = connect(&redis);
    for wrong in ["999999999999", "-5", "many", "nan", "1e300"] {
        run(&mut connection, &["DEL", EVENTS]);
        run(&mut connection, &["SET", BYTES, wrong]);
        until(wrong, || relay.post(&exposure("of an empty stream")).status == 200);
        run(&mut connection, &["SET", BYTES, wrong]);
        // Instead of a minute.
        run(&mut connection, &["DEL", &name("recounted")]);
        until(wrong, || relay.post(&exposure("of another")).status == 200);
        until(wrong, || relay.metric("stream_bytes") < 100_000 && relay.admin("/readyz").status == 200);
    }
    convert.go_online().unwrap();
    assert!(settled(&redis));
}

#[test]
fn refusals_that_cannot_be_kept_stop_nothing_and_are_counted() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.inject(Fault::track(FaultKind::poisoned_visitor("bad-")));
    run(&mut connect(&redis), &["SET", REFUSED, "text"]);
    let relay = Running::start(settings(&redis, &convert));
    for visitor in ["bad-1", "good"] {
        assert_eq!(relay.post(&exposure(visitor)).status, 200);
    }
    assert!(has_arrived(&convert, "good"));
    assert!(settled(&redis));
    until("it is counted", || relay.metric("events_refused_lost_total") == 1);
}

#[test]
fn refusals_of_an_older_relay_do_not_cost_later_ones() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.inject(Fault::track(FaultKind::poisoned_visitor("bad-")));
    let mut connection = connect(&redis);
    run(&mut connection, &["XADD", REFUSED, "*", "entry", "1-0", "status", "400", "body", "{}"]);
    let relay = Running::start(settings(&redis, &convert));
    assert_eq!(relay.post(&exposure("bad-1")).status, 200);
    until("it is set aside", || connection.xlen::<_, u64>(REFUSED).unwrap() == 2);
    assert_eq!(relay.metric("events_refused_lost_total"), 0);
}

#[test]
fn what_is_set_aside_of_a_body_has_a_bound() {
    const EVENTS_SENT: u64 = 20;
    let Some((redis, convert)) = world(&[]) else { return };
    convert.inject(Fault::track(FaultKind::poisoned_visitor("bad-")));
    let relay = Running::start(settings(&redis, &convert));
    let event = r#"{"eventType":"bucketing","data":{"experienceId":"100320101","variationId":"100330103"}}"#;
    let visitors: Vec<String> = (0..EVENTS_SENT)
        .map(|number| format!(r#"{{"visitorId":"bad-{number}","events":[{event}]}}"#))
        .collect();
    let source = "x".repeat(20_000);
    let (account, project) = KEY.split_once('/').unwrap();
    let body = format!(
        r#"{{"accountId":"{account}","projectId":"{project}","source":"{source}","visitors":[{}]}}"#,
        visitors.join(",")
    );
    assert_eq!(relay.post(&body).status, 200);
    assert!(settled(&redis));
    let kept: u64 = connect(&redis).xlen(REFUSED).unwrap();
    assert!((5..15).contains(&kept), "{kept}");
    assert_eq!(relay.metric("events_refused_lost_total"), EVENTS_SENT - kept);
}

#[test]
fn entries_of_a_deleted_consumer_are_delivered() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.inject(Fault::track(FaultKind::status(503)));
    let mut short = settings(&redis, &convert);
    short.takeover_ms = 1000;
    let relay = Running::start(short);
    assert_eq!(relay.post(&exposure("v")).status, 200);
    convert.wait_until(LONG, |it| it.totals.track_requests > 0).unwrap();
    let mut connection = connect(&redis);
    let consumers: redis::streams::StreamInfoConsumersReply =
        connection.xinfo_consumers(EVENTS, "relays").unwrap();
    for consumer in consumers.consumers {
        run(&mut connection, &["XGROUP", "DELCONSUMER", EVENTS, "relays", &consumer.name]);
    }
    let pending = |connection: &mut Connection| -> (u64, Option<String>, Option<String>, redis::Value) {
        cmd("XPENDING").arg(EVENTS).arg("relays").query(connection).unwrap()
    };
    until("it is claimed again", || pending(&mut connection).0 == 1);
    convert.clear_faults();
    assert!(has_arrived(&convert, "v"));
    assert!(settled(&redis));
}

#[test]
fn a_key_of_the_readiness_probes_name_is_no_outage() {
    let Some((redis, convert)) = world(&[]) else { return };
    run(&mut connect(&redis), &["RPUSH", "convert-relay:no such key", "text"]);
    let relay = Running::start(settings(&redis, &convert));
    until("it is ready", || relay.admin("/readyz").status == 200);
}

#[test]
fn refusals_have_a_bound_in_bytes() {
    const MIB: usize = 1 << 20;
    let Some((redis, convert)) = world(&[]) else { return };
    let mut connection = connect(&redis);
    for number in 0..70 {
        let body = format!("{number:02}{}", "x".repeat(MIB - 2));
        run(&mut connection, &["XADD", EVENTS, "*", "body", &body]);
        run(&mut connection, &["INCRBY", BYTES, &MIB.to_string()]);
    }
    let _relay = Running::start(settings(&redis, &convert));
    assert!(settled(&redis));
    let kept: redis::streams::StreamRangeReply = connection.xrange_all(REFUSED).unwrap();
    let bodies: Vec<String> = kept.ids.iter().map(|refused| refused.get("body").unwrap()).collect();
    let bytes: usize = bodies.iter().map(String::len).sum();
    assert!((63 * MIB..=65 * MIB).contains(&bytes), "{bytes}");
    assert!(bodies.last().unwrap().starts_with("69"), "the newest");
}

#[test]
fn a_mark_of_a_wrong_type_ends_in_503() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut remembering = settings(&redis, &convert);
    remembering.remember_conversions_ms = 3_600_000;
    let relay = Running::start(remembering);
    assert_eq!(relay.post(&conversion("v")).status, 200);
    let mut connection = connect(&redis);
    let marks: Vec<String> = connection.keys("*:sent:*").unwrap();
    run(&mut connection, &["DEL", &marks[0]]);
    run(&mut connection, &["RPUSH", &marks[0], "text"]);
    assert_eq!(relay.post(&conversion("v")).status, 503);
    assert_eq!(relay.post(&conversion("w")).status, 200);
}

#[test]
fn a_turn_that_is_too_long_or_has_no_end_stops_no_poll() {
    let turn = name("turn:");
    // Of before the clock went back, or somebody's work.
    for turn in [&["SET", &turn, "1", "PX", "999999999"][..], &["SET", &turn, "1"], &["RPUSH", &turn, "1"]] {
        let Some((redis, convert)) = world(&[]) else { return };
        run(&mut connect(&redis), turn);
        let _relay = Running::start(settings(&redis, &convert));
        convert.wait_until(LONG, |it| it.totals.config_requests > 0).unwrap();
    }
}

/// The checksum of what `DUMP` returns.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| {
        let step = |sum: u64, _| if sum & 1 == 1 { sum >> 1 ^ 0x95ac_9329_ac4b_c9b5 } else { sum >> 1 };
        (0..8).fold(sum ^ u64::from(*byte), step)
    })
}

#[test]
fn entries_touched_in_the_future_are_taken_over() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut connection = connect(&redis);
    run(&mut connection, &["XGROUP", "CREATE", EVENTS, "relays", "0", "MKSTREAM"]);
    run(&mut connection, &["XADD", EVENTS, "1-1", "body", &exposure("v")]);
    run(&mut connection, &["XREADGROUP", "GROUP", "relays", "dead", "STREAMS", EVENTS, ">"]);
    run(&mut connection, &["XCLAIM", EVENTS, "relays", "dead", "0", "1-1", "TIME", "123456789", "JUSTID"]);
    // Redis lets nobody say that an entry will be touched, but restores what it is given.
    let (now, _): (u64, u64) = cmd("TIME").query(&mut connection).unwrap();
    let mut dump: Vec<u8> = cmd("DUMP").arg(EVENTS).query(&mut connection).unwrap();
    let touched = dump.windows(8).position(|bytes| bytes == 123_456_789_u64.to_le_bytes()).unwrap();
    dump[touched..touched + 8].copy_from_slice(&((now + 86_400) * 1000).to_le_bytes());
    let checked = dump.len() - 8;
    let sum = crc64(&dump[..checked]).to_le_bytes();
    dump[checked..].copy_from_slice(&sum);
    cmd("RESTORE").arg(EVENTS).arg(0).arg(dump).arg("REPLACE").exec(&mut connection).unwrap();
    let mut eager = settings(&redis, &convert);
    eager.takeover_ms = 1000;
    let _relay = Running::start(eager);
    assert!(has_arrived(&convert, "v"));
}

/// The clients of a server by their ids, with the seconds since each sent something.
fn clients(connection: &mut Connection) -> HashMap<u64, u64> {
    let list: String = cmd("CLIENT").arg("LIST").query(connection).unwrap();
    let value = |line: &str, name: &str| {
        line.split(' ').find_map(|it| it.strip_prefix(name)).and_then(|it| it.parse().ok()).unwrap()
    };
    list.lines().map(|line| (value(line, "id="), value(line, "idle="))).collect()
}

#[test]
fn a_relay_that_says_it_is_ready_takes_events() {
    let Some((mut redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    redis.process.kill().unwrap();
    redis.process.wait().unwrap();
    // Its first append falls into the outage.
    assert_eq!(relay.post(&exposure("lost")).status, 503);
    until("it is not ready", || relay.admin("/readyz").status == 503);
    redis.process = serve(redis.port, &redis.folder, &[]).unwrap();
    until_ready(&mut redis.process).unwrap();
    until("it is ready", || relay.admin("/readyz").status == 200);
    assert_eq!(relay.post(&exposure("v")).status, 200);
    assert!(has_arrived(&convert, "v"));
}

#[test]
fn the_first_events_after_a_rest_are_taken() {
    let Some((redis, convert)) = world(&["--timeout", "3"]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let mut connection = connect(&redis);
    for round in 0..3 {
        assert_eq!(relay.post(&exposure(&format!("v{round}"))).status, 200, "{round}");
        // One that rests for a second may be shown as resting for two, and then works again.
        let mut rested = HashSet::new();
        until("Redis closes a connection", || {
            let clients = clients(&mut connection);
            rested.extend(clients.iter().filter(|(_, idle)| **idle >= 2).map(|(id, _)| *id));
            rested.iter().any(|id| !clients.contains_key(id))
        });
    }
}

#[test]
fn a_body_that_would_need_many_requests_is_refused() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let one = exposure("v");
    let (start, rest) = one.split_once("[{").unwrap();
    let visitor = |country: &str| {
        let fields = format!(r#""segments":{{"country":"{country}"}},"events""#);
        format!("{{{}", rest.strip_suffix("]}").unwrap()).replace(r#""events""#, &fields)
    };
    let body = |countries: [&str; 2]| {
        let visitors: Vec<String> = (0..300).map(|number| visitor(countries[number % 2])).collect();
        format!("{start}[{}]}}", visitors.join(","))
    };
    let refused = relay.post(&body(["DE", "FR"]));
    assert_eq!((refused.status, refused.body.contains("visitors[1].visitorId")), (400, true), "{refused:?}");
    assert_eq!(relay.post(&body(["DE", "DE"])).status, 200);
    let received = convert.wait_for_events(300, LONG).unwrap();
    assert_eq!((received.totals.track_requests, received.totals.flawed), (1, 0));
}

/// Small events take several times their size once they are taken apart.
#[cfg(target_os = "linux")]
#[test]
fn a_relay_on_a_full_stream_takes_the_memory_that_is_promised() {
    const MIB: u64 = 1 << 20;
    let Some((redis, convert)) = world(&[]) else { return };
    convert.inject(Fault::track(FaultKind::status(503)));
    let event = r#"{"eventType":"a","data":{}}"#;
    let events = vec![event; (MIB as usize - 200) / (event.len() + 1)].join(",");
    let mut connection = connect(&redis);
    for _ in 0..40 {
        run(&mut connection, &["XADD", EVENTS, "*", "body", &envelope("v", &events)]);
    }
    let relay = crate::support::Program::start(&redis, &convert, "");
    convert.wait_until(LONG, |it| it.totals.track_requests >= 2).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    // 4 MiB of events, one entry more of them, 16 entries, requests of each lane, and the program itself.
    assert!(most * 1024 < 64 * MIB, "{most} KiB");
}
