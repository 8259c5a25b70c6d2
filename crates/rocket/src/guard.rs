//! The request guard.

use std::ops::{Deref, DerefMut};

use convert_sdk::AsyncContext;
use convert_sdk_web::{Visit, VisitorError};
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Sentinel};

use crate::Convert;
use crate::request::Rocket;

/// The context of the request's visitor. As a guard of a route it fails with 503 where the core is not
/// ready or closed; `Option<Visitor>` is `None` then. Every `Visitor` of one request is the same
/// visitor. Its waiting calls are futures, so that no route blocks its executor. A route that asks for it
/// keeps Rocket from launching where the fairing is not attached.
#[derive(Debug)]
pub struct Visitor(pub AsyncContext);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Visitor {
    type Error = VisitorError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, VisitorError> {
        let context = match request.rocket().state::<Convert>() {
            Some(convert) => visit(request, convert).context(request).await,
            None => Err(VisitorError::NotInstalled),
        };
        match context {
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
pub(crate) fn visit<'a>(request: &'a Request<'_>, convert: &Convert) -> &'a Visit<Rocket> {
    request.local_cache(|| Visit::new(convert))
}

impl Deref for Visitor {
    type Target = AsyncContext;

    fn deref(&self) -> &AsyncContext {
        &self.0
    }
}

impl DerefMut for Visitor {
    fn deref_mut(&mut self) -> &mut AsyncContext {
        &mut self.0
    }
}
