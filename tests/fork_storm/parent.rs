//! A parent of the storm: threads that use a core in bursts, and others that fork in between.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use convert_emulator::{Emulator, Project};
use convert_sdk::adapters::InMemoryDataStore;
use convert_sdk::config::{RefreshConfig, TransportConfig};
use convert_sdk::events::LifecycleEventKind;
use convert_sdk::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};
use convert_sdk::{Core, SdkConfig, attributes};
use crossbeam_channel::{Receiver, Sender, bounded};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

use crate::child;
use crate::watch::{self, Watched};

/// For all children of one parent; only a hang of the parent itself exceeds it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1200);

const SHOP: &str = include_str!("../it/shop.json");
const KEY: &str = "shop/key-of-7";
const FORKERS: usize = 2;
const RACERS: usize = 5;
const CHURN: usize = RACERS;

/// The emulator, in its own process, so that none of its threads is forked.
pub(crate) struct Server {
    pid: Pid,
    https: String,
    http: String,
    ca: String,
}

/// What one parent and its children work with.
pub(crate) struct Scene<'a> {
    server: &'a Server,
    seed: u64,
}

/// Answers at once, without a network.
struct Answers;

impl Server {
    pub(crate) fn start() -> Self {
        let (mut read, mut write) = std::io::pipe().unwrap();
        // SAFETY: this process has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child: pid } => {
                drop(write);
                let mut text = String::new();
                read.read_to_string(&mut text).unwrap();
                let mut parts = text.splitn(3, '\n').map(str::to_owned);
                let mut next = || parts.next().unwrap();
                Self { pid, https: next(), http: next(), ca: next() }
            }
            ForkResult::Child => {
                // SAFETY: asks to be killed when the first process ends, however it ends.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let project = Project::from_json(SHOP).sdk_key(KEY);
                let emulator = Emulator::builder().project(project).request_history(100).start().unwrap();
                // By number, so that no name is resolved: the C library's locks there are not the SDK's.
                let https = emulator.https_url().replace("localhost", "127.0.0.1");
                write!(write, "{https}\n{}\n{}", emulator.http_url(), emulator.ca_pem()).unwrap();
                drop(write);
                loop {
                    // Otherwise the record would grow for ever.
                    let _ = emulator.wait_for_events(10_000, Duration::from_secs(3600));
                    emulator.clear();
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

impl ConfigSource for Answers {
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        if request.etag.is_some() {
            return Ok(ConfigResponse::NotModified);
        }
        Ok(ConfigResponse::Fetched { body: SHOP.to_owned(), etag: Some("1".to_owned()) })
    }
}

impl EventSink for Answers {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        Ok(Receipt::default())
    }
}

impl Scene<'_> {
    /// Whether threads constantly start and end, including lookup threads: all racers start and close cores, and
    /// children are forked one after the other and do nothing but exit.
    const fn churns(&self) -> bool {
        self.seed % 4 == 2
    }

    pub(crate) fn core(&self) -> Core {
        let mut config = SdkConfig::builder().sdk_key(KEY);
        if self.seed % 3 == 1 {
            config = config.shared_data_store(Arc::new(InMemoryDataStore::new()));
        }
        if self.seed % 4 == 1 {
            let policy = RefreshConfig::builder().interval(Duration::from_millis(20)).jitter(Duration::ZERO);
            config = config.refresh(policy.build().unwrap());
        }
        // Most parents and children do without a network, which takes the most time.
        let network = match self.seed % 8 {
            0 => TransportConfig::builder()
                .config_base_url(&self.server.https)
                .track_base_url(format!("{}/v1", self.server.https))
                .root_certificate_pem(self.server.ca.as_str()),
            2 | 4 | 6 => TransportConfig::builder()
                .config_base_url(&self.server.http)
                .track_base_url(format!("{}/v1", self.server.http))
                .danger_allow_http_on_loopback(true),
            _ => return Core::builder(config.build().unwrap()).transport(Answers).build().unwrap(),
        };
        Core::new(config.transport(network.build().unwrap()).build().unwrap())
    }
}

