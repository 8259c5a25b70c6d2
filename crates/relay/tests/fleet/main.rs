//! Two relays, a Redis that syncs every append, Convert, and clients of three languages, each with its real
//! package: under load, the parts are killed, cut off and stopped in turn, `FLEET_ROUNDS` times (1), with
//! `FLEET_BATCH` visitors (10) per request. In the end, everything acknowledged must have arrived.
//!
//! `scripts/fleet` installs the packages and names them in `FLEET_PYTHON` and `FLEET_NODE`; without these, there are
//! clients of this SDK only.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail where it stands")]

mod account;
mod network;
mod rust;
#[path = "../../../redis/tests/support/server.rs"]
mod server;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use account::Told;
use convert_emulator::{Emulator, Project};
use network::Network;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use server::{Redis, serve, until_ready};

/// Acknowledged visitors between two disturbances.
const BETWEEN: usize = 200;
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
/// How much a relay reads ahead: little, as it may deliver all of that while Redis is gone.
const HELD_BYTES: usize = 16 * 1024;
/// The requests that two relays of four lanes can have had answered and not yet acknowledged in Redis, by far.
const UNSETTLED: u64 = 128;
/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(120);
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fleet/client.py");
const NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fleet/client.mjs");

/// A relay, killed on drop.
struct Relay(Child);

