//! The first-party cookie that stores a visitor's id.

use std::borrow::Cow;
use std::time::Duration;

use convert_sdk::SmolStr;
use cookie::{Cookie, CookieJar, Key};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

pub use cookie::SameSite;

/// The characters that a cookie value must not contain (RFC 6265), and the percent sign.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%').add(b',').add(b';').add(b'\\');
/// The length of the signature in front of a signed id: an HMAC-SHA256 in base64.
const SIGNATURE_LEN: usize = 44;

/// How a visitor's id is stored in the browser: the cookie's name, whether it is signed, and its attributes. The
/// default is `Secure; HttpOnly; SameSite=Lax; Path=/` for 365 days from the first visit; it is set once and not
/// renewed.
///
/// A cookie is accepted if it is 1 to [`MAX_ID_BYTES`](Self::MAX_ID_BYTES) visible ASCII characters (after
/// percent-decoding) and, if signed, its signature is valid. Anything else counts as no cookie: the visitor is new
/// and gets a new cookie, never an error. Names are compared case-sensitively, so that no other spelling passes for a
/// `__Host-` cookie.
///
/// Cookies that browsers would drop are rejected: each setter fails if the cookie, as configured so far, would not be
/// stored.
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
    pub(crate) name: Cow<'static, str>,
    domain: Option<Box<str>>,
    max_age: Duration,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
    /// The first signs, all of them verify; none means a plain cookie.
    keys: Vec<Key>,
}

/// Why a cookie configuration is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidCookie {
    /// The secret is shorter than [`MIN_SECRET_BYTES`](VisitorCookie::MIN_SECRET_BYTES).
    #[error("the secret is shorter than 32 bytes")]
    SecretTooShort,
    /// The name is empty, or contains a character that is not allowed in an RFC 6265 token.
    #[error("the cookie's name is not a token")]
    Name,
    /// The domain is empty, or contains a character that is not allowed in a host name.
    #[error("the cookie's domain is not a host name")]
    Domain,
    /// Browsers drop a cookie with a lifetime of less than a second.
    #[error("the cookie's lifetime is less than a second")]
    MaxAge,
    /// A `__Host-` cookie must be `Secure` and have no domain.
    #[error("a __Host- cookie must be Secure and have no domain")]
    HostPrefix,
    /// A `__Secure-` cookie must be `Secure`.
    #[error("a __Secure- cookie must be Secure")]
    SecurePrefix,
    /// Browsers accept [`SameSite::None`] only with `Secure`.
    #[error("a cookie with SameSite=None must be Secure")]
    SameSiteNone,
    /// An unsigned cookie has no secret to rotate.
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
            Self::MaxAge => "cookie_max_age",
            Self::HostPrefix => "cookie_host_prefix",
            Self::SecurePrefix => "cookie_secure_prefix",
            Self::SameSiteNone => "cookie_same_site_none",
            Self::NotSigned => "cookie_not_signed",
        }
    }
}

impl VisitorCookie {
    /// The default cookie name.
    pub const DEFAULT_NAME: &'static str = "convert_visitor";
    /// The default lifetime of the cookie: 365 days.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    /// The minimum length of a secret, in bytes.
    pub const MIN_SECRET_BYTES: usize = 32;
    /// The maximum length of an id from a cookie or a header, in bytes.
    pub const MAX_ID_BYTES: usize = 128;

    /// A cookie that contains the id as is. Anyone can send another visitor's id; they then get that visitor's
    /// variations, and their actions are counted as that visitor's.
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

    /// A cookie whose id is signed with HMAC-SHA256, so that it cannot be forged. The signature covers the id but not
    /// the name, so use the secret for nothing else.
    ///
    /// # Errors
    /// The secret is too short.
    pub fn signed(secret: &[u8]) -> Result<Self, InvalidCookie> {
        Ok(Self { keys: vec![derive(secret)?], ..Self::plain() })
    }

    /// Also accepts cookies signed with an earlier secret; their visitors keep their ids and cookies.
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

    /// Another name, for instance that of an existing cookie of the site, whose ids are used as they are. A `__Host-`
    /// name keeps other hosts of the domain from setting the cookie.
    ///
    /// # Errors
    /// It is not a token, or has a prefix that this cookie must not use.
    pub fn name(mut self, name: impl Into<String>) -> Result<Self, InvalidCookie> {
        let name = name.into();
        let in_token = |byte: u8| byte.is_ascii_graphic() && !br#"()<>@,;:\"/[]?={}%"#.contains(&byte);
        if name.is_empty() || !name.bytes().all(in_token) {
            return Err(InvalidCookie::Name);
        }
        self.name = Cow::Owned(name);
        self.kept_by_browsers()
    }

