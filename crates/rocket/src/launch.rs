//! A launch that delivers after the last request.

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

/// Launches the server, and serves until `stop` ends, or panics. Then Rocket gives open requests its
/// `shutdown.grace` and `shutdown.mercy` (2 s and 3 s unless configured) and another second, in all at most
/// **half** of `grace`; what is left of `grace` goes to the last delivery, and the core is closed. A `stop`
/// that comes while Rocket ignites ends the launch. Where something else asks Rocket to shut down, all of
/// `grace` begins when it has.
///
/// `grace` belongs below the time that the supervisor leaves between its signal and the kill.
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
