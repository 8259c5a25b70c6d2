//! A server that stops within one deadline.

use std::future::{Future, IntoFuture};
use std::io;
use std::time::Duration;

use axum::Router;
use convert_sdk::{FlushError, FlushReport};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::Convert;

/// Why a server did not end well.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener failed.
    #[error("the server failed ({0})")]
    Io(io::Error),
    /// Not everything recorded was delivered; the error's ledger says how much.
    #[error(transparent)]
    Flush(#[from] FlushError),
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ServeError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "serve_io",
            Self::Flush(error) => error.code(),
        }
    }
}

/// Serves until `stop` ends. Then no connection is taken any more, idle ones are closed, and open
/// requests get **half** of `grace` to be answered; what is left of `grace` goes to the last delivery,
/// and the core is closed. Requests that are still open by then are given up, and what they record
/// from then on is refused.
///
/// `grace` belongs below the time that the supervisor leaves between its signal and the kill: 10 s on
/// Cloud Run, 30 s on Kubernetes.
///
/// # Errors
/// The listener failed, or not everything was delivered by the deadline. The core is closed in any
/// case.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    convert: &Convert,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> Result<FlushReport, ServeError> {
    let (stopping, mut stopped) = watch::channel(None);
    let since = stopped.clone();
    let signal = async move {
        stop.await;
        stopping.send_replace(Some(Instant::now()));
    };
    let given_up = async move {
        match stopped.wait_for(Option::is_some).await.map(|since| *since) {
            Ok(Some(since)) => sleep_until(since + grace / 2).await,
            // The listener has failed.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    };
    let served = tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(signal).into_future() => served,
        () = given_up => Ok(()),
    };
    let spent = since.borrow().map_or(Duration::ZERO, |since| since.elapsed());
    let report = convert.shutdown(grace.saturating_sub(spent)).await;
    served?;
    Ok(report?)
}

/// Ends with the first SIGTERM or SIGINT from this call on, which then do not end the process by
/// themselves any more: the signal handlers that the SDK itself never installs. Where there are no
/// such signals, with Ctrl-C.
///
/// # Errors
/// The operating system refused a handler.
pub fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}
