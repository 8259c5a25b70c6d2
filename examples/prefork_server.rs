//! A gunicorn-style pre-fork server: a master loads the config once and forks workers, which accept on one socket and
//! each decide, record and deliver on their own.
//!
//! `GET /?visitor=ID` responds with the visitor's decision and records a conversion; a visitor without an id gets one.
//! SIGTERM to the master drains the workers; a worker that dies is replaced. Each worker prints its ledger as a line of
//! JSON before it exits.
//!
//! `PREFORK_ADDRESS` and `PREFORK_WORKERS` set the address and the number of workers. Talks to the servers named by
//! `CONVERT_SDK_KEY` and the other variables; without them it starts an emulator, requests 100 pages from itself and
//! stops. `scripts/prefork_load` drives it with a load generator; for that, a worker notes each response and each flush
//! in its own file in the folder `PREFORK_JOURNAL`.

mod endpoint;

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convert_sdk::{Core, attributes};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use signal_hook::consts::{SIGCHLD, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

/// Responses after which a worker flushes; an idle one does so after a second.
const FLUSH_EVERY: u32 = 50;
const GRACE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    // Set in the master and inherited by the workers, so that no signal comes too early for them.
    let stop = Arc::new(AtomicBool::new(false));
    flag::register(SIGTERM, Arc::clone(&stop))?;
    let mut signals = Signals::new([SIGTERM, SIGCHLD])?;

    let emulator = endpoint::emulator()?;
    // Without a refresh, a stopped experience keeps running here until the next start.
    let config = endpoint::configure(emulator.as_ref())?.for_server();
    let core = Core::new(config.build()?);
    // Every worker inherits this config, and refreshes its own copy from then on.
    core.initialize()?;

    let address = env::var("PREFORK_ADDRESS").unwrap_or_else(|_| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    // Every worker is notified of a connection, and one gets it.
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    println!("{}", serde_json::json!({ "master": std::process::id(), "listening": address.to_string() }));

    let worker = Worker { core, listener, stop };
    let count = env::var("PREFORK_WORKERS").map_or(Ok(2), |count| count.parse())?;
    let mut workers = (0..count).map(|_| worker.fork()).collect::<Result<HashSet<_>, _>>()?;
    if emulator.is_some() {
        std::thread::spawn(move || ask_for_pages(address));
    }

    while !workers.is_empty() {
        for signal in signals.wait() {
            if signal == SIGTERM {
                workers.iter().try_for_each(|worker| kill(*worker, Signal::SIGTERM))?;
            }
        }
        // One SIGCHLD can stand for several exits.
        while let Some(ended) = waitpid(None, Some(WaitPidFlag::WNOHANG)).ok().and_then(|end| end.pid()) {
            workers.remove(&ended);
            if !worker.stop.load(Ordering::Relaxed) {
                println!("{}", serde_json::json!({ "replaced": ended.as_raw() }));
                workers.insert(worker.fork()?);
            }
        }
    }
    let stats = worker.core.shutdown(GRACE)?.stats;
    println!("{}", serde_json::json!({ "master": std::process::id(), "recorded": stats.recorded }));
    Ok(())
}

/// What a worker inherits from the master.
struct Worker {
    core: Core,
    listener: TcpListener,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn fork(&self) -> Result<Pid, Errno> {
        #[expect(unsafe_code, reason = "a fork is what this example is about")]
        // SAFETY: the child continues as the only thread; glibc keeps what it needs beyond async-signal-safe calls
        // (memory, threads, sockets) usable after a fork.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(child),
            ForkResult::Child => {
                let worked = self.work();
                if let Err(error) = &worked {
                    eprintln!("worker {}: {error}", std::process::id());
                }
                // Must not return into the master's `main`.
                std::process::exit(worked.is_err().into())
            }
        }
    }

    fn work(&self) -> Result<(), Box<dyn Error>> {
        // Ends a wait for connections when the signal arrives.
        let (wake, woken) = UnixStream::pair()?;
        low_level::pipe::register(SIGTERM, wake)?;
        let mut journal = open_journal()?;
        let mut note = |mark: &[u8]| journal.as_mut().map_or(Ok(()), |journal| journal.write_all(mark));
        let (mut answered, mut undelivered) = (0, 0);
        while !self.stop.load(Ordering::Relaxed) {
            let mut ready =
                [self.listener.as_fd(), woken.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let idle = match poll(&mut ready, 1_000_u16) {
                Err(Errno::EINTR) => continue,
                events => events? == 0,
            };
            match self.listener.accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
                Ok((connection, _)) => {
                    // A client that sends nothing, or too slowly, gets no response and has not converted.
                    let Some(visitor) = visitor(&connection, answered) else { continue };
                    let page = self.page(&visitor)?;
                    answered += 1;
                    undelivered += 1;
                    note(b"a")?;
                    // A client that has disconnected has converted nevertheless.
                    let _ = (&connection).write_all(page.as_bytes());
                }
            }
            if undelivered >= FLUSH_EVERY || idle && undelivered > 0 {
                // What is not delivered is kept and retried; the ledger shows it at the end.
                if self.core.flush(GRACE).is_ok() {
                    undelivered = 0;
                    note(b"f")?;
                }
            }
        }
        let flushed = self.core.shutdown(GRACE);
        let stats = flushed.as_ref().map_or_else(|error| error.stats(), |report| &report.stats);
        let line = serde_json::json!({
            "worker": std::process::id(),
            "fork_generation": stats.fork_generation,
            "answered": answered,
            "recorded": stats.recorded,
            "deduplicated": stats.deduplicated,
            "delivered": stats.delivered,
            "delivered_events": stats.delivered_events,
            "dropped": stats.dropped.total(),
            "pending": stats.pending,
            "requests": stats.requests,
        });
        println!("{line}");
        Ok(())
    }

    /// Decides, records, and returns what to show.
    fn page(&self, visitor: &str) -> Result<String, Box<dyn Error>> {
        let visitor = self.core.create_context(visitor, attributes! { "age" => 30, "country" => "DE" })?;
        let shown = visitor.run_experience("homepage-headline");
        visitor.track_conversion("signup");
        let body = shown.map_or("nothing", |shown| shown.variation_key());
        let length = body.len();
        Ok(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"))
    }
}

/// The visitor: `visitor` from the query, or a new one; `None` without a complete request.
fn visitor(mut connection: &TcpStream, number: u32) -> Option<String> {
    let (mut head, mut part) = (Vec::new(), [0; 1_024]);
    connection.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = connection.read(&mut part).ok().filter(|read| *read > 0 && head.len() < 8_192)?;
        head.extend_from_slice(&part[..read]);
    }
    let head = String::from_utf8_lossy(&head);
    let asked = head.split(' ').nth(1)?.split_once("visitor=");
    Some(asked.map_or_else(|| format!("worker-{}-{number}", std::process::id()), |(_, id)| id.to_owned()))
}

fn open_journal() -> io::Result<Option<File>> {
    let Some(folder) = env::var_os("PREFORK_JOURNAL") else { return Ok(None) };
    let path = std::path::Path::new(&folder).join(std::process::id().to_string());
    File::options().append(true).create(true).open(path).map(Some)
}

/// A few clients, and the end.
fn ask_for_pages(address: SocketAddr) {
    for page in 0..100 {
        let asked = TcpStream::connect(address).and_then(|mut client| {
            write!(client, "GET /?visitor=visitor-{page} HTTP/1.1\r\nhost: shop\r\n\r\n")?;
            client.read_to_string(&mut String::new())
        });
        if let Err(error) = asked {
            eprintln!("page {page}: {error}");
        }
    }
    let _ = low_level::raise(SIGTERM);
}
