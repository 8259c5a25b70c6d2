//! Drives the program from outside: both kinds of flush deliver, and the only thread stays free meanwhile.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind, Project};

const PATIENCE: Duration = Duration::from_secs(30);

/// The running program; killed with the test if still running.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

/// A program configured for this emulator by its environment.
fn spawn(emulator: &Emulator, ca: &str) -> Child {
    emulator.write_ca(ca).unwrap();
    Command::new(env!("CARGO_BIN_EXE_async-server"))
        .env("CONVERT_SDK_KEY", Project::DEMO_SDK_KEY)
        .env("CONVERT_CONFIG_ENDPOINT", emulator.config_url())
        .env("CONVERT_TRACK_ENDPOINT", emulator.track_url())
        .env("CONVERT_CA_FILE", ca)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Sends SIGTERM.
fn signal(child: &Child) {
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
}

impl Server {
    fn start(emulator: &Emulator, ca: &str) -> Self {
        let mut child = spawn(emulator, ca);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, output, address }
    }

    /// A response's status and body.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Ends the program cleanly, and returns its last output.
    fn terminate(self) -> String {
        signal(&self.child);
        self.last_words()
    }

    /// Its output until it exits cleanly.
    fn last_words(mut self) -> String {
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The endpoint hangs during a flush, and only the flush waits.
fn flush(way: &str) {
    let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
    let ca = format!("{}/{way}-ca.pem", env!("CARGO_TARGET_TMPDIR"));
    let server = Server::start(&emulator, &ca);
    emulator.inject(Fault::track(FaultKind::Hang));
    assert_eq!(server.ask("GET", "/shop?visitor=visitor-1").0, 200);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| server.ask("POST", &format!("/flush/{way}")));
        emulator.wait_until(PATIENCE, |received| received.totals.track_requests == 1).unwrap();
        for _ in 0..50 {
            assert_eq!(server.ask("GET", "/alive"), (200, "alive".to_owned()));
        }
        assert!(!flush.is_finished());
        emulator.clear_faults();
        emulator.close_connections();
        let (status, body) = flush.join().unwrap();
        // It retries within its deadline.
        let events = emulator.received().totals.events;
        assert!(events > 0);
        assert_eq!((status, body), (200, format!("{events} delivered")));
    });
    let (status, body) = server.ask("POST", &format!("/flush/{way}"));
    let events = emulator.received().totals.events;
    assert_eq!((status, body), (200, format!("{events} delivered")));

    // Records that nobody has flushed are delivered when the program ends.
    assert_eq!(server.ask("GET", "/shop?visitor=visitor-2").0, 200);
    let words = server.terminate();
    let totals = emulator.received().totals;
    assert!(totals.events > events, "{words}");
    assert_eq!(words.trim(), format!("{0} of {0} records delivered", totals.events));
}

#[test]
fn the_native_flush_delivers_and_leaves_the_executor_free() {
    flush("native");
}

#[test]
fn the_flush_on_a_thread_delivers_and_leaves_the_executor_free() {
    flush("thread");
}

#[test]
fn sigterm_while_the_config_hangs_ends_the_program_cleanly() {
    let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
    emulator.inject(Fault::config(FaultKind::Hang));
    let mut child = spawn(&emulator, concat!(env!("CARGO_TARGET_TMPDIR"), "/start-ca.pem"));
    emulator.wait_for_requests(1, PATIENCE).unwrap();
    signal(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_open_request_is_answered_and_delivered_before_exit() {
    let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
    let server = Server::start(&emulator, concat!(env!("CARGO_TARGET_TMPDIR"), "/open-ca.pem"));
    let mut open = TcpStream::connect(server.address).unwrap();
    open.write_all(b"GET /shop?visitor=visitor-1 HTTP/1.1\r\n").unwrap();
    // Accepted after it, and answered.
    assert_eq!(server.ask("GET", "/alive").0, 200);
    signal(&server.child);
    while TcpStream::connect(server.address).is_ok() {
        std::thread::yield_now();
    }
    open.write_all(b"host: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let words = server.last_words();
    let events = emulator.received().totals.events;
    assert!(events > 0);
    assert_eq!(words.trim(), format!("{events} of {events} records delivered"));
}

#[test]
fn a_second_sigterm_ends_the_program_at_once() {
    let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
    let mut server = Server::start(&emulator, concat!(env!("CARGO_TARGET_TMPDIR"), "/second-ca.pem"));
    assert_eq!(server.ask("GET", "/shop?visitor=visitor-1").0, 200);
    emulator.inject(Fault::track(FaultKind::Hang));
    signal(&server.child);
    emulator.wait_until(PATIENCE, |received| received.totals.track_requests == 1).unwrap();
    signal(&server.child);
    assert_eq!(server.child.wait().unwrap().code(), Some(143));
}
