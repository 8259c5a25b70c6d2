//! Drives the program from outside: both ways to flush deliver, and the one thread stays free meanwhile.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind, Project};

const PATIENCE: Duration = Duration::from_secs(30);

/// The running program; it ends with the test, however that ends.
struct Server {
    child: Child,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(emulator: &Emulator, ca: &str) -> Self {
        emulator.write_ca(ca).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_async-server"))
            .env("CONVERT_SDK_KEY", Project::DEMO_SDK_KEY)
            .env("CONVERT_CONFIG_ENDPOINT", emulator.config_url())
            .env("CONVERT_TRACK_ENDPOINT", emulator.track_url())
            .env("CONVERT_CA_FILE", ca)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, output, address }
    }

    /// The status of an answer, and its body.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Ends the program in order, and gives its last words.
    fn terminate(mut self) -> String {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
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

/// The endpoint hangs in the middle of a flush: it is all that waits.
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
        assert!(status == 503 && body.starts_with("flush_incomplete"), "{status} {body}");
    });
    let (status, body) = server.ask("POST", &format!("/flush/{way}"));
    let events = emulator.received().totals.events;
    assert!(events > 0);
    assert_eq!((status, body), (200, format!("{events} delivered")));

    // Records that nobody has flushed are delivered by the end of the program.
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
fn the_blocking_flush_on_its_thread_delivers_and_leaves_the_executor_free() {
    flush("thread");
}
