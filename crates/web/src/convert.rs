//! The settings of a helper: the core, how a request becomes a context, and the calls that wait.

use std::sync::Arc;
use std::time::Duration;

use convert_sdk::delivery::FlushReport;
use convert_sdk::{AsyncCore, Attributes, Core, FlushError, InitializeError, SmolStr};

use crate::{Framework, VisitorCookie};

type Hook<F, T> = dyn for<'a, 'r> Fn(&'a <F as Framework>::Request<'r>) -> T + Send + Sync;

/// A core, and how a request of the framework becomes a context. Cheap to clone.
///
/// The visitor's id is, in this order, what the application's [own function](Self::visitor_id)
/// answers, what a [trusted header](Self::trust_header) says, or what the cookie holds; where none of
/// them has one the visitor is new, with an id of 128 random bits that the response's cookie keeps.
/// Nothing is looked at before a handler asks for the visitor.
///
/// Making the context is quick: it looks the visitor up in memory, under the lock of one of sixteen
/// shards. A [`DataStore`](convert_sdk::ports::DataStore) of the application's own is awaited, not waited for:
/// the executor stays free, and so do its threads for blocking work.
pub struct Convert<F: Framework> {
    settings: Arc<Settings<F>>,
}

struct Settings<F: Framework> {
    core: AsyncCore,
    cookie: Option<Arc<VisitorCookie>>,
    private_responses: bool,
    header: Option<Arc<str>>,
    scheme: Arc<str>,
    visitor_id: Option<Arc<Hook<F, Option<SmolStr>>>>,
    attributes: Option<Arc<Hook<F, Attributes>>>,
    location: Option<Arc<Hook<F, Attributes>>>,
}

impl<F: Framework> Convert<F> {
    /// Visitors are known by this cookie.
    #[must_use]
    pub fn new(core: Core, cookie: VisitorCookie) -> Self {
        Self::without_cookie(core).with(|it| it.cookie = Some(Arc::new(cookie)))
    }

    /// No cookie is read or set. Without a [function](Self::visitor_id) or a
    /// [header](Self::trust_header) that names the visitor, every request is one of somebody new.
    #[must_use]
    pub fn without_cookie(core: Core) -> Self {
        let settings = Settings {
            core: core.to_async(),
            cookie: None,
            private_responses: true,
            header: None,
            scheme: Arc::from("https"),
            visitor_id: None,
            attributes: None,
            location: None,
        };
        Self { settings: Arc::new(settings) }
    }

    fn with(mut self, change: impl FnOnce(&mut Settings<F>)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// Takes the visitor's id from the application: a login, a session. `None`, or an empty text,
    /// leaves it to the header and the cookie. No cookie is set for a visitor known in this way.
    #[must_use]
    pub fn visitor_id<I: Into<SmolStr>>(
        self,
        id: impl for<'a, 'r> Fn(&'a F::Request<'r>) -> Option<I> + Send + Sync + 'static,
    ) -> Self {
        let id = move |request: &F::Request<'_>| id(request).map(Into::into);
        self.with(|it| it.visitor_id = Some(Arc::new(id)))
    }

    /// Takes the visitor's id from this header of the request, before the cookie. **Whoever can send
    /// requests can then be any visitor**: only for services behind a gateway that sets the header
    /// itself and removes it from what clients send. Default none.
    #[must_use]
    pub fn trust_header(self, name: impl Into<Arc<str>>) -> Self {
        self.with(|it| it.header = Some(name.into()))
    }

    /// The visitor's attributes, for audience rules and reports. Default none.
    #[must_use]
    pub fn attributes(
        self,
        attributes: impl for<'a, 'r> Fn(&'a F::Request<'r>) -> Attributes + Send + Sync + 'static,
    ) -> Self {
        self.with(|it| it.attributes = Some(Arc::new(attributes)))
    }

    /// The attributes that location rules see, in place of those of the
    /// [URL](crate::RequestUrl::attributes).
    #[must_use]
    pub fn location(
        self,
        location: impl for<'a, 'r> Fn(&'a F::Request<'r>) -> Attributes + Send + Sync + 'static,
    ) -> Self {
        self.with(|it| it.location = Some(Arc::new(location)))
    }

    /// The scheme of the site's URLs where a request does not say, as behind a proxy. Default
    /// `https`. Headers of proxies are not read.
    #[must_use]
    pub fn scheme(self, scheme: impl Into<Arc<str>>) -> Self {
        self.with(|it| it.scheme = scheme.into())
    }

    /// Whether a response that sets the cookie says `Cache-Control: private`, so that no shared cache
    /// hands one visitor's cookie to others. Default true. A `Cache-Control` of the handler's own always
    /// stays as it is.
    #[must_use]
    pub fn private_responses(self, private: bool) -> Self {
        self.with(|it| it.private_responses = private)
    }

    /// The core, whose waiting calls are futures; [`AsyncCore::to_sync`] leads to the blocking ones.
    #[must_use]
    pub fn core(&self) -> &AsyncCore {
        &self.settings.core
    }

    pub(crate) fn cookie(&self) -> Option<&VisitorCookie> {
        self.settings.cookie.as_deref()
    }

    pub(crate) fn cookie_name(&self) -> Option<&str> {
        Some(&self.cookie()?.name)
    }

    pub(crate) fn cache_control(&self) -> Option<&'static str> {
        self.settings.private_responses.then_some("private")
    }

