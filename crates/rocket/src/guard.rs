//! The request guard.

use std::ops::{Deref, DerefMut};

use convert_sdk::Context;
use convert_sdk_web::{Visit, VisitorError};
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Sentinel};

use crate::Convert;

/// The context of the request's visitor. As a guard of a route it fails with 503 where the core is not
/// ready or closed; `Option<Visitor>` is `None` then. Every `Visitor` of one request is the same
/// visitor. A route that asks for it keeps Rocket from launching where the fairing is not attached.
#[derive(Debug)]
pub struct Visitor(pub Context);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Visitor {
    type Error = VisitorError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, VisitorError> {
        let convert = request.rocket().state::<Convert>().ok_or(VisitorError::NotInstalled);
        match convert.and_then(|convert| visit(request).context(convert, request)) {
            Ok(context) => Outcome::Success(Self(context)),
            Err(error) => Outcome::Error((Status::new(error.status()), error)),
        }
    }
}

impl Sentinel for Visitor {
    fn abort(rocket: &rocket::Rocket<Ignite>) -> bool {
        rocket.state::<Convert>().is_none()
    }
}

/// What the request knows of its visitor.
pub(crate) fn visit<'a>(request: &'a Request<'_>) -> &'a Visit {
    request.local_cache(Visit::new)
}

impl Deref for Visitor {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.0
    }
}

impl DerefMut for Visitor {
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.0
    }
}
