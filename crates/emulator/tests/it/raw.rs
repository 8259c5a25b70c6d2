//! Requests without a client library, to see exactly how a connection ends.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use convert_emulator::Emulator;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::{KEY, PATIENCE};

/// What was read, and the error that ended it; no error means an orderly close.
#[derive(Debug)]
pub(crate) struct RawReply {
    pub(crate) text: String,
    /// The number of bytes.
    pub(crate) bytes: usize,
    pub(crate) error: Option<io::ErrorKind>,
}

/// Fetches the config over one of the two listeners.
pub(crate) fn get_config(emulator: &Emulator, https: bool) -> RawReply {
    let port = |url: String| url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    if https {
        let stream = connect(port(emulator.https_url()));
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(trusting(&emulator.ca_pem()), name).unwrap();
        exchange(StreamOwned::new(connection, stream))
    } else {
        exchange(connect(port(emulator.http_url())))
    }
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn exchange(mut stream: impl Read + Write) -> RawReply {
    let request =
        format!("GET /api/v1/config/{KEY} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).err().map(|error| error.kind());
    RawReply { text: String::from_utf8_lossy(&bytes).into_owned(), bytes: bytes.len(), error }
}

fn trusting(pem: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
