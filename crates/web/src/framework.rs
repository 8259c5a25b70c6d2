//! How a helper reads its framework's requests.

use convert_sdk::{Attributes, SmolStr, attributes};

/// A web framework, reduced to a request's headers and URL.
pub trait Framework: 'static {
    /// The argument of hooks: the framework's own request type.
    type Request<'r>;

    /// All values of this header (its name compared case-insensitively) that are text.
    fn headers<'a>(request: &'a Self::Request<'_>, name: &'a str) -> impl Iterator<Item = &'a str>;

    /// The requested URL.
    fn url<'a>(request: &'a Self::Request<'_>) -> RequestUrl<'a>;
}

/// The parts of a request's URL that a server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestUrl<'a> {
    /// `http` or `https` if the request itself tells, which it does not behind a proxy.
    pub scheme: Option<&'a str>,
    /// The host and port as the client sent them, in the request line or `Host`; a leading `user@` is not part of the
    /// host and is omitted from the attributes.
    pub host: Option<&'a str>,
    /// The path, not decoded.
    pub path: &'a str,
    /// The part after `?`, not decoded.
    pub query: Option<&'a str>,
}

impl RequestUrl<'_> {
    /// The attributes for location rules: `url` (without the query), `url_with_query`, `query_string` (empty if there
    /// is none), `path` and `host` (empty if the client sent none). `scheme` is used if the request does not tell.
    ///
    /// ```
    /// use convert_sdk_web::RequestUrl;
    ///
    /// let url = RequestUrl { scheme: None, host: Some("shop.example.com"), path: "/cart", query: Some("a=1") };
    /// let location = url.attributes("https");
    /// assert!(location.get("url") == Some(&"https://shop.example.com/cart".into()));
    /// assert!(location.get("query_string") == Some(&"a=1".into()));
    /// ```
    #[must_use]
    pub fn attributes(&self, scheme: &str) -> Attributes {
        let named = self.host.unwrap_or_default();
        let host = named.rsplit_once('@').map_or(named, |(_, host)| host);
        let url = SmolStr::from(format!("{}://{host}{}", self.scheme.unwrap_or(scheme), self.path));
        let with_query = self.query.map(|query| SmolStr::from(format!("{url}?{query}")));
        attributes! {
            "host" => host,
            "path" => self.path,
            "query_string" => self.query.unwrap_or_default(),
            "url_with_query" => with_query.unwrap_or_else(|| url.clone()),
            "url" => url,
        }
    }
}
