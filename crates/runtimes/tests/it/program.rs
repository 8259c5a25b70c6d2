//! A program under test, and the emulator that it talks to.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use convert_emulator::{Emulator, EventData, Project, Received};
use tempfile::TempDir;

/// Long enough that only a hang exceeds it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Signals sent too close together are merged into one.
const BETWEEN_SIGNALS: Duration = Duration::from_millis(20);

/// Rocket's settings: a free port, and plain lines that name it.
pub(crate) const ROCKET: [(&str, &str); 4] = [
    ("ROCKET_ADDRESS", "127.0.0.1"),
    ("ROCKET_PORT", "0"),
    ("ROCKET_CLI_COLORS", "false"),
    ("ROCKET_LOG_LEVEL", "normal"),
];
/// What Rocket prints before its address.
pub(crate) const ROCKET_LISTENS: &str = "Rocket has launched from http://";

/// The emulator with its sample project, and the file of its certificate.
pub(crate) struct Convert {
    pub(crate) emulator: Emulator,
    folder: TempDir,
}

/// A running program; killed if a test fails before it ends.
pub(crate) struct Program {
    child: Child,
    /// The lines that it prints; disconnected when it prints no more.
    lines: Receiver<String>,
}

impl Convert {
    pub(crate) fn start() -> Self {
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        let folder = tempfile::tempdir().unwrap();
        emulator.write_ca(folder.path().join("ca.pem")).unwrap();
        Self { emulator, folder }
    }

    /// Starts a program configured for this emulator by its environment.
    pub(crate) fn run(&self, program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Program {
        let mut child = Command::new(program)
            .args(arguments)
            .env("CONVERT_SDK_KEY", Project::DEMO_SDK_KEY)
            .env("CONVERT_CONFIG_ENDPOINT", self.emulator.config_url())
            .env("CONVERT_TRACK_ENDPOINT", self.emulator.track_url())
            .env("CONVERT_CA_FILE", self.folder.path().join("ca.pem"))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        each_line(child.stdout.take().unwrap(), move |line| {
            // A test may have stopped reading.
            let _ = sender.send(line);
        });
        // Through this process, which shows the output only if the test fails.
        each_line(child.stderr.take().unwrap(), |line| eprintln!("{line}"));
        Program { child, lines }
    }

    pub(crate) fn received(&self) -> Received {
        self.emulator.received()
    }

    /// This visitor's conversions; at most one per goal is correct.
    pub(crate) fn conversions_of(&self, visitor: &str) -> usize {
        conversions_of(&self.received(), visitor)
    }
}

/// This visitor's conversions in a record.
pub(crate) fn conversions_of(received: &Received, visitor: &str) -> usize {
    received.events_of(visitor).filter(|it| matches!(it.event, EventData::Conversion { .. })).count()
}

/// Sends every line over a channel, from its own thread.
fn each_line(output: impl Read + Send + 'static, hand_over: impl FnMut(String) + Send + 'static) {
    thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).for_each(hand_over));
}

impl Program {
    /// The rest of the next line that contains this text.
    pub(crate) fn rest_of_line(&self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("the program should print it");
            if let Some((_, rest)) = line.split_once(text) {
                return rest.trim().to_owned();
            }
        }
    }

    /// The address that a server listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.rest_of_line("listening on ").parse().unwrap()
    }

    /// Every line that it prints until its end.
    pub(crate) fn rest(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Sends SIGTERM repeatedly until it ends.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.signal("-TERM");
            match self.lines.recv_timeout(BETWEEN_SIGNALS) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => assert!(Instant::now() < deadline, "it does not end"),
            }
        }
        self.child.wait().unwrap()
    }

    /// Stops it the way Lambda freezes a sandbox, and returns once it has stopped.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
        let deadline = Instant::now() + PATIENCE;
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
            stat.rsplit_once(") ").unwrap().1.chars().next()
        };
        while state() != Some('T') {
            assert!(Instant::now() < deadline, "the process does not stop");
            thread::yield_now();
        }
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> ExitStatus {
        self.end_or_kill(PATIENCE)
    }

    /// Waits for its end like a supervisor that kills what takes too long.
    pub(crate) fn end_or_kill(mut self, after: Duration) -> ExitStatus {
        let deadline = Instant::now() + after;
        // Its output ends when it does.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.child.kill();
                    break;
                }
            }
        }
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
