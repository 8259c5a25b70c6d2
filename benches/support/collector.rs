//! A process that accepts tracking requests over loopback and independently counts their conversions.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) type Failure = Box<dyn std::error::Error>;

/// The argument that makes a bench the collector.
pub(crate) const ROLE: &str = "collector";

pub(crate) struct Collector {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    pub(crate) url: String,
}

impl Collector {
    /// Starts this program again, as the collector.
    pub(crate) fn start() -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(ROLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let url = format!("http://{}", output.next().ok_or("no address")??);
        Ok(Self { process, output, url })
    }

    /// Ends it and returns the number of conversions that it received.
    pub(crate) fn end(mut self) -> Result<u64, Failure> {
        drop(self.process.stdin.take());
        let counted = self.output.next().ok_or("no count")??.parse()?;
        self.process.wait()?;
        Ok(counted)
    }
}

/// Accepts requests on a free port, which it prints, until its input ends; then prints the number of conversions in
/// them.
pub(crate) fn collect() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let counted = Arc::<AtomicU64>::default();
    let taking = Arc::clone(&counted);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&taking);
            std::thread::spawn(move || serve(stream, &counted));
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
        // Before the response, so that nothing is acknowledged without being counted.
        let needle = b"\"eventType\":\"conversion\"";
        counted.fetch_add(count(&body, needle), Ordering::SeqCst);
        answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}

fn count(text: &[u8], needle: &[u8]) -> u64 {
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte == needle[0]);
    starts.filter(|(at, _)| text[*at..].starts_with(needle)).count() as u64
}
