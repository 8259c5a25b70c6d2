//! Runs a server that stops within one deadline.

use std::future::IntoFuture;
use std::io;
use std::time::Duration;

use axum::Router;
use convert_sdk::{FlushError, delivery::FlushReport};
use convert_sdk_web::run_until;
use thiserror::Error;
use tokio::net::TcpListener;

use crate::Convert;

/// Why a server did not stop cleanly.
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

/// Serves until `stop` completes or panics. Then no new connections are accepted, idle ones are closed, and open
/// requests get **half** of `grace` to finish; the rest of `grace` goes to the last delivery, and the core is closed.
/// Requests that are still open by then are abandoned, and whatever they record later is refused.
///
/// `grace` should be shorter than the supervisor's grace period between its signal and the kill: 10 s on Cloud Run,
/// 30 s on Kubernetes. Dropping a runtime, as `#[tokio::main]` does, waits for a handler's `spawn_blocking` that is
/// still running: end it with `Runtime::shutdown_background`, as the README does.
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
    let (served, report) = run_until(convert.core(), stop, grace, |stopping| {
        axum::serve(listener, app).with_graceful_shutdown(stopping).into_future()
    })
    .await;
    served.transpose()?;
    Ok(report?)
}
