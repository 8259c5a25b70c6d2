//! What operators see and do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use convert_emulator::{Fault, FaultKind};
use convert_relay::Secret;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::Commands;

use crate::events::{BYTES, EVENTS, REFUSED, connect};
use crate::proxy::Proxy;
use crate::server::Redis;
use crate::support::{KEY, LONG, Program, Running, answer, client, exposure, settings, world};

#[test]
fn readiness_follows_redis() {
    let Some((mut redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    while relay.admin("/readyz").status != 200 {}
    redis.process.kill().unwrap();
    redis.process.wait().unwrap();
    while relay.admin("/readyz").status != 503 {}
    assert_eq!((relay.admin("/healthz").status, relay.get("/healthz").status), (200, 200));
}

/// The address of Redis leads to another server, while connections to the earlier one stay open.
fn after_a_failover(swallows: bool, of_old: impl FnOnce(&Redis)) {
    let (Some((old, convert)), Some(new)) = (world(&[]), Redis::start(&[])) else { return };
    let proxy = Proxy::to(old.port);
    let mut settings = settings(&old, &convert);
    settings.redis = Secret::new(proxy.url());
    let relay = Running::start(settings);
    assert_eq!(relay.post(&exposure("before")).status, 200);
    convert.wait_for_events(1, LONG).unwrap();
    while relay.admin("/readyz").status != 200 {}
    of_old(&old);
    if !swallows {
        while relay.admin("/readyz").status != 503 {}
    }
    proxy.lead_to(new.port, swallows);
    let until = std::time::Instant::now() + LONG;
    while relay.post(&exposure("after")).status != 200 {
        assert!(std::time::Instant::now() < until, "the relay stays with the old server");
    }
    convert.wait_for_events(2, LONG).unwrap();
    while relay.admin("/readyz").status != 200 {}
}

#[test]
fn a_redis_that_became_a_replica_is_left() {
    after_a_failover(false, |old| {
        let mut connection = redis::Client::open(old.url()).unwrap().get_connection().unwrap();
        // Of an unreachable primary.
        redis::cmd("REPLICAOF").arg(&["127.0.0.1", "1"]).exec(&mut connection).unwrap();
    });
}

#[test]
fn a_redis_that_fell_silent_is_left() {
    after_a_failover(true, |_| {});
}

#[test]
fn a_stopping_relay_tells_operators_that_it_is_not_ready() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut slow = settings(&redis, &convert);
    // Longer than the relay waits between two looks at Redis.
    slow.request_ms = 8000;
    let relay = Running::start(slow);
    while relay.admin("/readyz").status != 200 {}
    let mut half = TcpStream::connect(relay.url.trim_start_matches("http://")).unwrap();
    let head = "HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    half.write_all(format!("POST /v1/track/{KEY} {head}").as_bytes()).unwrap();
    // Once it is told to continue, the relay is waiting for the body, and does so until the time is up.
    half.read_exact(&mut [0; 25]).unwrap();
    let admin_url = relay.admin_url.clone();
    let stopping = std::thread::spawn(move || relay.stop());
    let ask = || client().get(format!("{admin_url}/readyz")).call().map(|answer| answer.status().as_u16());
    while ask().unwrap() != 503 {}
    while let Ok(status) = ask() {
        assert_eq!(status, 503);
    }
    half.set_nonblocking(true).unwrap();
    assert!(half.read(&mut [0; 12]).is_ok(), "operators are served as long as SDKs are");
    stopping.join().unwrap();
}

#[test]
fn the_status_page_and_the_metrics_show_no_key() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    assert_eq!(relay.get(&format!("/api/v1/config/{KEY}?environment=%3Cb%3E")).status, 200);
    for path in ["/status", "/metrics"] {
        let shown = relay.admin(path);
        assert_eq!(shown.status, 200);
        assert!(!shown.body.contains(KEY) && shown.body.contains("events_delivered_total"), "{path}");
        assert!(!shown.body.contains("<b>"), "an environment is not markup");
    }
    for path in ["/status", "/metrics", "/readyz"] {
        assert_eq!(relay.get(path).status, 404, "not for SDKs");
    }
}

