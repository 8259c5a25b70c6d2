//! The first-party cookie that keeps a visitor's id.

use std::borrow::Cow;
use std::time::Duration;

use convert_sdk::SmolStr;
use cookie::{Cookie, CookieJar, Key};
use thiserror::Error;

pub use cookie::SameSite;

/// How a visitor's id is kept in the browser: the cookie's name, whether it is signed, and its
/// attributes. The default is `Secure; HttpOnly; SameSite=Lax; Path=/` for 365 days from the first
/// visit; it is set once and not prolonged.
///
/// What a browser sends is taken if it is 1 to [`MAX_ID_BYTES`](Self::MAX_ID_BYTES) visible ASCII
/// characters (after percent-decoding) and, where the cookie is signed, if the signature is right.
/// Anything else is as no cookie: the visitor is new and gets another one, never an error.
///
/// ```
/// use convert_sdk_web::VisitorCookie;
///
/// let secret = b"32 bytes or more, used for nothing else";
/// let cookie = VisitorCookie::signed(secret)?.name("shop_visitor")?;
/// let set = cookie.write("visitor-1");
/// assert!(set.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=31536000"), "{set}");
/// let sent = set.split(';').next();
/// assert_eq!(cookie.read(sent).as_deref(), Some("visitor-1"));
/// assert_eq!(cookie.read(["shop_visitor=visitor-2"]), None);
/// # Ok::<(), convert_sdk_web::InvalidCookie>(())
/// ```
#[derive(Clone)]
pub struct VisitorCookie {
    name: Cow<'static, str>,
    domain: Option<Box<str>>,
    max_age: Duration,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
    /// The first signs, all verify; none means plain.
    keys: Vec<Key>,
}

/// Why a cookie cannot be like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidCookie {
    /// The secret has fewer than [`MIN_SECRET_BYTES`](VisitorCookie::MIN_SECRET_BYTES).
    #[error("the secret has fewer than 32 bytes")]
    SecretTooShort,
    /// The name is empty, or has a character that is not one of an RFC 6265 token.
    #[error("the cookie's name is not a token")]
    Name,
    /// The domain is empty, or has a character that no host name has.
    #[error("the cookie's domain is not a host name")]
    Domain,
    /// A cookie that is not signed has no secret to change.
    #[error("a plain cookie has no secret")]
    NotSigned,
}

impl InvalidCookie {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SecretTooShort => "cookie_secret_too_short",
            Self::Name => "cookie_name",
            Self::Domain => "cookie_domain",
            Self::NotSigned => "cookie_not_signed",
        }
    }
}

impl VisitorCookie {
    /// The cookie's name unless another is given.
    pub const DEFAULT_NAME: &'static str = "convert_visitor";
    /// How long a browser keeps the cookie unless told otherwise: 365 days.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    /// The fewest bytes that a secret may have.
    pub const MIN_SECRET_BYTES: usize = 32;
    /// The most bytes that an id from a cookie or a header may have.
    pub const MAX_ID_BYTES: usize = 128;

    /// A cookie that holds the id as it is. Anyone can send another visitor's id; what they get is
    /// that visitor's variations, and what they do is counted as that visitor's.
    #[must_use]
    pub const fn plain() -> Self {
        Self {
            name: Cow::Borrowed(Self::DEFAULT_NAME),
            domain: None,
            max_age: Self::DEFAULT_MAX_AGE,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            keys: Vec::new(),
        }
    }

    /// A cookie whose id is signed with HMAC-SHA256, so that nobody can make one up. The signature
    /// covers the id and not the name, so the secret must sign nothing else.
    ///
    /// # Errors
    /// The secret is too short.
    pub fn signed(secret: &[u8]) -> Result<Self, InvalidCookie> {
        Ok(Self { keys: vec![derive(secret)?], ..Self::plain() })
    }

    /// Takes cookies that were signed with an earlier secret too; their visitors stay who they are,
    /// with the cookie that they have.
    ///
    /// # Errors
    /// The secret is too short, or the cookie is plain.
    pub fn earlier_secret(mut self, secret: &[u8]) -> Result<Self, InvalidCookie> {
        if self.keys.is_empty() {
            return Err(InvalidCookie::NotSigned);
        }
        self.keys.push(derive(secret)?);
        Ok(self)
    }