impl Relay {
    fn start(port: u16, redis: &Redis, convert: &Emulator) -> Self {
        let (file, folder) = (redis.folder.join(format!("relay-{port}.toml")), redis.folder.display());
        let text = format!(
            "listen = '127.0.0.1:{port}'\nadmin_listen = '127.0.0.1:0'\nredis = '{}'\nhttp_on_loopback = true\n\
             tls_certificate = '{folder}/certificate'\ntls_key = '{folder}/key'\n\
             config_base_url = '{1}'\ntrack_base_url = '{1}/v1'\nbackoff_ms = 50\nbackoff_ceiling_ms = 500\n\
             takeover_ms = 10000\nheld_bytes = {HELD_BYTES}\n[[keys]]\nsdk_key = '{2}'\n",
            redis.url(),
            convert.http_url(),
            Project::DEMO_SDK_KEY,
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_convert-relay"));
        Self(command.arg("--file").arg(&file).stderr(Stdio::null()).spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stop(process: &mut Child) {
    kill(Pid::from_raw(process.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    process.wait().unwrap();
}

/// A client process and its way to the relays; ends when its input is closed, killed on drop.
struct Client {
    process: Child,
    network: Network,
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Everything, and what clients say.
struct Fleet {
    redis: Redis,
    convert: Emulator,
    ports: [u16; 2],
    relays: [Option<Relay>; 2],
    clients: Vec<Client>,
    told: Vec<Told>,
    lines: Receiver<(usize, String)>,
    /// The requests to Convert whose events may come again, as a relay ended before Redis knew that they were delivered.
    unsettled: Vec<RangeInclusive<u64>>,
    /// The last request before Redis went, while it is gone.
    redis_gone: Option<u64>,
}

impl Fleet {
    /// `None` without redis-server.
    fn start() -> Option<Self> {
        let redis = Redis::start(&DURABLE)?;
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(redis.folder.join("certificate"), pair.cert.pem()).unwrap();
        std::fs::write(redis.folder.join("key"), pair.signing_key.serialize_pem()).unwrap();
        let convert =
            Emulator::builder().project(Project::demo()).request_history(usize::MAX).start().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = [free(), free()];
        let relays = ports.map(|port| Some(Relay::start(port, &redis, &convert)));
        let (send, lines) = channel();
        let mut fleet = Self {
            redis,
            convert,
            ports,
            relays,
            clients: Vec::new(),
            told: Vec::new(),
            lines,
            unsettled: Vec::new(),
            redis_gone: None,
        };
        // Until both listen.
        while ports.iter().any(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            std::thread::yield_now();
        }
        fleet.add_clients(&send);
        Some(fleet)
    }

    fn add_clients(&mut self, send: &Sender<(usize, String)>) {
        let authority = self.redis.folder.join("certificate");
        for language in ["Rust", "Python", "JavaScript", "Rust"] {
            let mut command = match language {
                "Python" => match std::env::var_os("FLEET_PYTHON") {
                    Some(python) => with(python, &[PYTHON.into()]),
                    None => continue,
                },
                "JavaScript" => match std::env::var_os("FLEET_NODE") {
                    Some(packages) => with("node", &[NODE.into(), packages.into()]),
                    None => continue,
                },
                _ => with(std::env::current_exe().unwrap(), &[rust::ROLE.into(), authority.clone()]),
            };
            let network = Network::to(self.ports);
            let index = self.clients.len();
            let mut process = command
                .args([&format!("https://localhost:{}", network.port), Project::DEMO_SDK_KEY])
                .args([&format!("{language}-{index}"), &number("FLEET_BATCH", 10).to_string()])
                .env("NODE_EXTRA_CA_CERTS", &authority)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let output = BufReader::new(process.stdout.take().unwrap());
            let send = send.clone();
            std::thread::spawn(move || {
                output.lines().map_while(Result::ok).try_for_each(|line| send.send((index, line)))
            });
            self.clients.push(Client { process, network });
            self.told.push(Told { language, ..Told::default() });
        }
    }

    /// Waits until this many more visitors have been acknowledged.
    fn progress(&mut self, count: usize) {
        let mut acknowledged = 0;
        while acknowledged < count {
            let (client, line) = self.lines.recv_timeout(LONG).unwrap();
            acknowledged += self.told[client].take(&line);
        }
    }

    fn start_part(&mut self, part: usize) {
        match self.ports.get(part) {
            Some(port) => self.relays[part] = Some(Relay::start(*port, &self.redis, &self.convert)),
            None => {
                self.redis.process = serve(self.redis.port, &self.redis.folder, &DURABLE).unwrap();
                until_ready(&mut self.redis.process).unwrap();
                self.redis_gone = None;
            }
        }
    }

    fn stop_part(&mut self, part: usize) {
        match self.relays.get_mut(part) {
            Some(relay) => {
                stop(&mut relay.take().unwrap().0);
                self.relay_ended();
            }
            None => {
                self.redis_gone = Some(self.last_request());
                stop(&mut self.redis.process);
            }
        }
    }

    fn last_request(&self) -> u64 {
        self.convert.received().requests.back().map_or(0, |request| request.number)
    }

    fn relay_ended(&mut self) {
        let end = self.last_request();
        let begin = self.redis_gone.unwrap_or(end).saturating_sub(UNSETTLED);
        // Also what was on its way when the relay ended.
        self.unsettled.push(begin..=end + UNSETTLED);
    }

    fn disturb(&mut self, round: usize) {
        self.relays[round % 2].as_mut().unwrap().kill();
        self.relay_ended();
        self.progress(BETWEEN);
        self.start_part(round % 2);
        self.redis.process.kill().unwrap();
        self.redis.process.wait().unwrap();
        self.start_part(REDIS);
        self.progress(BETWEEN);
        self.convert.go_offline();
        self.progress(BETWEEN);
        self.convert.go_online().unwrap();
        self.progress(BETWEEN);
        let cut = round % self.clients.len();
        self.clients[cut].network.cut();
        self.progress(BETWEEN);
        self.clients[cut].network.mend();
        // Every order of stopping, and over the rounds every order of starting.
        let (stopped, started) = (ORDERS[round % 6], ORDERS[(round + round / 6 + 2) % 6]);
        stopped.into_iter().for_each(|part| self.stop_part(part));
        started.into_iter().for_each(|part| self.start_part(part));
        self.progress(BETWEEN);
    }

    fn end(mut self) {
        for client in &mut self.clients {
            drop(client.process.stdin.take());
        }
        for client in &mut self.clients {
            assert!(client.process.wait().unwrap().success());
        }
        while let Ok((client, line)) = self.lines.recv() {
            self.told[client].take(&line);
        }
        account::settle(&self.told, &self.convert, &self.unsettled);
    }
}

/// The parts besides the two relays.
const REDIS: usize = 2;
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

fn with(program: impl AsRef<std::ffi::OsStr>, arguments: &[PathBuf]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((rust::ROLE, rest)) = arguments.split_first().map(|(role, rest)| (role.as_str(), rest)) {
        return rust::client(rest);
    }
    let Some(mut fleet) = Fleet::start() else { return };
    if fleet.clients.len() < 4 {
        println!("SKIPPED: clients of other languages, whose packages scripts/fleet installs");
    }
    let begun = Instant::now();
    let rounds = number("FLEET_ROUNDS", 1);
    fleet.progress(BETWEEN);
    for round in 0..rounds {
        fleet.disturb(round);
    }
    println!("rounds: {rounds}, each with five disturbances, in {:.1?}", begun.elapsed());
    fleet.end();
}
