//! The certificate authority, and the valid and invalid certificates that it issues.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::StartError;

/// The names that a valid certificate covers.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A self-signed certificate authority; clones share the same key.
///
/// Give the same authority to several emulators if one client has to trust all of them.
#[derive(Clone)]
pub struct CertificateAuthority {
    issuer: Arc<CertifiedIssuer<'static, KeyPair>>,
}

/// The certificate that the HTTPS listener presents; the invalid ones test that a client rejects them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerCertificate {
    /// Signed by the emulator's authority for `localhost`, `127.0.0.1` and `::1`.
    #[default]
    Valid,
    /// Valid names and dates, but signed by an authority that no client trusts.
    OtherAuthority,
    /// Valid names and authority, but expired in 2020.
    Expired,
    /// Valid authority and dates, but only for `elsewhere.invalid`.
    WrongHost,
}

impl CertificateAuthority {
    /// Creates a new authority with a new key.
    ///
    /// # Errors
    ///
    /// [`StartError::Certificate`] if the system's random number generator is not available.
    pub fn generate() -> Result<Self, StartError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "convert-emulator local authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2049, 1, 1));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { issuer: Arc::new(issuer) })
    }

    /// The authority's certificate as PEM text, for clients to trust.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A TLS configuration that presents `kind`, with TLS 1.2 and 1.3 and HTTP/1.1.
    pub(crate) fn server_config(&self, kind: ServerCertificate) -> Result<Arc<ServerConfig>, StartError> {
        let untrusted = match kind {
            ServerCertificate::OtherAuthority => Some(Self::generate()?),
            ServerCertificate::Valid | ServerCertificate::Expired | ServerCertificate::WrongHost => None,
        };
        let signer = untrusted.as_ref().unwrap_or(self);
        let key = KeyPair::generate()?;
        let leaf = leaf_params(kind)?.signed_by(&key, &*signer.issuer)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.into())?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CertificateAuthority(..)")
    }
}

fn leaf_params(kind: ServerCertificate) -> Result<CertificateParams, StartError> {
    let names = match kind {
        ServerCertificate::WrongHost => vec!["elsewhere.invalid".to_owned()],
        ServerCertificate::Valid | ServerCertificate::OtherAuthority | ServerCertificate::Expired => {
            LOCAL_NAMES.map(str::to_owned).to_vec()
        }
    };
    let last_year = if kind == ServerCertificate::Expired { 2020 } else { 2049 };
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "convert-emulator");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(last_year, 6, 1));
    Ok(params)
}
