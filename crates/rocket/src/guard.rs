//! The request guard.

use std::ops::{Deref, DerefMut};

use convert_sdk::AsyncContext;
use convert_sdk_web::{Visit, VisitorError};
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Sentinel};

use crate::Convert;
use crate::request::Rocket;

/// The context of the request's visitor. As a route's guard it fails with 503 if the core is not ready or is closed;
/// `Option<Visitor>` is then `None`. Every `Visitor` of a request is the same visitor. Its waiting methods are
/// futures, so no route blocks its executor. If a route asks for it but the fairing is not attached, Rocket does not
/// launch.
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

/// The request's visitor, cached.
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
