//! How many events one relay takes in and delivers, on one core and one worker thread, beside Redis's own `XADD`:
//! batches of 100 events over eight connections. Elapsed time depends heavily on other load on the machine, the
//! CPU time of the two programs less so.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a bench that cannot go on must fail where it stands; figures are rounded"
)]

#[path = "../../../benches/support/collector.rs"]
mod collector;
#[path = "../../../benches/support/processor.rs"]
mod processor;
#[path = "../../redis/tests/support/server.rs"]
mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use collector::Collector;
use processor::processor_time;
use server::Redis;

const CONNECTIONS: usize = 8;
const BATCHES: usize = 1000;
const EVENTS: usize = 100;
const ROUNDS: usize = 3;
const KEY: &str = "10035569/10034190";
const STREAM: &str = "convert-relay:{10035569/10034190}:events";

fn body() -> String {
    let event = r#"{"eventType":"conversion","data":{"goalId":"100370101","bucketingData":{"100320101":"100330103"}}}"#;
    let visitor = |index| format!(r#"{{"visitorId":"visitor-{index:06}","events":[{event}]}}"#);
    let visitors: Vec<String> = (0..EVENTS).map(visitor).collect();
    format!(
        r#"{{"accountId":"10035569","projectId":"10034190","enrichData":true,"source":"js-sdk","visitors":[{}]}}"#,
        visitors.join(",")
    )
}

/// Runs `work` on every connection at once.
fn timed(work: impl Fn() + Sync) -> Duration {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(&work);
        }
    });
    begun.elapsed()
}

fn post(port: u16, request: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..BATCHES {
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        let mut length = 0;
        loop {
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        answers.read_exact(&mut vec![0; length]).unwrap();
    }
}

fn append(redis: &Redis, body: &str) {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    for _ in 0..BATCHES {
        let _: String = redis::cmd("XADD").arg(&["plain", "*", "body", body]).query(&mut connection).unwrap();
    }
}

/// A relay for Convert at this address.
struct Relay {
    process: Child,
    port: u16,
}

impl Relay {
    fn start(redis: &Redis, convert: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = redis.folder.join("relay.toml");
        let text = format!(
            "listen = '127.0.0.1:{port}'\nadmin_listen = '127.0.0.1:0'\nredis = '{}'\nhttp_on_loopback = true\n\
             stream_bytes = {}\ntrack_base_url = '{convert}/v1'\nconfig_base_url = '{convert}'\n\
             [[keys]]\nsdk_key = '{KEY}'\n",
            redis.url(),
            1_u64 << 40,
        );
        std::fs::write(&file, text).unwrap();
        let relay = env!("CARGO_BIN_EXE_convert-relay");
        let has_taskset = Command::new("taskset").arg("--version").output().is_ok();
        let mut command = if has_taskset { Command::new("taskset") } else { Command::new(relay) };
        if has_taskset {
            command.args(["-c", "0", relay]);
        } else {
            println!("without taskset, the relay is not bound to a core");
        }
        command.env("TOKIO_WORKER_THREADS", "1").arg("--file").arg(file).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        lines.read_line(&mut String::new()).unwrap();
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { process, port }
    }

    /// The most memory that it has had, in MiB.
    fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1024
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The rates of one program over some work.
fn show(what: &str, events: u64, took: Duration, used: Duration) {
    let rate = |time: Duration| events as f64 / time.as_secs_f64();
    println!("{what:<32}{:>10.0} events/s, {:>10.0} for each second of its CPU time", rate(took), rate(used));
}

fn main() -> Result<(), collector::Failure> {
    if std::env::args().nth(1).as_deref() == Some(collector::ROLE) {
        return collector::collect();
    }
    let Some(redis) = Redis::start(&[]) else { return Ok(()) };
    let body = body();
    let request = format!(
        "POST /track/{KEY} HTTP/1.1\r\nhost: relay\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let events = (CONNECTIONS * BATCHES * EVENTS) as u64;
    println!("batches of {EVENTS} events, {} bytes each", body.len());
    for _ in 0..ROUNDS {
        let before = processor_time(redis.process.id());
        let took = timed(|| append(&redis, &body));
        show("XADD alone, by Redis:", events, took, processor_time(redis.process.id()) - before);
        redis::cmd("DEL").arg("plain").exec(&mut redis::Client::open(redis.url())?.get_connection()?)?;
        // Nothing listens on Convert's port.
        let relay = Relay::start(&redis, "http://127.0.0.1:1");
        let before = [redis.process.id(), relay.process.id()].map(processor_time);
        let took = timed(|| post(relay.port, &request));
        show("taken in, by the relay:", events, took, processor_time(relay.process.id()) - before[1]);
        show("meanwhile, by Redis:", events, took, processor_time(redis.process.id()) - before[0]);
        println!("most memory: {} MiB", relay.memory());
        drop(relay);
        deliver(&redis, events)?;
    }
    Ok(())
}

/// A new relay takes over what the last one held, and delivers everything to a process that counts it.
fn deliver(redis: &Redis, events: u64) -> Result<(), collector::Failure> {
    let mut connection = redis::Client::open(redis.url())?.get_connection()?;
    // What the last relay held looks new.
    redis::cmd("XGROUP").arg(&["DESTROY", STREAM, "relays"]).exec(&mut connection)?;
    let convert = Collector::start()?;
    let (begun, before) = (Instant::now(), processor_time(redis.process.id()));
    let relay = Relay::start(redis, &convert.url);
    while redis::cmd("XLEN").arg(STREAM).query::<u64>(&mut connection)? > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = begun.elapsed();
    show("delivered, by the relay:", events, took, processor_time(relay.process.id()));
    show("meanwhile, by Redis:", events, took, processor_time(redis.process.id()) - before);
    println!("most memory: {} MiB", relay.memory());
    drop(relay);
    let arrived = convert.end()?;
    if arrived == events { Ok(()) } else { Err(format!("{arrived} of {events} events arrived").into()) }
}
