//! What clients, a silent Redis and a Convert that hangs can take of a relay.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use convert_emulator::{Fault, FaultKind};
use convert_relay::{KeySettings, Secret};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::proxy::Proxy;
use crate::support::{KEY, LONG, Program, Running, client, convert, exposure, settings, world};

/// A request that has sent this much of a body of a thousand bytes, and waits.
fn stalled(url: &str, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    let head = "HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    stream.write_all(format!("POST /v1/track/{KEY} {head}{}", " ".repeat(sent)).as_bytes()).unwrap();
    stream
}

#[test]
fn bodies_that_stall_have_a_bound_together() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut small = settings(&redis, &convert);
    (small.max_body_bytes, small.bodies_bytes, small.request_ms) = (1000, 1500, 60_000);
    let relay = Running::start(small);
    let long = exposure(&"v".repeat(400));
    assert_eq!(relay.post(&long).status, 200);
    // What is only announced takes nothing.
    let announced = [stalled(&relay.url, 0), stalled(&relay.url, 0)];
    let hold = || {
        let held = stalled(&relay.url, 900);
        held.set_nonblocking(true).unwrap();
        held
    };
    let (mut held, until) = (hold(), Instant::now() + LONG);
    let refused = loop {
        let answer = relay.post(&long);
        if answer.status != 200 {
            break answer;
        }
        if held.peek(&mut [0]).is_ok() {
            // It came while another body had the room, and was refused itself.
            held = hold();
        }
        assert!(Instant::now() < until, "the relay reads without a bound");
    };
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("2")), "{refused:?}");
    assert_eq!(relay.metric("requests_malformed_total"), 0);
    drop(held);
    while relay.post(&long).status != 200 {
        assert!(Instant::now() < until, "the room is not free again");
    }
    drop(announced);
}

#[test]
fn a_silent_redis_is_told_soon_however_many_keys_there_are() {
    let Some((redis, convert)) = world(&[]) else { return };
    let proxy = Proxy::to(redis.port);
    let mut many = settings(&redis, &convert);
    many.redis = Secret::new(proxy.url());
    many.keys.extend((0..9).map(|number| KeySettings::new(format!("unknown/{number}"))));
    let relay = Running::start(many);
    let end = Instant::now() + LONG;
    while relay.admin("/readyz").status != 200 {
        assert!(Instant::now() < end, "it is not ready");
    }
    // It takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.lead_to(silent.local_addr().unwrap().port(), true);
    // Each takes about as long as a command may.
    for _ in 0..3 {
        assert_eq!(relay.post(&exposure("v")).status, 503);
    }
    assert_eq!(relay.admin("/readyz").status, 503);
}

#[test]
fn clients_and_polls_that_stall_do_not_hold_up_a_stop() {
    let Some((redis, emulator)) = world(&[]) else { return };
    emulator.inject(Fault::config(FaultKind::Hang));
    let mut relay = Program::start(&redis, &emulator, "delivery_ms = 100\nrequest_ms = 60000");
    let admin = admin_address(&relay);
    let half = stalled(&relay.url, 1);
    let mut operator = TcpStream::connect(admin).unwrap();
    operator.write_all(b"GET /readyz HTTP/1.1\r\nhost: a\r\n").unwrap();
    emulator.wait_for_requests(1, LONG).unwrap();
    // More than the time that is promised, and less than the clients and the poll take.
    let clock = convert();
    clock.inject(Fault::config(FaultKind::Delay { ms: 27_000 }));
    let url = format!("{}/api/v1/config/{KEY}", clock.http_url());
    let asked = std::thread::spawn(move || client().get(url).call().map(drop));
    clock.wait_for_requests(1, LONG).unwrap();
    kill(Pid::from_raw(relay.process.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert!(relay.process.wait().unwrap().success());
    assert!(!asked.is_finished(), "it took as long as its clients, or the poll");
    drop((half, operator));
    clock.go_offline();
    let _ = asked.join();
}

fn admin_address(relay: &Program) -> String {
    let line: serde_json::Value = serde_json::from_str(&relay.first_line).unwrap();
    line["message"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_key_whose_requests_hang_holds_up_no_other() {
    /// More requests than tokio has threads for unless it is told.
    const KEYS: usize = 33;
    const LANES: usize = 16;
    let Some((redis, emulator)) = world(&[]) else { return };
    emulator.inject(Fault::track(FaultKind::Hang));
    let keys: String = (0..KEYS).map(|key| format!("[[keys]]\nsdk_key = 'hangs/{key}'\n")).collect();
    // Each event is a request, however late the relay reads it.
    let settings = format!("lanes = {LANES}\nmax_request_events = 1\ndelivery_ms = 60000\n{keys}");
    let relay = Program::start(&redis, &emulator, &settings);
    let agent = client();
    for _ in 0..LANES {
        for key in 0..KEYS {
            let url = format!("{}/v1/track/hangs/{key}", relay.url);
            let sent = agent.post(url).header("content-type", "application/json").send(exposure("v"));
            assert_eq!(sent.unwrap().status(), 200);
        }
    }
    emulator.wait_until(LONG, |it| it.totals.track_requests >= 512).unwrap();
    let asked = client().get(format!("{}/api/v1/config/{KEY}?exp=100320101", relay.url)).call();
    assert_eq!(asked.unwrap().status(), 200);
    emulator.go_offline();
}

#[test]
fn an_empty_variable_of_keys_is_told_as_no_key() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_convert-relay"));
    let ended = command.env("CONVERT_RELAY_KEYS", "").output().unwrap();
    assert!(!ended.status.success());
    assert!(String::from_utf8_lossy(&ended.stderr).contains("no SDK key"));
}
