//! A helper's settings: the core, how a request becomes a context, and the calls that wait.

use std::sync::Arc;
use std::time::Duration;

use convert_sdk::delivery::FlushReport;
use convert_sdk::{AsyncCore, Attributes, Core, FlushError, InitializeError, SmolStr};

use crate::{Framework, VisitorCookie};

type Hook<F, T> = dyn for<'a, 'r> Fn(&'a <F as Framework>::Request<'r>) -> T + Send + Sync;

/// A core, and how one of the framework's requests becomes a context. Cheap to clone.
///
/// The visitor's id comes from the first of these that has one: the application's [own function](Self::visitor_id), a
/// [trusted header](Self::trust_header), the cookie. Otherwise the visitor is new, and gets an id of 128 random bits,
/// which the response's cookie stores. Nothing is read before a handler asks for the visitor.
///
/// Creating the context is quick: it looks the visitor up in memory, under the lock of one of sixteen shards. An
/// application's [`DataStore`](convert_sdk::ports::DataStore) is awaited without blocking: the executor stays free,
/// and so do its threads for blocking work.
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
    /// Identifies visitors by this cookie.
    #[must_use]
    pub fn new(core: Core, cookie: VisitorCookie) -> Self {
        Self::without_cookie(core).with(|it| it.cookie = Some(Arc::new(cookie)))
    }

    /// Reads and sets no cookie. Without a [function](Self::visitor_id) or a [header](Self::trust_header) that
    /// identifies the visitor, every request is from a new visitor.
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

    /// Takes the visitor's id from the application, for instance from a login or a session. `None`, or an empty
    /// string, falls back to the header and the cookie. No cookie is set for a visitor identified this way.
    #[must_use]
    pub fn visitor_id<I: Into<SmolStr>>(
        self,
        id: impl for<'a, 'r> Fn(&'a F::Request<'r>) -> Option<I> + Send + Sync + 'static,
    ) -> Self {
        let id = move |request: &F::Request<'_>| id(request).map(Into::into);
        self.with(|it| it.visitor_id = Some(Arc::new(id)))
    }

    /// Takes the visitor's id from this request header, in preference to the cookie. **Anyone who can send requests
    /// can then pose as any visitor**: only for services behind a gateway that sets the header itself and strips it
    /// from client requests. Default none.
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

    /// The attributes for location rules, instead of those of the [URL](crate::RequestUrl::attributes).
    #[must_use]
    pub fn location(
        self,
        location: impl for<'a, 'r> Fn(&'a F::Request<'r>) -> Attributes + Send + Sync + 'static,
    ) -> Self {
        self.with(|it| it.location = Some(Arc::new(location)))
    }

    /// The scheme of the site's URLs if a request does not tell, as behind a proxy. Default `https`. Proxy headers
    /// are not read.
    #[must_use]
    pub fn scheme(self, scheme: impl Into<Arc<str>>) -> Self {
        self.with(|it| it.scheme = scheme.into())
    }

    /// Whether a response that sets the cookie also sets `Cache-Control: private`, so that no shared cache serves one
    /// visitor's cookie to others. Default true. A handler's own `Cache-Control` is never changed.
    #[must_use]
    pub fn private_responses(self, private: bool) -> Self {
        self.with(|it| it.private_responses = private)
    }

    /// The core, whose waiting methods are futures; [`AsyncCore::to_sync`] gives the blocking ones.
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

    /// [`AsyncCore::initialize`](convert_sdk::AsyncCore::initialize): call it before the server accepts requests, so
    /// that none is refused. A server that should start without decisions calls it in a separate task.
    ///
    /// # Errors
    /// Like [`AsyncCore::initialize`](convert_sdk::AsyncCore::initialize); it can be called again.
    pub async fn initialize(&self) -> Result<(), InitializeError> {
        self.core().initialize().await
    }

    /// Retries [`initialize`](Self::initialize), with this pause in between, until the core is ready: in a separate
    /// task, for a server that should start without decisions instead of waiting or failing. Each failure is logged.
    /// With invalid direct data, or offline without any, it never returns.
    ///
    /// # Errors
    /// The core is closed; no other error is returned.
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

    /// [`AsyncCore::flush`](convert_sdk::AsyncCore::flush): for when a request's events must be delivered before its
    /// response.
    ///
    /// # Errors
    /// Like [`AsyncCore::flush`](convert_sdk::AsyncCore::flush).
    pub async fn flush(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.core().flush(timeout).await
    }

    /// [`AsyncCore::shutdown`](convert_sdk::AsyncCore::shutdown): call it after the last request has been answered.
    /// One deadline covers the last delivery and the end of the threads.
    ///
    /// # Errors
    /// Like [`AsyncCore::shutdown`](convert_sdk::AsyncCore::shutdown).
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
