//! A validated HTTP proxy, and which hosts it is not for. Hidden in `Debug`: its URL can contain a password.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::uri::Authority;

use super::Secret;

/// A proxy as it was chosen, unchecked.
#[derive(Debug, Clone)]
pub(super) struct ChosenProxy {
    url: Secret,
    direct: Arc<[Box<str>]>,
}

/// The proxy's URL, with a scheme.
#[derive(Clone)]
pub(crate) struct Proxy {
    url: Secret,
    /// The hosts to reach directly, in lower case; each includes its subdomains.
    direct: Arc<[Box<str>]>,
    /// Parsed here, so that a URL the client rejects is an invalid option instead of being ignored.
    #[cfg(feature = "https")]
    pub(crate) parsed: ureq::Proxy,
}

/// The proxy that these variables name.
pub(super) fn of_environment(variable: impl Fn(&str) -> Option<OsString>) -> Option<ChosenProxy> {
    // What is not Unicode is no URL either, and is then rejected as one.
    let first = |names: &[&str]| {
        let values = names.iter().filter_map(|name| variable(name));
        let mut values = values.map(|value| value.to_string_lossy().trim().to_owned());
        values.find(|value| !value.is_empty())
    };
    let url = Secret::new(first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])?);
    let direct = first(&["NO_PROXY", "no_proxy"]).unwrap_or_default().to_ascii_lowercase();
    let hosts = direct.split(',').map(str::trim);
    let hosts = hosts.map(|host| host.strip_prefix("*.").or(host.strip_prefix('.')).unwrap_or(host));
    let hosts = hosts.filter(|host| !host.is_empty()).map(Into::into);
    Some(ChosenProxy { url, direct: hosts.collect() })
}

impl ChosenProxy {
    pub(super) fn new(url: Secret) -> Self {
        Self { url, direct: Arc::default() }
    }
}

impl Proxy {
    /// `None` where the URL is not that of an HTTP proxy.
    pub(super) fn new(ChosenProxy { url, direct }: ChosenProxy) -> Option<Self> {
        let uri: Uri = url.expose().parse().ok()?;
        uri.authority().filter(|authority| has_usable_port(authority))?;
        let url = match uri.scheme_str() {
            Some("http" | "https") => url,
            Some(_) => return None,
            None => Secret::new(format!("http://{}", url.expose())),
        };
        Some(Self {
            #[cfg(feature = "https")]
            parsed: ureq::Proxy::new(url.expose()).ok()?,
            url,
            direct,
        })
    }

    pub(crate) fn url(&self) -> &str {
        self.url.expose()
    }

    /// Whether a host is to be reached directly.
    pub(super) fn is_bypassed_by(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
        self.direct.iter().any(|direct| {
            let before = bare.strip_suffix(&**direct);
            &**direct == "*" || before.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

/// Whether there is no port or one that can be connected to. A client may take any other for the default port.
pub(super) fn has_usable_port(authority: &Authority) -> bool {
    let (text, host) = (authority.as_str(), authority.host());
    let text = text.rsplit_once('@').map_or(text, |(_, after)| after);
    text == host || authority.port_u16().is_some_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Proxy> {
        let chosen = of_environment(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        });
        Proxy::new(chosen?)
    }

    #[test]
    fn the_first_variable_that_is_not_empty_names_the_proxy() {
        let url = |variables| of(variables).map(|proxy| proxy.url().to_owned());
        assert_eq!(url(&[]), None);
        assert_eq!(url(&[("HTTP_PROXY", "http://one:1")]), None, "it is for plain HTTP");
        assert_eq!(url(&[("NO_PROXY", "*")]), None);
        let all = [("HTTPS_PROXY", " "), ("https_proxy", "two:2"), ("ALL_PROXY", "http://three:3")];
        assert_eq!(url(&all).as_deref(), Some("http://two:2"));
        assert_eq!(url(&all[2..]).as_deref(), Some("http://three:3"));
    }

    #[test]
    fn hosts_and_their_subdomains_can_be_left_out() {
        let list = "Example.com, .internal,*.dev,127.0.0.1,::1,,";
        let proxy = of(&[("HTTPS_PROXY", "p:1"), ("NO_PROXY", list)]).unwrap();
        for host in ["example.com", "a.EXAMPLE.com.", "x.internal", "x.dev", "127.0.0.1", "[::1]"] {
            assert!(proxy.is_bypassed_by(host), "{host}");
        }
        for host in ["badexample.com", "example.com.evil", "27.0.0.1", "1127.0.0.1", "other"] {
            assert!(!proxy.is_bypassed_by(host), "{host}");
        }
        assert!(of(&[("ALL_PROXY", "p:1"), ("no_proxy", "*")]).unwrap().is_bypassed_by("anything"));
    }
}
