//! The settings of a store, validated when it is built.

use std::time::Duration;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
#[cfg(feature = "async")]
use tokio::runtime::Handle;

#[cfg(feature = "async")]
use crate::asynchronous::AsyncRedisStore;
use crate::commands::Commands;
use crate::connections::{Connections, Times};
#[cfg(feature = "async")]
use crate::multiplexed::Shared;
use crate::store::RedisStore;

const DEFAULT_TIMES: Times = Times {
    connect: Duration::from_secs(1),
    command: Duration::from_secs(2),
    pause: Duration::from_millis(500),
};

/// The settings of a [`RedisStore`] or, with the feature `async`, of an `AsyncRedisStore`.
#[must_use]
pub struct RedisStoreBuilder {
    url: String,
    prefix: Box<str>,
    times: Times,
    authorities: Option<Vec<u8>>,
    identity: Option<ClientTlsConfig>,
}

/// Why a store could not be built. Never shows the URL, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a Redis URL.
    #[error("not a valid redis://, rediss:// or redis+unix:// URL")]
    Url,
    /// The URL disables TLS verification.
    #[error("the URL disables TLS verification, which is not supported")]
    Unverified,
    /// Certificates were given for a connection without TLS.
    #[error("certificates were given, but the URL is not rediss://")]
    NoTls,
    /// A certificate or the key is not valid PEM.
    #[error("a certificate or the key is not valid PEM")]
    Certificates,
    /// A timeout is zero.
    #[error("the {0} is zero")]
    ZeroTimeout(&'static str),
}

impl RedisStore {
    /// A store at this URL, with default settings. Does not connect.
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        Self::builder(url).build()
    }

    /// A store at `redis://`, or with TLS at `rediss://`, each followed by `[[user]:password@]host[:port][/database]`,
    /// or at `redis+unix:///path`, followed by `?user=…&pass=…&db=…`. Special characters in a password must be
    /// percent-encoded.
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url)
    }
}

impl RedisStoreBuilder {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: "".into(),
            times: DEFAULT_TIMES,
            authorities: None,
            identity: None,
        }
    }

    /// Prepends this to every key. Default: empty, as in the official Python SDK.
    pub fn prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long each address of the host is tried. A connection that takes longer in all, login included, is not used:
    /// behind a silent address, one that answers is of no use. Default 1 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.times.connect = timeout;
        self
    }

    /// How long Redis may be silent during a batch of up to 1,000 commands before the connection is closed. Default 2
    /// s: longer than the SDK's own `store_timeout` (1 s), since a claim that is answered late still counts.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.times.command = timeout;
        self
    }

    /// How long calls fail immediately after a failed connection attempt, and after the start of each further one: in
    /// an outage only one call per period pays the connect timeout, besides those that are under way when it begins. A
    /// connection that closes or times out before its first reply is a failed attempt too, and one to a server that has
    /// become a replica is left after this time at the earliest. Default 500 ms; zero retries on every call.
    pub fn reconnect_pause(mut self, pause: Duration) -> Self {
        self.times.pause = pause;
        self
    }

    /// Trusts these PEM certificates instead of Mozilla's.
    pub fn root_certificates_pem(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(certificates.into());
        self
    }

    /// Presents this certificate chain to the server, and signs with this key; both are PEM.
    pub fn client_certificate_pem(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some(ClientTlsConfig { client_cert: chain.into(), client_key: key.into() });
        self
    }

    /// Builds the store, without connecting.
    ///
    /// With TLS, *ring* becomes the process's default rustls provider if none is installed.
    ///
    /// # Errors
    /// A setting is invalid.
    pub fn build(self) -> Result<RedisStore, OpenError> {
        let (client, times, commands) = self.parts()?;
        Ok(RedisStore::new(Connections::new(client, times), times, commands))
    }

    /// The same for tokio: the store connects and runs its commands on this runtime, whose I/O and time must be
    /// enabled.
    ///
    /// # Errors
    /// A setting is invalid.
    #[cfg(feature = "async")]
    pub fn build_async(self, runtime: Handle) -> Result<AsyncRedisStore, OpenError> {
        let (client, times, commands) = self.parts()?;
        Ok(AsyncRedisStore::new(Shared::new(client, times), runtime, commands))
    }

    fn parts(self) -> Result<(Client, Times, Commands), OpenError> {
        for (name, timeout) in
            [("connect timeout", self.times.connect), ("command timeout", self.times.command)]
        {
            if timeout.is_zero() {
                return Err(OpenError::ZeroTimeout(name));
            }
        }
        let server = self.url.as_str().into_connection_info().map_err(|_| OpenError::Url)?;
        let tcp = server.tcp_settings().clone().set_nodelay(true);
        // Redis before 7.2 does not know the command, and would count an error per connection.
        let login = server.redis_settings().clone().set_skip_set_lib_name();
        let server = server.set_tcp_settings(tcp).set_redis_settings(login);
        let client = client(server, self.authorities, self.identity)?;
        Ok((client, self.times, Commands { prefix: self.prefix }))
    }
}

fn client(
    server: ConnectionInfo,
    authorities: Option<Vec<u8>>,
    identity: Option<ClientTlsConfig>,
) -> Result<Client, OpenError> {
    let has_certificates = authorities.is_some() || identity.is_some();
    match server.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => return Err(OpenError::Unverified),
        ConnectionAddr::TcpTls { .. } => {}
        _ if has_certificates => return Err(OpenError::NoTls),
        _ => return Client::open(server).map_err(|_| OpenError::Url),
    }
    let pems = [authorities.as_ref(), identity.as_ref().map(|identity| &identity.client_cert)];
    if pems.into_iter().flatten().any(|pem| CertificateDer::pem_slice_iter(pem).next().is_none()) {
        return Err(OpenError::Certificates);
    }
    if CryptoProvider::get_default().is_none() {
        // If another thread was faster, its provider is as good.
        let _ = ring::default_provider().install_default();
    }
    if !has_certificates {
        return Client::open(server).map_err(|_| OpenError::Url);
    }
    let certificates = TlsCertificates { client_tls: identity, root_cert: authorities };
    Client::build_with_tls(server, certificates).map_err(|_| OpenError::Certificates)
}

impl std::fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url: _, prefix, times, authorities: _, identity: _ } = self;
        f.debug_struct("RedisStoreBuilder")
            .field("prefix", prefix)
            .field("times", times)
            .finish_non_exhaustive()
    }
}