    pub(crate) fn trusted_header(&self) -> Option<&str> {
        self.settings.header.as_deref()
    }

    pub(crate) fn own_id_of(&self, request: &F::Request<'_>) -> Option<SmolStr> {
        self.settings.visitor_id.as_ref()?(request)
    }

    pub(crate) fn attributes_of(&self, request: &F::Request<'_>) -> Attributes {
        self.settings.attributes.as_ref().map(|hook| hook(request)).unwrap_or_default()
    }

    pub(crate) fn location_of(&self, request: &F::Request<'_>) -> Attributes {
        match &self.settings.location {
            Some(hook) => hook(request),
            None => F::url(request).attributes(&self.settings.scheme),
        }
    }

    /// [`AsyncCore::initialize`](convert_sdk::AsyncCore::initialize): before the server takes requests,
    /// so that none is refused. A server that would rather start without decisions calls it in a task of
    /// its own.
    ///
    /// # Errors
    /// As [`AsyncCore::initialize`](convert_sdk::AsyncCore::initialize); it may be called again.
    pub async fn initialize(&self) -> Result<(), InitializeError> {
        self.core().initialize().await
    }

    /// [`initialize`](Self::initialize) again and again, with this pause in between, until the core is
    /// ready: in a task of its own, for a server that would rather start without decisions than wait
    /// or fail. Each failure is logged. With direct data that is no config it never ends.
    ///
    /// # Errors
    /// The core is closed, and nothing else.
    pub async fn initialize_eventually(&self, pause: Duration) -> Result<(), InitializeError> {
        loop {
            match self.initialize().await {
                Err(InitializeError::Closed) => return Err(InitializeError::Closed),
                Err(error) => log::warn!("not ready yet: {error}"),
                Ok(()) => return Ok(()),
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// [`AsyncCore::flush`](convert_sdk::AsyncCore::flush): where a request's events must have arrived
    /// before its response.
    ///
    /// # Errors
    /// As [`AsyncCore::flush`](convert_sdk::AsyncCore::flush).
    pub async fn flush(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.core().flush(timeout).await
    }

    /// [`AsyncCore::shutdown`](convert_sdk::AsyncCore::shutdown): after the last request has been
    /// answered. One deadline covers the last delivery and the end of the threads.
    ///
    /// # Errors
    /// As [`AsyncCore::shutdown`](convert_sdk::AsyncCore::shutdown).
    pub async fn shutdown(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.core().shutdown(timeout).await
    }
}

impl<F: Framework> Clone for Convert<F> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings) }
    }
}

impl<F: Framework> Clone for Settings<F> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            cookie: self.cookie.clone(),
            private_responses: self.private_responses,
            header: self.header.clone(),
            scheme: Arc::clone(&self.scheme),
            visitor_id: self.visitor_id.clone(),
            attributes: self.attributes.clone(),
            location: self.location.clone(),
        }
    }
}

impl<F: Framework> std::fmt::Debug for Convert<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Convert")
            .field("core", &self.settings.core)
            .field("cookie", &self.settings.cookie)
            .field("header", &self.settings.header)
            .finish_non_exhaustive()
    }
}
