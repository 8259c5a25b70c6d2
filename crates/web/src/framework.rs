//! What a helper tells about its framework's requests.

use convert_sdk::{Attributes, SmolStr, attributes};

/// A web framework, as far as a request's headers and URL go.
pub trait Framework: 'static {
    /// What hooks are given: the framework's own view of a request.
    type Request<'r>;

    /// The values of every header of this name, in any case, that are text.
    fn headers<'a>(request: &'a Self::Request<'_>, name: &'a str) -> impl Iterator<Item = &'a str>;

    /// The URL that was asked for.
    fn url<'a>(request: &'a Self::Request<'_>) -> RequestUrl<'a>;
}

/// The URL of a request, in the parts that a server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestUrl<'a> {
    /// `http` or `https` where the request itself says so, which behind a proxy it does not.
    pub scheme: Option<&'a str>,
    /// The host and port as the client named them, from the request line or `Host`; a `user@` in front
    /// is no part of the host and left out of the attributes.
    pub host: Option<&'a str>,
    /// The path, not decoded.
    pub path: &'a str,
    /// What stands after `?`, not decoded.
    pub query: Option<&'a str>,
}

impl RequestUrl<'_> {
    /// What location rules can ask about: `url` (without the query), `url_with_query`, `query_string`
    /// (empty where there is none), `path` and `host` (empty where the client named none). `scheme`
    /// stands in where the request does not say.
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
