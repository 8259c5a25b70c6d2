//! Resolves host names and connects for the built-in client, on threads that can be abandoned.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{at, bounded, select};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration;
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, Either, NextTimeout, RustlsConnector, Transport,
};
use ureq::{Agent, Error, Timeout};

use crate::threads::{Switch, deadline_after, start_thread};

/// With this many abandoned threads, no further one is started.
const MAX_ABANDONED: usize = 4;

/// System calls that resolve a name or connect cannot be cancelled. Both run on dedicated threads, started and ended
/// like all of the SDK's; the waiter goes on when its deadline passes or the SDK stops.
#[derive(Debug)]
pub(super) struct BlockingCalls {
    interrupt: Switch,
    abandoned: Arc<AtomicUsize>,
}

/// Shared by a thread and its waiter; whichever finishes second can tell that it is the last.
struct CallState {
    abandoned: Arc<AtomicUsize>,
    one_side_finished: AtomicBool,
}

struct ThreadGuard(Arc<CallState>);

impl BlockingCalls {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { interrupt: Switch::new(), abandoned: Arc::default() })
    }

    /// Ends the current waits, and lets no new one start.
    pub(super) fn interrupt(&self) {
        self.interrupt.switch_off();
    }

    fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        timeout: NextTimeout,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        if self.interrupt.is_off() {
            return Err(interrupted());
        }
        if self.abandoned.load(Ordering::Relaxed) >= MAX_ABANDONED {
            return Err(Error::Timeout(Timeout::Connect));
        }
        let state = Arc::new(CallState {
            abandoned: Arc::clone(&self.abandoned),
            one_side_finished: AtomicBool::new(false),
        });
        let guard = ThreadGuard(Arc::clone(&state));
        let (answer, answered) = bounded(1);
        start_thread(name, move || {
            let _guard = guard;
            // The waiter may be gone; a connection that came too late is then closed here.
            let _ = answer.send(work());
        })?;
        let error = select! {
            recv(answered) -> answer => return answer.unwrap_or(Err(Error::ConnectionFailed)),
            recv(self.interrupt.off()) -> _ => interrupted(),
            recv(at(deadline_after(*timeout.after))) -> _ => Error::Timeout(timeout.reason),
        };
        state.abandon();
        Err(error)
    }
}

/// The error that ureq returns after a shutdown.
fn interrupted() -> Error {
    Error::Io(io::Error::from(ErrorKind::NotConnected))
}

impl CallState {
    /// The waiter gives up before the thread has finished, or just as it does.
    fn abandon(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
        self.finish();
    }

    fn finish(&self) {
        if self.one_side_finished.swap(true, Ordering::AcqRel) {
            self.abandoned.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for ThreadGuard {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// An agent that resolves and connects on separate threads, in ureq's own order of proxy, socket and TLS.
pub(super) fn agent(
    config: Config,
    blocking_calls: &Arc<BlockingCalls>,
    resolver: impl Resolver,
    sockets: impl Connector,
) -> Agent {
    let lookup = Lookup { resolver: Arc::new(resolver), blocking_calls: Arc::clone(blocking_calls) };
    let dial = Dial { sockets: Arc::new(sockets), blocking_calls: Arc::clone(blocking_calls) };
    let connector = ().chain(ConnectProxyConnector::default()).chain(dial).chain(RustlsConnector::default());
    Agent::with_parts(config, connector, lookup)
}

#[derive(Debug)]
struct Lookup<R> {
    resolver: Arc<R>,
    blocking_calls: Arc<BlockingCalls>,
}

impl<R: Resolver> Resolver for Lookup<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (resolver, uri, config) = (Arc::clone(&self.resolver), uri.clone(), config.clone());
        // With a timeout, ureq would start a thread of its own, which a fork could hit, and panic if it cannot.
        let unlimited = NextTimeout { after: Duration::NotHappening, ..timeout };
        self.blocking_calls.run("convert-lookup", timeout, move || resolver.resolve(&uri, &config, unlimited))
    }
}

#[derive(Debug)]
struct Dial<C> {
    sockets: Arc<C>,
    blocking_calls: Arc<BlockingCalls>,
}

impl<In: Transport, C: Connector> Connector<In> for Dial<C> {
    type Out = Either<In, Box<dyn Transport>>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(through_proxy) = chained {
            return Ok(Some(Either::A(through_proxy)));
        }
        let (uri, config) = (details.uri.clone(), details.config.clone());
        let (addrs, request_level) = (details.addrs.clone(), details.request_level);
        let (now, timeout) = (details.now, details.timeout);
        let current_time = Arc::clone(&details.current_time);
        let run_connector = Arc::clone(&details.run_connector);
        let register_shutdown = Arc::clone(&details.register_shutdown);
        let sockets = Arc::clone(&self.sockets);
        let connected = self.blocking_calls.run("convert-connect", timeout, move || {
            // All addresses are already resolved.
            let resolver = &DefaultResolver::default();
            let details = ConnectionDetails {
                uri: &uri,
                addrs,
                config: &config,
                request_level,
                resolver,
                now,
                timeout,
                current_time,
                run_connector,
                register_shutdown,
            };
            Ok(sockets.connect(&details, None)?.map(|socket| Box::new(socket) as Box<dyn Transport>))
        })?;
        Ok(connected.map(Either::B))
    }
}
