//! Conversions delivered a second: two producers, the whole pipeline, and a collector in another process.
//!
//! `cargo bench --bench pipeline [-- RECORDS]`. The collector counts what it is sent by itself; the bench
//! fails unless its count, the ledger and the number of records agree. Producers wait where the pipeline
//! is full, so that nothing is dropped and the rate is that of deliveries.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use convert_sdk::{Core, DeliveryConfig, OverflowPolicy, SdkConfig, TransportConfig};

type Failure = Box<dyn std::error::Error>;

const RECORDS: u64 = 2_000_000;
const PRODUCERS: u64 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = if arguments.first().is_some_and(|it| it == "collector") {
        collect()
    } else {
        let records = arguments.iter().find_map(|it| it.parse().ok()).unwrap_or(RECORDS);
        measure(records)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(records: u64) -> Result<(), Failure> {
    let mut collector = Command::new(std::env::current_exe()?)
        .arg("collector")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(collector.stdout.take().ok_or("no output")?).lines();
    let address = said.next().ok_or("no address")??;

    let network = TransportConfig::builder()
        .track_base_url(format!("http://{address}"))
        .danger_allow_http_on_loopback(true)
        .build()?;
    let delivery =
        DeliveryConfig::builder().overflow(OverflowPolicy::Wait(Duration::from_secs(30))).build()?;
    let config = SdkConfig::builder()
        .data_json(include_str!("../examples/shop.json"))
        .transport(network)
        .delivery(delivery)
        .build()?;
    let core = Core::new(config);
    core.initialize()?;

    let start = Instant::now();
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let core = &core;
            scope.spawn(move || {
                for number in (producer..records).step_by(PRODUCERS as usize) {
                    if let Ok(visitor) = core.create_context(format!("v{number}"), ()) {
                        visitor.track_conversion("purchase");
                    }
                }
            });
        }
    });
    let recorded = start.elapsed();
    let report = core.flush(Duration::from_secs(60))?;
    let delivered = start.elapsed();
    let stats = core.close();

    drop(collector.stdin.take());
    let counted: u64 = said.next().ok_or("no count")??.parse()?;
    collector.wait()?;
    let rate = |time: Duration| records as f64 / time.as_secs_f64();
    println!("{records} conversions of as many visitors, {PRODUCERS} producers, {} requests", stats.requests);
    println!("{:>10.0} a second recorded, with the creation of a context each", rate(recorded));
    println!("{:>10.0} a second delivered", rate(delivered));
    println!("{counted} counted by the collector, {} by the ledger", stats.delivered);
    if !(stats.is_balanced() && report.is_complete() && stats.delivered == records && counted == records) {
        return Err(format!("the counts differ: {stats:?}").into());
    }
    Ok(())
}

/// Takes requests on a free port, which it prints, until its input ends; then prints how many
/// conversions they held.
fn collect() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let counted = Arc::<AtomicU64>::default();
    let taking = Arc::clone(&counted);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&taking);
            thread::spawn(move || serve(stream, &counted));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    println!("{}", counted.load(Ordering::SeqCst));
    Ok(())
}

fn serve(stream: TcpStream, counted: &AtomicU64) -> Option<()> {
    let mut answers = stream.try_clone().ok()?;
    let mut requests = BufReader::with_capacity(1 << 16, stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if requests.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let header = line.trim_end().to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if header.is_empty() {
                break;
            }
        }
        body.resize(length, 0);
        requests.read_exact(&mut body).ok()?;
        // Before the answer, so that nothing is acknowledged and not counted.
        let needle = b"\"eventType\":\"conversion\"";
        counted.fetch_add(count(&body, needle), Ordering::SeqCst);
        answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}

fn count(text: &[u8], needle: &[u8]) -> u64 {
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte == needle[0]);
    starts.filter(|(at, _)| text[*at..].starts_with(needle)).count() as u64
}