    /// Another name, for instance that of a cookie which the site already has; its ids are taken as
    /// they are.
    ///
    /// # Errors
    /// It is not a token.
    pub fn name(mut self, name: impl Into<String>) -> Result<Self, InvalidCookie> {
        let name = name.into();
        let in_token = |byte: u8| byte.is_ascii_graphic() && !br#"()<>@,;:\"/[]?={}%"#.contains(&byte);
        if name.is_empty() || !name.bytes().all(in_token) {
            return Err(InvalidCookie::Name);
        }
        self.name = Cow::Owned(name);
        Ok(self)
    }

    /// The domain whose hosts share the cookie. Default none: the host that set it alone.
    ///
    /// # Errors
    /// It is no host name.
    pub fn domain(mut self, domain: impl Into<Box<str>>) -> Result<Self, InvalidCookie> {
        let domain = domain.into();
        let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if domain.is_empty() || !domain.bytes().all(in_host) {
            return Err(InvalidCookie::Domain);
        }
        self.domain = Some(domain);
        Ok(self)
    }

    /// How long a browser keeps the cookie, in whole seconds. Default 365 days; browsers keep none
    /// for more than 400.
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Whether the cookie travels over HTTPS alone. Default true; false is for local development.
    #[must_use]
    pub const fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Whether scripts of the page cannot read the cookie. Default true.
    #[must_use]
    pub const fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Which requests from other sites carry the cookie. Default [`SameSite::Lax`]; browsers take
    /// [`SameSite::None`] with `Secure` alone.
    #[must_use]
    pub const fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// The id in these `Cookie` headers: of several cookies of the name, the first that can be taken.
    pub fn read<'a>(&self, headers: impl IntoIterator<Item = &'a str>) -> Option<SmolStr> {
        let cookies = headers.into_iter().flat_map(Cookie::split_parse_encoded).flatten();
        cookies.filter(|cookie| cookie.name() == self.name).find_map(|cookie| self.take(cookie))
    }

    /// The `Set-Cookie` header for this id.
    #[must_use]
    pub fn write(&self, id: &str) -> String {
        let mut cookie = Cookie::new(self.name.clone(), id.to_owned());
        if let Some(key) = self.keys.first() {
            let mut jar = CookieJar::new();
            jar.signed_mut(key).add(cookie);
            cookie = jar.get(&self.name).cloned().unwrap_or_else(|| Cookie::from(self.name.clone()));
        }
        cookie.set_path("/");
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.to_string());
        }
        cookie.set_secure(self.secure);
        cookie.set_http_only(self.http_only);
        cookie.set_same_site(self.same_site);
        let seconds = i64::try_from(self.max_age.as_secs()).unwrap_or(i64::MAX);
        cookie.set_max_age(cookie::time::Duration::seconds(seconds));
        cookie.encoded().to_string()
    }

    fn take(&self, cookie: Cookie<'_>) -> Option<SmolStr> {
        if self.keys.is_empty() {
            return acceptable(cookie.value());
        }
        let jar = CookieJar::new();
        let verified = self.keys.iter().find_map(|key| jar.signed(key).verify(cookie.clone().into_owned()));
        acceptable(verified?.value())
    }
}

/// An id that a browser may bring.
pub(crate) fn acceptable(id: &str) -> Option<SmolStr> {
    let fits = !id.is_empty() && id.len() <= VisitorCookie::MAX_ID_BYTES;
    (fits && id.bytes().all(|byte| byte.is_ascii_graphic())).then(|| SmolStr::new(id))
}

fn derive(secret: &[u8]) -> Result<Key, InvalidCookie> {
    if secret.len() < VisitorCookie::MIN_SECRET_BYTES {
        return Err(InvalidCookie::SecretTooShort);
    }
    Ok(Key::derive_from(secret))
}

impl std::fmt::Debug for VisitorCookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VisitorCookie")
            .field("name", &self.name)
            .field("signed", &!self.keys.is_empty())
            .finish_non_exhaustive()
    }
}
