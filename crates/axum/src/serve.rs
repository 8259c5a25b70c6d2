//! A server that stops within one deadline.

use std::future::IntoFuture;
use std::io;
use std::time::Duration;

use axum::Router;
use convert_sdk::{FlushError, delivery::FlushReport};
use convert_sdk_web::run_until;
use thiserror::Error;
use tokio::net::TcpListener;

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

/// Serves until `stop` ends, or panics. Then no connection is taken any more, idle ones are closed, and
/// open requests get **half** of `grace` to be answered; what is left of `grace` goes to the last
/// delivery, and the core is closed. Requests that are still open by then are given up, and what they
/// record from then on is refused.
///
/// `grace` belongs below the time that the supervisor leaves between its signal and the kill: 10 s on
/// Cloud Run, 30 s on Kubernetes. A handler's `spawn_blocking` that is still running then would keep a
/// runtime that is dropped, as that of `#[tokio::main]` is: end it by `Runtime::shutdown_background`, as
/// the README does.
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
