//! A request for the config as the SDK makes it, but keeping more of the response.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, SystemTime};

use convert_sdk::config::TransportConfig;
use convert_sdk::http::{USER_AGENT, config_request, max_compressed_bytes};
use convert_sdk::ports::ConfigRequest;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// A user agent that is clearly not an SDK's.
const PLAIN_USER_AGENT: &str = "Mozilla/5.0";

/// A response, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The server's clock, to the second.
    pub(super) date: Option<SystemTime>,
    /// The config, if the status is 200.
    pub(super) body: Option<String>,
}

/// Why there is no response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    Name,
    /// With the proxy's reason.
    Proxy(String),
    Connect,
    /// With the reason.
    Certificate(String),
    Timeout,
    Broken,
    Unusable(&'static str),
}

/// Requests the config, with the SDK's user agent or another one.
pub(super) fn fetch(
    network: &TransportConfig,
    asked: &ConfigRequest<'_>,
    as_sdk: bool,
) -> Result<Answer, Failed> {
    let request = config_request(network, asked, None);
    let mut get = agent(network).map_err(|()| Failed::Unusable("the proxy's URL"))?.get(request.url());
    for (name, value) in request.headers() {
        let value = if name == "user-agent" && !as_sdk { PLAIN_USER_AGENT } else { value };
        get = get.header(name, value);
    }
    let mut response = get.call().map_err(|error| failed(&error))?;
    let status = response.status().as_u16();
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let body = if status == 200 {
        let limit = max_compressed_bytes(network.max_response_bytes());
        let body = response.body_mut().with_config().limit(limit).read_to_string();
        Some(body.map_err(|error| failed(&error))?)
    } else {
        None
    };
    Ok(Answer { status, date, body })
}

fn agent(network: &TransportConfig) -> Result<Agent, ()> {
    let proxy = network.proxy_url().map(ureq::Proxy::new).transpose().map_err(drop)?;
    let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref);
    let roots = mozilla.chain(network.root_certificates()).map(|der| Certificate::from_der(der).to_owned());
    let roots = RootCerts::from(roots.collect::<Vec<_>>());
    let config = Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .https_only(!network.allows_http_on_loopback())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy)
        .user_agent(USER_AGENT)
        .timeout_connect(Some(network.connect_timeout()))
        .timeout_global(Some(network.total_timeout()));
    Ok(config.build().into())
}

/// The kind of an error, without text that could contain the key.
fn failed(error: &ureq::Error) -> Failed {
    match error {
        ureq::Error::HostNotFound => Failed::Name,
        ureq::Error::ConnectionFailed => Failed::Connect,
        ureq::Error::ConnectProxyFailed(reason) => Failed::Proxy(reason.clone()),
        ureq::Error::Timeout(_) => Failed::Timeout,
        ureq::Error::Rustls(error) => Failed::Certificate(error.to_string()),
        ureq::Error::Tls(reason) => Failed::Certificate((*reason).to_owned()),
        ureq::Error::BodyExceedsLimit(_) => Failed::Unusable("the body, which is too long"),
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::InvalidData => Failed::Certificate(error.to_string()),
            ErrorKind::ConnectionRefused => Failed::Connect,
            ErrorKind::TimedOut => Failed::Timeout,
            _ => Failed::Broken,
        },
        _ => Failed::Unusable("the answer, which is not valid HTTP"),
    }
}

/// The addresses of a host.
pub(super) fn look_up(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<_> = (bare, port).to_socket_addrs().ok()?.collect();
    Some(found).filter(|found| !found.is_empty())
}

/// Whether one of the addresses accepts a connection.
pub(super) fn connects(addresses: &[SocketAddr], timeout: Duration) -> bool {
    addresses.iter().any(|address| TcpStream::connect_timeout(address, timeout).is_ok())
}
