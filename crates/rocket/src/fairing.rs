//! The fairing: the core's start, and a new visitor's cookie.

use std::time::Duration;

use rocket::fairing::{Fairing, Info, Kind, Result};
use rocket::tokio::spawn;
use rocket::{Build, Request, Response};

use crate::Convert;
use crate::guard::visit;

/// Initializes the core while Rocket ignites, and aborts the ignition if that fails; passes the settings to the
/// [`Visitor`](crate::Visitor) guard; sets a new visitor's cookie. If attached twice, the last one applies.
#[derive(Debug)]
pub struct ConvertFairing {
    convert: Convert,
    waits: bool,
}

impl ConvertFairing {
    /// The pause between the attempts of a fairing that does not wait.
    pub const RETRY_PAUSE: Duration = Duration::from_secs(5);

    /// A fairing with these settings.
    #[must_use]
    pub fn new(convert: &Convert) -> Self {
        Self { convert: convert.clone(), waits: true }
    }

    /// Launches without waiting for the core: a separate task tries to initialize it every
    /// [`RETRY_PAUSE`](Self::RETRY_PAUSE) until it is ready. Until then routes have no context.
    #[must_use]
    pub const fn without_waiting(mut self) -> Self {
        self.waits = false;
        self
    }
}

#[rocket::async_trait]
impl Fairing for ConvertFairing {
    fn info(&self) -> Info {
        Info { name: "Convert Experiences", kind: Kind::Ignite | Kind::Response | Kind::Singleton }
    }

    async fn on_ignite(&self, rocket: rocket::Rocket<Build>) -> Result {
        let convert = self.convert.clone();
        let rocket = rocket.manage(convert.clone());
        if !self.waits {
            spawn(async move { convert.initialize_eventually(Self::RETRY_PAUSE).await });
            return Ok(rocket);
        }
        match convert.initialize().await {
            Ok(()) => Ok(rocket),
            Err(error) => {
                log::error!("Convert Experiences is not ready: {error}");
                Err(rocket)
            }
        }
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        let Some(set) = visit(request, &self.convert).set_cookie() else { return };
        response.adjoin_raw_header("set-cookie", set.header);
        if let Some(value) = set.cache_control
            && !response.headers().contains("cache-control")
        {
            response.set_raw_header("cache-control", value);
        }
    }
}
