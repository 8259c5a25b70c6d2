//! Flushes at an end: of the process, or of a scope.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::core::Core;
use crate::engine::{FlushReport, ReleaseReason};
use crate::flush::{FlushError, FlushOptions};
use crate::shared::Shared;
use crate::threads::{ExitJob, at_exit, blocking, run_apart};

/// Has the core flushed when this process exits in the ordinary way: `main` returns, or
/// [`std::process::exit`] is called, also in a child that is forked later. The exit waits for it, at
/// most for `timeout`; for several cores one after the other. Registering a core again replaces its timeout.
///
/// This is the best that can be done, not a promise. Nothing runs when the process is killed, aborts
/// or calls `_exit`, and the SDK never installs a signal handler: SIGTERM ends a program without an
/// exit unless the program handles it. And the registration does not keep the core alive: a core that
/// is a local of `main` is gone before the exit. Let it live in a `static`, or use a [`FlushGuard`].
///
/// ```
/// use std::{sync::LazyLock, time::Duration};
/// use convert_sdk::{Core, SdkConfig, register_exit_flush};
///
/// static CORE: LazyLock<Core> = LazyLock::new(|| {
///     # let config = SdkConfig::builder().data_json(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.json"))).build().unwrap();
///     # #[cfg(any())]
///     let config = SdkConfig::builder().sdk_key("10035569/10034190").build().unwrap();
///     Core::new(config)
/// });
/// register_exit_flush(&CORE, Duration::from_secs(2))?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// [`Unsupported`](io::ErrorKind::Unsupported): the system gives no notice of the exit, because it is not a Unix or
/// is out of memory; or the core is driven by a pump.
pub fn register_exit_flush(core: &Core, timeout: Duration) -> io::Result<()> {
    if core.shared().runtime().handover().is_some() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let job = ExitFlush { shared: Arc::downgrade(core.shared().whole()), timeout };
    if at_exit(Arc::new(job)) { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

struct ExitFlush {
    shared: Weak<Shared>,
    timeout: Duration,
}

impl ExitJob for ExitFlush {
    fn run(&self) {
        // What a child has not used has nothing to flush there, and is the parent's.
        let Some(shared) = self.shared.upgrade().filter(|shared| shared.has_begun()) else { return };
        let core = Core::of(shared);
        let timeout = self.timeout;
        // On a thread of its own, as waiting needs thread-local values, which are gone on this one.
        run_apart("convert-exit", move || log_failure(flush(&core, timeout)));
    }

    fn is_over(&self) -> bool {
        self.shared.strong_count() == 0
    }

    fn is_for(&self) -> *const () {
        self.shared.as_ptr().cast()
    }
}

/// Flushes a core, or shuts it down, when it is dropped, also by a panic or a `?` on the way. Dropping
/// **waits**, at most for the timeout; what is not delivered by then is logged. In a forked
/// child it flushes what the child has recorded.
///
/// ```
/// use std::time::Duration;
/// use convert_sdk::{ContextError, Core, FlushGuard};
///
/// fn job(core: &Core) -> Result<(), ContextError> {
///     let _flushed = FlushGuard::new(core, Duration::from_secs(5));
///     core.create_context("visitor-4", ())?.track_conversion("purchase");
///     Ok(())
/// }
/// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
/// # let _shut = FlushGuard::shutting_down(&core, Duration::ZERO);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "it flushes when it is dropped, which is at once unless it has a name"]
#[derive(Debug)]
pub struct FlushGuard {
    core: Core,
    timeout: Duration,
    closes: bool,
}

impl FlushGuard {
    /// Calls [`Core::flush`] at the end of the scope.
    pub fn new(core: &Core, timeout: Duration) -> Self {
        Self { core: core.clone(), timeout, closes: false }
    }

    /// Calls [`Core::shutdown`] at the end of the scope.
    pub fn shutting_down(core: &Core, timeout: Duration) -> Self {
        Self { core: core.clone(), timeout, closes: true }
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        log_failure(if self.closes {
            self.core.shutdown(self.timeout)
        } else {
            flush(&self.core, self.timeout)
        });
    }
}

fn flush(core: &Core, timeout: Duration) -> Result<FlushReport, FlushError> {
    let limit = core.limit(FlushOptions::within(timeout));
    blocking(async |caller| core.flush_by(ReleaseReason::Exit, limit, caller).await)
}

fn log_failure(flushed: Result<FlushReport, FlushError>) {
    match flushed {
        // Whoever closed the core has had the ledger.
        Ok(_) | Err(FlushError::Closed(_)) => {}
        Err(error) => logged!(warn, limited, "flush at the end: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SdkConfig;

    #[test]
    fn a_flush_at_exit_is_over_when_its_core_is_gone() {
        let core = Core::new(SdkConfig::builder().sdk_key("k").build().unwrap());
        let job = ExitFlush { shared: Arc::downgrade(core.shared().whole()), timeout: Duration::ZERO };
        assert!(!job.is_over());
        drop(core);
        assert!(job.is_over(), "it would stay in the list for ever");
    }
}
