//! The fairing: the core's start, and a new visitor's cookie.

use rocket::fairing::{Fairing, Info, Kind, Result};
use rocket::{Build, Request, Response};

use crate::Convert;
use crate::guard::visit;

/// Makes the core ready while Rocket ignites, which it does not do where the core is not made ready in
/// time; gives the settings to the [`Visitor`](crate::Visitor) guard; sets the cookie of a new visitor.
#[derive(Debug)]
pub struct ConvertFairing {
    convert: Convert,
    waits: bool,
}

impl ConvertFairing {
    /// A fairing with these settings.
    #[must_use]
    pub fn new(convert: &Convert) -> Self {
        Self { convert: convert.clone(), waits: true }
    }

    /// Launches without waiting for the core, which is made ready in a task of its own: until then,
    /// and for good where that fails, routes have no context. What went wrong is logged.
    #[must_use]
    pub const fn without_waiting(mut self) -> Self {
        self.waits = false;
        self
    }
}

#[rocket::async_trait]
impl Fairing for ConvertFairing {
    fn info(&self) -> Info {
        Info { name: "Convert Experiences", kind: Kind::Ignite | Kind::Response }
    }

    async fn on_ignite(&self, rocket: rocket::Rocket<Build>) -> Result {
        let convert = self.convert.clone();
        let rocket = rocket.manage(convert.clone());
        let ready =
            async move { convert.initialize().await.map_err(|error| log::error!("not ready: {error}")) };
        if !self.waits {
            rocket::tokio::spawn(ready);
            return Ok(rocket);
        }
        match ready.await {
            Ok(()) => Ok(rocket),
            Err(()) => Err(rocket),
        }
    }

    async fn on_response<'r>(&self, request: &'r Request<'_>, response: &mut Response<'r>) {
        if let Some(cookie) = visit(request).set_cookie() {
            response.adjoin_raw_header("set-cookie", cookie);
        }
    }
}
