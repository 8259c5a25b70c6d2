//! A validated HTTP proxy. Hidden in `Debug`: its URL can contain a password.

use std::fmt;

use http::Uri;

use super::Secret;

/// The proxy's URL, with a scheme.
#[derive(Clone)]
pub(crate) struct Proxy {
    url: Secret,
    /// Parsed here, so that a URL the client rejects is an invalid option instead of being ignored.
    #[cfg(feature = "https")]
    pub(crate) parsed: ureq::Proxy,
}

impl Proxy {
    /// `None` where the URL is not that of an HTTP proxy.
    pub(crate) fn new(url: &Secret) -> Option<Self> {
        let uri: Uri = url.expose().parse().ok()?;
        uri.authority()?;
        let url = match uri.scheme_str() {
            Some("http" | "https") => url.clone(),
            Some(_) => return None,
            None => Secret::new(format!("http://{}", url.expose())),
        };
        Some(Self {
            #[cfg(feature = "https")]
            parsed: ureq::Proxy::new(url.expose()).ok()?,
            url,
        })
    }

    pub(crate) fn url(&self) -> &str {
        self.url.expose()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}
