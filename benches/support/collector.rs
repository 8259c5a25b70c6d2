//! A process that takes tracking requests over loopback and counts the conversions in them by itself.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) type Failure = Box<dyn std::error::Error>;

/// The argument by which a bench becomes the collector.
pub(crate) const ROLE: &str = "collector";

pub(crate) struct Collector {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
    pub(crate) url: String,
}

impl Collector {
    /// Starts this program once more, as the collector.
    pub(crate) fn start() -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(ROLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let url = format!("http://{}", said.next().ok_or("no address")??);
        Ok(Self { process, said, url })
    }

    /// Ends it and returns how many conversions it was sent.
    pub(crate) fn end(mut self) -> Result<u64, Failure> {
        drop(self.process.stdin.take());
        let counted = self.said.next().ok_or("no count")??.parse()?;
        self.process.wait()?;
        Ok(counted)
    }
}

/// Takes requests on a free port, which it prints, until its input ends; then prints how many
/// conversions they held.
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
