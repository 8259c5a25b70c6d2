//! The extractor, and its response when there is no context.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use convert_sdk::AsyncContext;
use convert_sdk_web::{Visit, VisitorError};

use crate::Actix;

/// The context of the request's visitor. As a handler argument it responds with 503 if the core is not ready or is
/// closed; `Option<Visitor>` is then `None`, and, because actix-web maps every error to `None`, also if the
/// middleware is missing. Every `Visitor` of a request is the same visitor. Its waiting methods are futures, so no
/// handler blocks its worker.
#[derive(Debug)]
pub struct Visitor(pub AsyncContext);

/// Why a request has no context, as a response: the [status](VisitorError::status), and the
/// [code](VisitorError::code) as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub VisitorError);

impl FromRequest for Visitor {
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refused>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Taken out of the extensions first, as hooks may borrow those.
        let visit = request.extensions().get::<Arc<Visit<Actix>>>().cloned();
        let context = visit.map(|visit| visit.context(request));
        Box::pin(async move {
            let context = context.ok_or(Refused(VisitorError::NotInstalled))?;
            context.await.map(Self).map_err(Refused)
        })
    }
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