    /// The domain whose hosts share the cookie. Default none: only the host that set it.
    ///
    /// # Errors
    /// It is not a host name, or the cookie's name starts with `__Host-`.
    pub fn domain(mut self, domain: impl Into<Box<str>>) -> Result<Self, InvalidCookie> {
        let domain = domain.into();
        let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if domain.is_empty() || !domain.bytes().all(in_host) {
            return Err(InvalidCookie::Domain);
        }
        self.domain = Some(domain);
        self.kept_by_browsers()
    }

    /// The lifetime of the cookie, in whole seconds. Default 365 days; browsers cap it at 400.
    ///
    /// # Errors
    /// It is less than a second.
    pub fn max_age(mut self, max_age: Duration) -> Result<Self, InvalidCookie> {
        self.max_age = max_age;
        self.kept_by_browsers()
    }

    /// Whether the cookie is sent over HTTPS only. Default true; false is for local development.
    ///
    /// # Errors
    /// It is false, but the name starts with `__Host-` or `__Secure-`, or the cookie is [`SameSite::None`].
    pub fn secure(mut self, secure: bool) -> Result<Self, InvalidCookie> {
        self.secure = secure;
        self.kept_by_browsers()
    }

    /// Whether the cookie is hidden from scripts on the page. Default true.
    #[must_use]
    pub const fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Which requests from other sites carry the cookie. Default [`SameSite::Lax`].
    ///
    /// # Errors
    /// It is [`SameSite::None`], but the cookie is not `Secure`.
    pub fn same_site(mut self, same_site: SameSite) -> Result<Self, InvalidCookie> {
        self.same_site = same_site;
        self.kept_by_browsers()
    }

    /// The id in these `Cookie` headers: of several cookies with the name, the first well-formed one. If the cookie
    /// is signed, only that one's signature is checked.
    pub fn read<'a>(&self, headers: impl IntoIterator<Item = &'a str>) -> Option<SmolStr> {
        let pairs =
            headers.into_iter().flat_map(|header| header.split(';')).filter_map(|pair| pair.split_once('='));
        let mut values = pairs
            .filter(|(name, _)| name.trim() == self.name)
            .filter_map(|(_, value)| percent_decode_str(value.trim()).decode_utf8().ok());
        if self.keys.is_empty() {
            return values.find_map(|value| acceptable(&value));
        }
        let signed = |value: &str| value.get(SIGNATURE_LEN..).and_then(acceptable);
        let (value, id) = values.find_map(|value| signed(&value).map(|id| (value, id)))?;
        let cookie = Cookie::new("", value.into_owned());
        let jar = CookieJar::new();
        self.keys.iter().any(|key| jar.signed(key).verify(cookie.clone()).is_some()).then_some(id)
    }

    /// The `Set-Cookie` header for this id.
    #[must_use]
    pub fn write(&self, id: &str) -> String {
        let mut cookie = Cookie::new("", id.to_owned());
        if let Some(key) = self.keys.first() {
            let mut jar = CookieJar::new();
            jar.signed_mut(key).add(cookie);
            cookie = jar.get("").cloned().unwrap_or_else(|| Cookie::from(""));
        }
        let value = utf8_percent_encode(cookie.value(), ENCODED).to_string();
        let mut cookie = Cookie::new(&*self.name, value);
        cookie.set_path("/");
        if let Some(domain) = &self.domain {
            cookie.set_domain(&**domain);
        }
        cookie.set_secure(self.secure);
        cookie.set_http_only(self.http_only);
        cookie.set_same_site(self.same_site);
        let seconds = i64::try_from(self.max_age.as_secs()).unwrap_or(i64::MAX);
        cookie.set_max_age(cookie::time::Duration::seconds(seconds));
        cookie.to_string()
    }

    /// Browsers compare prefixes case-insensitively.
    fn kept_by_browsers(self) -> Result<Self, InvalidCookie> {
        let begins = |prefix: &str| {
            self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if begins("__Host-") && !(self.secure && self.domain.is_none()) {
            Err(InvalidCookie::HostPrefix)
        } else if begins("__Secure-") && !self.secure {
            Err(InvalidCookie::SecurePrefix)
        } else if self.same_site == SameSite::None && !self.secure {
            Err(InvalidCookie::SameSiteNone)
        } else if self.max_age < Duration::from_secs(1) {
            Err(InvalidCookie::MaxAge)
        } else {
            Ok(self)
        }
    }
}

/// Whether a browser may send this id.
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
