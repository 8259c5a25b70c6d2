//! Stops a program on a signal, within one deadline.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use convert_sdk::{AsyncCore, FlushError, delivery::FlushReport};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// Tells the work of [`run_until`] to finish: a future that becomes ready then and stays ready.
#[derive(Debug)]
pub struct Stopping(oneshot::Receiver<()>);

impl Future for Stopping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}

/// Runs `work` until `stop` completes or panics. From then on, everything together has `grace`: the work, which its
/// future tells to finish, gets **half** of it, and the last delivery gets the rest. Unfinished work is then
/// abandoned. The core is closed in any case.
///
/// Returns the work's output, `None` if it was abandoned, and the result of the last delivery. Work that ends before
/// `stop` leaves all of `grace` to the delivery. Runs on tokio.
pub async fn run_until<W: Future>(
    core: &AsyncCore,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
    work: impl FnOnce(Stopping) -> W,
) -> (Option<W::Output>, Result<FlushReport, FlushError>) {
    let (stopping, told) = oneshot::channel();
    let mut work = pin!(work(Stopping(told)));
    // A separate task, so that a panic is just another result.
    let mut stop = tokio::spawn(stop);
    tokio::select! {
        output = &mut work => {
            stop.abort();
            return (Some(output), core.shutdown(grace).await);
        }
        stopped = &mut stop => {
            if stopped.is_err() {
                log::error!("the stop signal panicked: stopping");
            }
        }
    }
    let since = Instant::now();
    drop(stopping);
    let output = timeout(grace / 2, work).await.ok();
    (output, core.shutdown(grace.saturating_sub(since.elapsed())).await)
}

/// Completes on the first SIGTERM or SIGINT after this call, which no longer ends the process by itself. **A second
/// one does**, at once and without a delivery, with exit code 128 + signal, even if the runtime is stuck. This
/// installs signal handlers, which the SDK itself never does; they remain when the future is dropped. On platforms
/// without these signals it completes on Ctrl-C. Runs on tokio.
///
/// # Errors
/// A handler could not be installed.
pub fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + Unpin + 'static> {
    #[cfg(unix)]
    {
        use std::sync::Arc;
        use std::sync::atomic::AtomicBool;

        use signal_hook::consts::{SIGINT, SIGTERM};
        use signal_hook::flag;
        use tokio::signal::unix::{SignalKind, signal};

        let asked = Arc::new(AtomicBool::new(false));
        for number in [SIGTERM, SIGINT] {
            // In this order, so that the first signal still finds the flag unset.
            flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&asked))?;
            flag::register(number, Arc::clone(&asked))?;
        }
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Box::pin(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }))
    }
    #[cfg(not(unix))]
    Ok(Box::pin(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }))
}
