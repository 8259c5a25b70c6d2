//! A launch that delivers after the last request.

use std::time::Duration;

use convert_sdk::{FlushError, FlushReport};
use rocket::{Build, Rocket};
use thiserror::Error;

use crate::Convert;

/// Why a server did not end well.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// Rocket did not launch, or did not stop within its own grace and mercy.
    #[error(transparent)]
    Rocket(Box<rocket::Error>),
    /// Not everything recorded was delivered; the error's ledger says how much.
    #[error(transparent)]
    Flush(#[from] FlushError),
}

impl LaunchError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rocket(_) => "launch_rocket",
            Self::Flush(error) => error.code(),
        }
    }
}

/// Launches the server, and when Rocket has shut down gracefully delivers what is left, for at most
/// `timeout`, and closes the core. Rocket gives open requests `shutdown.grace` and `shutdown.mercy` (2 s
/// and 3 s unless configured); the three together belong below the time that the supervisor leaves
/// between its signal and the kill.
///
/// # Errors
/// Rocket failed, or not everything was delivered in time. The core is closed in any case.
pub async fn launch(
    rocket: Rocket<Build>,
    convert: &Convert,
    timeout: Duration,
) -> Result<FlushReport, LaunchError> {
    let launched = rocket.launch().await;
    let report = convert.shutdown(timeout).await;
    launched.map_err(|error| {
        // An error of Rocket's panics when it is dropped before anybody has looked at it.
        error.kind();
        LaunchError::Rocket(Box::new(error))
    })?;
    Ok(report?)
}
