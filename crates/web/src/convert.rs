//! The settings of a helper: the core, and how a request becomes a context.

use std::sync::Arc;

use convert_sdk::{Attributes, Core, SmolStr};

use crate::{Framework, VisitorCookie};

type Hook<F, T> = dyn for<'a, 'r> Fn(&'a <F as Framework>::Request<'r>) -> T + Send + Sync;

/// A core, and how a request of the framework becomes a context. Cheap to clone.
///
/// The visitor's id is, in this order, what the application's [own function](Self::visitor_id)
/// answers, what a [trusted header](Self::trust_header) says, or what the cookie holds; where none of
/// them has one the visitor is new, with an id of 128 random bits that the response's cookie keeps.
/// Nothing is looked at before a handler asks for the visitor.
///
/// Making the context is quick and stays on the request's thread: it looks the visitor up in memory,
/// under the lock of one of sixteen shards. Where the core has a
/// [`DataStore`](convert_sdk::DataStore) of the application's own, the store is asked there too, and
/// one that does I/O stalls the executor.
pub struct Convert<F: Framework> {
    core: Core,
    cookie: Option<Arc<VisitorCookie>>,
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
        Self { cookie: Some(Arc::new(cookie)), ..Self::without_cookie(core) }
    }

    /// No cookie is read or set. Without a [function](Self::visitor_id) or a
    /// [header](Self::trust_header) that names the visitor, every request is one of somebody new.
    #[must_use]
    pub fn without_cookie(core: Core) -> Self {
        Self {
            core,
            cookie: None,
            header: None,
            scheme: Arc::from("https"),
            visitor_id: None,
            attributes: None,
            location: None,
        }
    }

    /// Takes the visitor's id from the application: a login, a session. `None`, or an empty text,
    /// leaves it to the header and the cookie. No cookie is set for a visitor known in this way.
    #[must_use]
    pub fn visitor_id<I: Into<SmolStr>>(
        mut self,
        id: impl for<'a, 'r> Fn(&'a F::Request<'r>) -> Option<I> + Send + Sync + 'static,
    ) -> Self {
        self.visitor_id = Some(Arc::new(move |request: &F::Request<'_>| id(request).map(Into::into)));
        self
    }

    /// Takes the visitor's id from this header of the request, before the cookie. **Whoever can send
    /// requests can then be any visitor**: only for services behind a gateway that sets the header
    /// itself and removes it from what clients send. Default none.
    #[must_use]
    pub fn trust_header(mut self, name: impl Into<Arc<str>>) -> Self {
        self.header = Some(name.into());
        self
    }

    /// The visitor's attributes, for audience rules and reports. Default none.
    #[must_use]
    pub fn attributes(
        mut self,
        attributes: impl for<'a, 'r> Fn(&'a F::Request<'r>) -> Attributes + Send + Sync + 'static,
    ) -> Self {
        self.attributes = Some(Arc::new(attributes));
        self
    }

    /// The attributes that location rules see, in place of those of the
    /// [URL](crate::RequestUrl::attributes).
    #[must_use]
    pub fn location(
        mut self,
        location: impl for<'a, 'r> Fn(&'a F::Request<'r>) -> Attributes + Send + Sync + 'static,
    ) -> Self {
        self.location = Some(Arc::new(location));
        self
    }

    /// The scheme of the site's URLs where a request does not say, as behind a proxy. Default
    /// `https`. Headers of proxies are not read.
    #[must_use]
    pub fn scheme(mut self, scheme: impl Into<Arc<str>>) -> Self {
        self.scheme = scheme.into();
        self
    }

    /// The core.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn cookie(&self) -> Option<&VisitorCookie> {
        self.cookie.as_deref()
    }

    pub(crate) fn trusted_header(&self) -> Option<&str> {
        self.header.as_deref()
    }

    pub(crate) fn own_id_of(&self, request: &F::Request<'_>) -> Option<SmolStr> {
        self.visitor_id.as_ref()?(request)
    }

    pub(crate) fn attributes_of(&self, request: &F::Request<'_>) -> Attributes {
        self.attributes.as_ref().map(|hook| hook(request)).unwrap_or_default()
    }

    pub(crate) fn location_of(&self, request: &F::Request<'_>) -> Attributes {
        match &self.location {
            Some(hook) => hook(request),
            None => F::url(request).attributes(&self.scheme),
        }
    }
}

impl<F: Framework> Clone for Convert<F> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            cookie: self.cookie.clone(),
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
            .field("core", &self.core)
            .field("cookie", &self.cookie)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
