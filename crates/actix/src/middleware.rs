//! The middleware: carries the settings to the extractor, and a new visitor's cookie to the response.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready as ready_or_pending};

use actix_web::HttpMessage;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::header::{HeaderValue, SET_COOKIE};
use convert_sdk_web::Visit;
use pin_project_lite::pin_project;

use crate::Convert;

/// Goes around an app, scope or resource whose handlers ask for a [`Visitor`](crate::Visitor). Cheap
/// to clone into the app of every worker.
#[derive(Debug, Clone)]
pub struct ConvertMiddleware {
    convert: Arc<Convert>,
}

/// What [`ConvertMiddleware`] makes of a service.
#[derive(Debug)]
pub struct ConvertService<S> {
    inner: S,
    convert: Arc<Convert>,
}

/// What the middleware leaves in a request's extensions and looks at again before the response.
pub(crate) struct Ongoing {
    pub(crate) convert: Arc<Convert>,
    pub(crate) visit: Visit,
}

pin_project! {
    /// The response to come of a [`ConvertService`].
    pub struct ConvertFuture<F> {
        #[pin]
        inner: F,
        ongoing: Rc<Ongoing>,
    }
}

impl ConvertMiddleware {
    /// A middleware with these settings.
    #[must_use]
    pub fn new(convert: &Convert) -> Self {
        Self { convert: Arc::new(convert.clone()) }
    }
}

impl<S, B> Transform<S, ServiceRequest> for ConvertMiddleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Transform = ConvertService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(ConvertService { inner, convert: Arc::clone(&self.convert) }))
    }
}

impl<S, B> Service<ServiceRequest> for ConvertService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ConvertFuture<S::Future>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let ongoing = Rc::new(Ongoing { convert: Arc::clone(&self.convert), visit: Visit::new() });
        request.extensions_mut().insert(Rc::clone(&ongoing));
        ConvertFuture { inner: self.inner.call(request), ongoing }
    }
}

impl<F, B> Future for ConvertFuture<F>
where
    F: Future<Output = Result<ServiceResponse<B>, actix_web::Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready_or_pending!(this.inner.poll(cx))?;
        if let Some(cookie) = this.ongoing.visit.set_cookie().and_then(|it| HeaderValue::from_str(it).ok()) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> std::fmt::Debug for ConvertFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConvertFuture").finish_non_exhaustive()
    }
}
