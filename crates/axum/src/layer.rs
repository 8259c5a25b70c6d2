//! The tower layer: passes the settings to the extractor, and a new visitor's cookie to the response.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::header::{CACHE_CONTROL, SET_COOKIE};
use axum::http::{HeaderValue, Request, Response};
use convert_sdk_web::Visit;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Axum, Convert};

/// Wraps a router, or any tower HTTP service, whose handlers ask for a [`Visitor`](crate::Visitor). With several
/// around one handler, the innermost one's settings apply; they share one visitor and one cookie, unless their
/// cookies have different names.
#[derive(Debug, Clone)]
pub struct ConvertLayer {
    convert: Convert,
}

/// A service wrapped by [`ConvertLayer`].
#[derive(Debug, Clone)]
pub struct ConvertService<S> {
    inner: S,
    convert: Convert,
}

pin_project! {
    /// The response future of a [`ConvertService`].
    pub struct ConvertFuture<F> {
        #[pin]
        inner: F,
        visit: Arc<Visit<Axum>>,
    }
}

impl ConvertLayer {
    /// A layer with these settings.
    #[must_use]
    pub fn new(convert: &Convert) -> Self {
        Self { convert: convert.clone() }
    }
}

impl<S> Layer<S> for ConvertLayer {
    type Service = ConvertService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConvertService { inner, convert: self.convert.clone() }
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
        let outer = request.extensions_mut().remove::<Arc<Visit<Axum>>>();
        let visit = Arc::new(Visit::inside(&self.convert, outer));
        request.extensions_mut().insert(Arc::clone(&visit));
        ConvertFuture { inner: self.inner.call(request), visit }
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
        if let Some(set) = this.visit.set_cookie()
            && let Ok(cookie) = HeaderValue::from_str(set.header)
        {
            let headers = response.headers_mut();
            headers.append(SET_COOKIE, cookie);
            if let Some(value) = set.cache_control {
                headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(value));
            }
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> std::fmt::Debug for ConvertFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConvertFuture").finish_non_exhaustive()
    }
}
