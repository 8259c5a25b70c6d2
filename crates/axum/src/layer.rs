//! The tower layer: carries the settings to the extractor, and a new visitor's cookie to the response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, Request, Response};
use convert_sdk_web::Visit;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::Convert;

/// Goes around a router, or any tower service over HTTP, whose handlers ask for a
/// [`Visitor`](crate::Visitor).
#[derive(Debug, Clone)]
pub struct ConvertLayer {
    convert: Arc<Convert>,
}

/// What [`ConvertLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct ConvertService<S> {
    inner: S,
    convert: Arc<Convert>,
}

/// What the layer leaves in a request's extensions and looks at again before the response.
pub(crate) struct Ongoing {
    pub(crate) convert: Arc<Convert>,
    pub(crate) visit: Visit,
}

pin_project! {
    /// The response to come of a [`ConvertService`].
    pub struct ConvertFuture<F> {
        #[pin]
        inner: F,
        ongoing: Arc<Ongoing>,
    }
}

impl ConvertLayer {
    /// A layer with these settings.
    #[must_use]
    pub fn new(convert: &Convert) -> Self {
        Self { convert: Arc::new(convert.clone()) }
    }
}

impl<S> Layer<S> for ConvertLayer {
    type Service = ConvertService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConvertService { inner, convert: Arc::clone(&self.convert) }
    }
}

impl<S, B, R> Service<Request<B>> for ConvertService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ConvertFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let ongoing = Arc::new(Ongoing { convert: Arc::clone(&self.convert), visit: Visit::new() });
        request.extensions_mut().insert(Arc::clone(&ongoing));
        ConvertFuture { inner: self.inner.call(request), ongoing }
    }
}

impl<F, R, E> Future for ConvertFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
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
