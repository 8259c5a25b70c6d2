//! A test's own Redis server.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Names the program, which is otherwise looked for on the path.
const PROGRAM: &str = "REDIS_SERVER";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Killed on drop, by its process id.
pub(crate) struct Redis {
    pub(crate) process: Child,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
}

impl Redis {
    /// A server with these command-line settings; `None`, with a message, if there is no `redis-server`.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("convert-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        loop {
            // Free now; if another program takes it first, the server exits and another port is tried.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut process = match serve(port, &folder, settings) {
                Ok(process) => process,
                Err(error) if error.kind() == ErrorKind::NotFound && std::env::var_os(PROGRAM).is_none() => {
                    // Not `eprintln`, which the test harness captures if a test passes.
                    let _ = writeln!(std::io::stderr(), "SKIPPED: there is no `redis-server` on the path");
                    let _ = std::fs::remove_dir_all(&folder);
                    return None;
                }
                Err(error) => panic!("{error}"),
            };
            match until_ready(&mut process) {
                Ok(()) => return Some(Self { process, port, folder }),
                Err(output) => assert!(output.contains("Address already in use"), "{output}"),
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
    Command::new(std::env::var_os(PROGRAM).unwrap_or_else(|| "redis-server".into()))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .arg("--dir")
        .arg(folder)
        .args(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
}

/// Reads the server's log until it listens; all of it if the server exits first.
pub(crate) fn until_ready(process: &mut Child) -> Result<(), String> {
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut lines = Vec::new();
    for line in output.by_ref().lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().contains("Ready to accept connections") {
            // Keep reading, so that it never blocks on a full pipe.
            std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
            return Ok(());
        }
    }
    Err(lines.join("\n"))
}
