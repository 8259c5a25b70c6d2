//! A launch that delivers after the last request.

use std::sync::Arc;
use std::time::Duration;

use convert_sdk::{FlushError, FlushReport};
use rocket::error::ErrorKind;
use rocket::tokio::time::{sleep, timeout};
use rocket::{Build, Ignite, Rocket};
use thiserror::Error;

use crate::Convert;

/// How long requests that Rocket has given up may still take.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

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
/// and 3 s unless configured), and requests that are still open then another second; all of it together
/// belongs below the time that the supervisor leaves between its signal and the kill.
///
/// # Errors
/// Rocket failed, or not everything was delivered in time. The core is closed in any case.
pub async fn launch(
    rocket: Rocket<Build>,
    convert: &Convert,
    timeout: Duration,
) -> Result<FlushReport, LaunchError> {
    let launched = settled(rocket.launch().await).await;
    let report = convert.shutdown(timeout).await;
    launched.map_err(|error| {
        // An error of Rocket's panics when it is dropped before anybody has looked at it.
        error.kind();
        LaunchError::Rocket(Box::new(error))
    })?;
    Ok(report?)
}

/// Rocket looks once whether requests are still open, and gives up when it looks a moment too early: its
/// error then holds what they share, and they end soon.
async fn settled(launched: Result<Rocket<Ignite>, rocket::Error>) -> Result<(), rocket::Error> {
    let Err(error) = launched else { return Ok(()) };
    let ErrorKind::Shutdown(shared, None) = error.kind() else { return Err(error) };
    let alone = async {
        while Arc::strong_count(shared) > 1 {
            sleep(BETWEEN_LOOKS).await;
        }
    };
    if timeout(LAST_REQUESTS, alone).await.is_ok() { Ok(()) } else { Err(error) }
}
