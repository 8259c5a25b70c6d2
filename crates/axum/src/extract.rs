//! The extractor, and its response when there is no context.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use convert_sdk::AsyncContext;
use convert_sdk_web::{Visit, VisitorError};

use crate::Axum;

/// The context of the request's visitor. As a handler argument it responds with 503 if the core is not ready or is
/// closed; `Option<Visitor>` is then `None`. Every `Visitor` of a request is the same visitor. Its waiting methods
/// are futures, so no handler blocks its executor.
#[derive(Debug)]
pub struct Visitor(pub AsyncContext);

/// Why a request has no context, as a response: the [status](VisitorError::status), and the
/// [code](VisitorError::code) as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub VisitorError);

impl Visitor {
    async fn of(parts: &Parts) -> Result<Self, VisitorError> {
        let visit = parts.extensions.get::<Arc<Visit<Axum>>>().ok_or(VisitorError::NotInstalled)?;
        visit.context(parts).await.map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        Self::of(parts).await.map_err(Refused)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Visitor {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Refused> {
        match Self::of(parts).await {
            Ok(visitor) => Ok(Some(visitor)),
            Err(error) if error.is_passing() => Ok(None),
            Err(error) => Err(Refused(error)),
        }
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

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, self.0.code()).into_response()
    }
}