#[test]
fn metrics_tell_the_lag_and_the_ages_once_they_are_known() {
    /// In milliseconds: since Redis and the relays began to count.
    const DECADES: u64 = 1_000_000_000_000;
    let Some((redis, convert)) = world(&[]) else { return };
    convert.go_offline();
    let relay = Running::start(settings(&redis, &convert));
    assert_eq!(relay.metric_if_known("config_age_milliseconds"), None, "there is no config");
    let (mut connection, body) = (connect(&redis), exposure("v"));
    // At once: a relay that saw the entry without its bytes would correct the count.
    let mut both = redis::pipe();
    both.atomic().xadd(EVENTS, "1-1", &[("body", &body)]).incr(BYTES, body.len());
    both.exec(&mut connection).unwrap();
    let config = include_str!("../../../emulator/projects/demo.json");
    let stored = [("tag", "t"), ("confirmed", "1"), ("etag", ""), ("body", config)];
    let _: () = connection.hset_multiple(format!("convert-relay:{{{KEY}}}:config:"), &stored).unwrap();
    assert_eq!(relay.post(&exposure("w")).status, 200);
    let told = |name: &str, wanted: &dyn Fn(u64) -> bool| {
        let until = std::time::Instant::now() + LONG;
        while !relay.metric_if_known(name).is_some_and(wanted) {
            assert!(std::time::Instant::now() < until, "{name}: {:?}", relay.metric_if_known(name));
        }
    };
    told("stream_entries", &|entries| entries == 2);
    told("stream_bytes", &|bytes| bytes == 2 * body.len() as u64);
    told("stream_oldest_age_milliseconds", &|age| age > DECADES);
    told("config_age_milliseconds", &|age| age > DECADES);
}

#[test]
fn the_program_drains_at_sigterm() {
    let Some((redis, convert)) = world(&[]) else { return };
    // Longer than it takes the relay to stop otherwise.
    convert.inject(Fault::track(FaultKind::Delay { ms: 11_000 }));
    let mut relay = Program::start(&redis, &convert, "client_secret = 'hidden'\ndelivery_ms = 20000");
    let url = format!("{}/v1/track/{KEY}", relay.url);
    let posted =
        client().post(url).header("content-type", "application/json").send(exposure("secret-visitor"));
    assert_eq!(answer(posted.unwrap()).status, 200);
    convert.wait_until(LONG, |it| it.totals.track_requests > 0).unwrap();
    kill(Pid::from_raw(relay.process.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert!(relay.process.wait().unwrap().success());
    assert_eq!(connect(&redis).xlen::<_, u64>(EVENTS).unwrap(), 0, "it did not wait for the answer");
    assert_eq!(convert.received().totals.events, 1);
    let mut rest = String::new();
    relay.lines.read_to_string(&mut rest).unwrap();
    rest += &relay.first_line;
    assert!(rest.contains("stopped"), "{rest}");
    for line in rest.lines() {
        let _: serde_json::Value = serde_json::from_str(line).unwrap();
    }
    for hidden in ["hidden", "secret-visitor", KEY, "redis://"] {
        assert!(!rest.contains(hidden), "{hidden}");
    }
}

#[test]
fn the_log_calls_nothing_lost_that_is_set_aside_or_waits() {
    let Some((redis, convert)) = world(&[]) else { return };
    convert.inject(Fault::track(FaultKind::status(401)).times(1));
    convert.inject(Fault::track(FaultKind::poisoned_visitor("bad-")));
    let mut relay = Program::start(&redis, &convert, "backoff_ms = 20\nbackoff_ceiling_ms = 200");
    let url = format!("{}/v1/track/{KEY}", relay.url);
    let posted = client().post(url).header("content-type", "application/json").send(exposure("bad-1"));
    assert_eq!(posted.unwrap().status(), 200);
    let until = std::time::Instant::now() + LONG;
    let mut connection = connect(&redis);
    while connection.xlen::<_, u64>(REFUSED).unwrap() == 0 {
        assert!(std::time::Instant::now() < until, "nothing is set aside");
    }
    kill(Pid::from_raw(relay.process.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert!(relay.process.wait().unwrap().success());
    let mut lines = String::new();
    relay.lines.read_to_string(&mut lines).unwrap();
    assert!(lines.contains("refuses events") && lines.contains("given up"), "{lines}");
    assert!(!lines.contains("drop") && !lines.contains("expire"), "{lines}");
}

#[test]
fn a_wrong_setting_ends_the_program_with_a_line() {
    let ended = Command::new(env!("CARGO_BIN_EXE_convert-relay")).output().unwrap();
    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("no SDK key"));
}
