//! The middleware: passes the settings to the extractor, and a new visitor's cookie to the response.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready as ready_or_pending};

use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, SET_COOKIE};
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError};
use convert_sdk_web::{SetCookie, Visit};
use pin_project_lite::pin_project;

use crate::{Actix, Convert};

/// Wraps an app, scope or resource whose handlers ask for a [`Visitor`](crate::Visitor). Cheap to clone into every
/// worker's app. With several around one handler, the innermost one's settings apply; they share one visitor and one
/// cookie, unless their cookies have different names.
#[derive(Debug, Clone)]
pub struct ConvertMiddleware {
    convert: Convert,
}

/// A service wrapped by [`ConvertMiddleware`].
#[derive(Debug)]
pub struct ConvertService<S> {
    inner: S,
    convert: Convert,
}

/// An error of an inner middleware, whose response also sets a new visitor's cookie. It displays like that error, and
/// responds with its status and response.
pub struct ErrorWithCookie {
    cause: Error,
    headers: HeaderMap,
}

pin_project! {
    /// The response future of a [`ConvertService`].
    pub struct ConvertFuture<F> {
        #[pin]
        inner: F,
        visit: Arc<Visit<Actix>>,
    }
}

impl ConvertMiddleware {
    /// A middleware with these settings.
    #[must_use]
    pub fn new(convert: &Convert) -> Self {
        Self { convert: convert.clone() }
    }
}

impl<S, B> Transform<S, ServiceRequest> for ConvertMiddleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Transform = ConvertService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(ConvertService { inner, convert: self.convert.clone() }))
    }
}

impl<S, B> Service<ServiceRequest> for ConvertService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ConvertFuture<S::Future>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let outer = request.extensions_mut().remove::<Arc<Visit<Actix>>>();
        let visit = Arc::new(Visit::inside(&self.convert, outer));
        request.extensions_mut().insert(Arc::clone(&visit));
        ConvertFuture { inner: self.inner.call(request), visit }
    }
}

impl<F, B> Future for ConvertFuture<F>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready_or_pending!(this.inner.poll(cx));
        let Some(set) = this.visit.set_cookie() else { return Poll::Ready(answer) };
        Poll::Ready(match answer {
            Ok(mut response) => {
                give(response.headers_mut(), set);
                Ok(response)
            }
            Err(cause) => {
                let mut headers = HeaderMap::new();
                give(&mut headers, set);
                Err(ErrorWithCookie { cause, headers }.into())
            }
        })
    }
}

/// Sets the cookie, and marks the response as private unless the handler set `Cache-Control`.
fn give(headers: &mut HeaderMap, set: SetCookie<'_>) {
    let Ok(cookie) = HeaderValue::from_str(set.header) else { return };
    headers.append(SET_COOKIE, cookie);
    if let Some(value) = set.cache_control
        && !headers.contains_key(CACHE_CONTROL)
    {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
    }
}

impl ErrorWithCookie {
    /// The error itself, for an outer middleware that looks for a certain type.
    #[must_use]
    pub const fn cause(&self) -> &Error {
        &self.cause
    }
}

impl ResponseError for ErrorWithCookie {
    fn status_code(&self) -> StatusCode {
        self.cause.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = self.cause.as_response_error().error_response();
        for (name, value) in &self.headers {
            if *name == SET_COOKIE || !response.headers().contains_key(name) {
                response.headers_mut().append(name.clone(), value.clone());
            }
        }
        response
    }
}

impl std::fmt::Display for ErrorWithCookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::fmt::Debug for ErrorWithCookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.cause.fmt(f)
    }
}

impl<F> std::fmt::Debug for ConvertFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConvertFuture").finish_non_exhaustive()
    }
}