/// Forks `children` children while other threads are busy. Panics if one failed.
pub(crate) fn run(server: &Server, seed: u64, children: u32) {
    let scene = &Scene { server, seed };
    let core = &scene.core();
    // Half of them are forked before the first config has arrived.
    let first = if seed.is_multiple_of(2) {
        core.initialize_within(child::PATIENCE).unwrap();
        Some(core.create_context("inherited", attributes! { "plan" => "pro" }).unwrap())
    } else {
        None
    };
    let (inherited, left, bad) = (&first, &AtomicU32::new(children), &AtomicU32::new(0));
    let (go, told): (Vec<_>, Vec<_>) = (0..RACERS).map(|_| bounded(1)).unzip();
    // No thread of this program starts or ends during a fork, as the standard library then holds a lock that a child
    // would never get. How the SDK handles its own threads is part of the test.
    let (begun, done) = (&Barrier::new(RACERS + FORKERS), &Barrier::new(FORKERS));
    std::thread::scope(|scope| {
        for (task, told) in told.iter().enumerate() {
            scope.spawn(move || {
                begun.wait();
                race(scene, core, if scene.churns() { CHURN } else { task }, told);
            });
        }
        let go = &go;
        let fork_them = move |forker| {
            let mut random = Random(seed << 8 | forker);
            begun.wait();
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                burst(go, &mut random);
                let task = if scene.churns() { 0 } else { random.next() };
                let child = watch::fork(|| child::live(scene, core, inherited.as_ref(), task));
                if let Err(reason) = Watched::end(child, child::PATIENCE_WITH_CHILD) {
                    bad.fetch_add(1, Ordering::Relaxed);
                    println!("seed {seed}, task {}: a child failed: {reason}", task % 9);
                }
            }
            done.wait();
        };
        let forkers: Vec<_> =
            (0..FORKERS).map(|forker| scope.spawn(move || fork_them(forker as u64))).collect();
        forkers.into_iter().for_each(|forker| forker.join().unwrap());
        go.iter().for_each(|racer| racer.send(false).unwrap());
    });
    let stats = core.shutdown(child::PATIENCE).unwrap().stats;
    assert!(stats.is_balanced() && stats.pending == 0, "{stats:?}");
    assert_eq!(bad.load(Ordering::Relaxed), 0, "failed children");
}

/// Sets the racers to work and waits a random moment, so that the fork can hit them at any point.
fn burst(go: &[Sender<bool>], random: &mut Random) {
    for racer in go {
        let _ = racer.try_send(true);
    }
    for _ in 0..random.next() % 30_000 {
        std::hint::spin_loop();
    }
    if random.next().is_multiple_of(2) {
        std::thread::yield_now();
    }
}

/// Does one thing repeatedly, a burst each time it is told to.
fn race(scene: &Scene, core: &Core, task: usize, told: &Receiver<bool>) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    while told.recv() == Ok(true) {
        // Errors are fine here: the core may not be ready yet.
        match task {
            0 => {
                for _ in 0..20 {
                    let id = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
                    let Ok(visitor) = core.create_context(id, attributes! { "plan" => "pro" }) else { break };
                    let _ = visitor.run_experience("price");
                    let _ = visitor.track_conversion("purchase");
                }
            }
            1 => {
                let _ = core.flush(Duration::from_secs(1));
            }
            2 => {
                let _ = core.initialize_within(child::PATIENCE);
                let _ = core.refresh_now_within(Duration::from_secs(1));
            }
            CHURN => {
                for _ in 0..3 {
                    let own = scene.core();
                    own.initialize_within(child::PATIENCE).unwrap();
                    own.close();
                }
            }
            3 => {
                let own = scene.core();
                own.initialize_within(child::PATIENCE).unwrap();
                let visitor = own.create_context("own", ()).unwrap();
                assert!(visitor.track_conversion("purchase").tracked());
                own.shutdown(child::PATIENCE).unwrap();
            }
            _ => {
                let events = core.subscribe();
                let _ = core.on(LifecycleEventKind::ConfigUpdated, |_| {});
                let _ = events.try_next();
                let _ = core.stats();
            }
        }
    }
}

/// Random numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
