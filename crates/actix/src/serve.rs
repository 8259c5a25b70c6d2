//! Runs a server that stops within one deadline.

use std::io;
use std::time::Duration;

use actix_web::dev::Server;
use convert_sdk::{FlushError, delivery::FlushReport};
use convert_sdk_web::run_until;
use thiserror::Error;

use crate::Convert;

/// Why a server did not stop cleanly.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The server failed.
    #[error("the server failed ({0})")]
    Io(#[from] io::Error),
    /// Not everything recorded was delivered; the error's ledger says how much.
    #[error(transparent)]
    Flush(#[from] FlushError),
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

/// Runs a server until `stop` completes or panics. Then no new connections are accepted, and open requests get
/// **half** of `grace` to finish (or the server's `shutdown_timeout`, default 30 s, if that is shorter); the rest of
/// `grace` goes to the last delivery, and the core is closed. Requests that are still open by then are abandoned.
///
/// Signals are handled by `stop`, so [disable](actix_web::HttpServer::disable_signals) the server's own handling.
/// `grace` should be shorter than the supervisor's grace period between its signal and the kill.
///
/// # Errors
/// The server failed, or not everything was delivered by the deadline. The core is closed in any case.
pub async fn serve(
    server: Server,
    convert: &Convert,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> Result<FlushReport, ServeError> {
    let handle = server.handle();
    let (served, report) = run_until(convert.core(), stop, grace, |stopping| async move {
        let mut server = server;
        tokio::select! {
            served = &mut server => return served,
            () = stopping => {}
        }
        let stopped = handle.stop(true);
        let (served, ()) = tokio::join!(server, stopped);
        served
    })
    .await;
    served.transpose()?;
    Ok(report?)
}
