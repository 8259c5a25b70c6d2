//! Certificates: the valid one is trusted under every local name, the invalid ones are rejected.

use convert_emulator::{CertificateAuthority, Emulator, Project, ServerCertificate};

use crate::client::{Client, KEY, PATIENCE, demo};

const BAD: [ServerCertificate; 3] =
    [ServerCertificate::OtherAuthority, ServerCertificate::Expired, ServerCertificate::WrongHost];

#[test]
fn the_certificate_covers_name_and_address() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for host in ["localhost", "127.0.0.1"] {
        let base = emulator.https_url().replace("localhost", host);
        assert_eq!(client.get(&format!("{base}/api/v1/config/{KEY}")).status, 200, "{host}");
    }
}

#[test]
fn invalid_certificates_are_rejected_and_counted() {
    for bad in BAD {
        let emulator =
            Emulator::builder().project(Project::demo().sdk_key(KEY)).certificate(bad).start().unwrap();
        let url = format!("{}/api/v1/config/{KEY}", emulator.https_url());
        assert!(Client::of(&emulator).try_get(&url).is_err(), "{bad:?}");
        let received =
            emulator.wait_until(PATIENCE, |received| received.totals.failed_handshakes == 1).unwrap();
        assert_eq!(received.totals.requests, 0, "{bad:?}");
    }
}

#[test]
fn a_connection_that_only_looks_is_no_failed_handshake() {
    let emulator = demo();
    let address = emulator.https_url().replace("https://localhost", "127.0.0.1");
    drop(std::net::TcpStream::connect(&address).unwrap());
    // What follows is accepted later, and fails for sure.
    std::io::Write::write_all(
        &mut std::net::TcpStream::connect(&address).unwrap(),
        b"GET / HTTP/1.1\r\n\r\n",
    )
    .unwrap();
    let received = emulator.wait_until(PATIENCE, |received| received.totals.failed_handshakes > 0).unwrap();
    assert_eq!(received.totals.failed_handshakes, 1);
}

#[test]
fn the_certificate_can_be_replaced_at_run_time() {
    let emulator = demo();
    let url = format!("{}/api/v1/config/{KEY}", emulator.https_url());
    for bad in BAD {
        emulator.use_certificate(bad).unwrap();
        assert!(Client::of(&emulator).try_get(&url).is_err(), "{bad:?}");
        emulator.use_certificate(ServerCertificate::Valid).unwrap();
        assert_eq!(Client::of(&emulator).get(&url).status, 200);
    }
}

#[test]
fn a_shared_authority_is_trusted_for_both() {
    let authority = CertificateAuthority::generate().unwrap();
    let start = || {
        let project = Project::demo().sdk_key(KEY);
        Emulator::builder().project(project).authority(authority.clone()).start().unwrap()
    };
    let (one, other) = (start(), start());
    let client = Client::of(&one);
    assert_eq!(client.get(&format!("{}/api/v1/config/{KEY}", other.https_url())).status, 200);
    assert_eq!(one.authority().pem(), other.ca_pem());
}

#[test]
fn no_other_authority_is_trusted() {
    let (one, other) = (demo(), demo());
    let url = format!("{}/api/v1/config/{KEY}", other.https_url());
    assert!(Client::of(&one).try_get(&url).is_err());
}

#[test]
fn the_authority_is_written_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = demo();
    let file = folder.path().join("ca.pem");
    emulator.write_ca(&file).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), emulator.ca_pem());
    assert!(emulator.write_ca(folder.path().join("no/such/folder.pem")).is_err());
}
