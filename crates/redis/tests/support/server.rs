//! A Redis server of a test's own.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Ended with this value, by its process id.
pub(crate) struct Redis {
    pub(crate) process: Child,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
}

impl Redis {
    /// A server with these settings, as on its command line; `None` where there is none to start, which is told.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("convert-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        loop {
            // Free now; whoever takes it first makes the server end, and another one is tried.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut process = match serve(port, &folder, settings) {
                Ok(process) => process,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    // Not `eprintln`, which the test harness keeps to itself where a test passes.
                    let _ = writeln!(std::io::stderr(), "SKIPPED: there is no `redis-server` on the path");
                    let _ = std::fs::remove_dir_all(&folder);
                    return None;
                }
                Err(error) => panic!("{error}"),
            };
            match until_ready(&mut process) {
                Ok(()) => return Some(Self { process, port, folder }),
                Err(said) => assert!(said.contains("Address already in use"), "{said}"),
            }
            process.wait().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn serve(port: u16, folder: &Path, settings: &[&str]) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .arg("--dir")
        .arg(folder)
        .args(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
}

/// Reads what the server says until it listens; all of it where it ends before.
pub(crate) fn until_ready(process: &mut Child) -> Result<(), String> {
    let mut said = BufReader::new(process.stdout.take().unwrap());
    let mut lines = Vec::new();
    for line in said.by_ref().lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().contains("Ready to accept connections") {
            // Read on, so that it never waits for somebody who does.
            std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
            return Ok(());
        }
    }
    Err(lines.join("\n"))
}
