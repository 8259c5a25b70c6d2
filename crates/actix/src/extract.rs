//! The extractor, and what it answers where there is no context.

use std::fmt;
use std::future::{Ready, ready};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use convert_sdk::Context;
use convert_sdk_web::VisitorError;

use crate::middleware::Ongoing;

/// The context of the request's visitor. As an argument of a handler it answers 503 where the core is
/// not ready or closed; `Option<Visitor>` is `None` then, and, as actix-web has it, also where the
/// middleware is missing. Every `Visitor` of one request is the same visitor.
#[derive(Debug)]
pub struct Visitor(pub Context);

/// Why a request has no context, as a response: the [status](VisitorError::status), and the
/// [code](VisitorError::code) as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub VisitorError);

impl FromRequest for Visitor {
    type Error = Refused;
    type Future = Ready<Result<Self, Refused>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Out of the extensions first, which hooks may want to read.
        let ongoing = request.extensions().get::<Rc<Ongoing>>().cloned();
        let context = ongoing
            .ok_or(VisitorError::NotInstalled)
            .and_then(|ongoing| ongoing.visit.context(&ongoing.convert, request));
        ready(context.map(Self).map_err(Refused))
    }
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

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code())
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).body(self.0.code())
    }
}
