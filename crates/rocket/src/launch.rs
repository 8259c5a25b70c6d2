//! Launches a server that makes a last delivery after the last request.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use convert_sdk::{FlushError, delivery::FlushReport};
use convert_sdk_web::run_until;
use rocket::error::ErrorKind;
use rocket::tokio::select;
use rocket::tokio::time::{sleep, timeout};
use rocket::{Build, Ignite, Rocket};
use thiserror::Error;

use crate::Convert;

/// How long requests abandoned by Rocket may still take.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Why a server did not stop cleanly.
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

/// Launches the server, and serves until `stop` completes or panics. Then Rocket gives open requests its
/// `shutdown.grace` and `shutdown.mercy` (default 2 s and 3 s) plus a second, in total at most **half** of `grace`;
/// the rest of `grace` goes to the last delivery, and the core is closed. A `stop` during ignition ends the launch.
/// If something else makes Rocket shut down, `grace` starts when it has.
///
/// `grace` should be shorter than the supervisor's grace period between its signal and the kill.
///
/// # Errors
/// Rocket failed, or not everything was delivered in time. The core is closed in any case.
pub async fn launch(
    rocket: Rocket<Build>,
    convert: &Convert,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> Result<FlushReport, LaunchError> {
    let (launched, report) = run_until(convert.core(), stop, grace, |mut stopping| async move {
        let ignited = select! {
            ignited = rocket.ignite() => ignited?,
            () = &mut stopping => return Ok(()),
        };
        let shutdown = ignited.shutdown();
        let mut launched = pin!(ignited.launch());
        let ended = select! {
            ended = &mut launched => ended,
            () = stopping => {
                shutdown.notify();
                launched.await
            }
        };
        settled(ended).await
    })
    .await;
    launched.transpose().map_err(|error| {
        // A Rocket error panics if it is dropped without having been inspected.
        error.kind();
        LaunchError::Rocket(Box::new(error))
    })?;
    Ok(report?)
}

/// Rocket checks only once whether requests are still open, and fails if it checks a moment too early: its error then
/// holds their shared state, and they end soon.
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
