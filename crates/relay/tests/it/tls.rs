//! TLS on both sides of the relay, with certificates made here.

use convert_relay::Secret;
use convert_sdk::config::TransportConfig;

use crate::server::Redis;
use crate::support::{LONG, Running, client, exposure, free_port, settings, shopping, world};

/// The PEM of a certificate for `localhost`, in the files `certificate` and `key` of the folder.
fn certify(redis: &Redis) -> String {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(redis.folder.join("certificate"), pair.cert.pem()).unwrap();
    std::fs::write(redis.folder.join("key"), pair.signing_key.serialize_pem()).unwrap();
    pair.cert.pem()
}

#[test]
fn an_sdk_reaches_the_relay_over_tls() {
    let Some((redis, convert)) = world(&[]) else { return };
    let authority = certify(&redis);
    let mut secured = settings(&redis, &convert);
    secured.tls_certificate = Some(redis.folder.join("certificate"));
    secured.tls_key = Some(redis.folder.join("key"));
    secured.client_secret = Some(Secret::new("mine"));
    let relay = Running::start(secured);
    let url = relay.url.replace("http://127.0.0.1", "https://localhost");
    let network = TransportConfig::builder()
        .config_base_url(&url)
        .track_base_url(format!("{url}/v1"))
        .root_certificate_pem(authority)
        .auth_secret("mine");
    let (core, _context) = shopping(network);
    core.flush(LONG).unwrap();
    let received = convert.wait_for_events(1, LONG).unwrap();
    assert_eq!((received.totals.bucketing, received.totals.flawed), (1, 0));
    assert!(client().get(format!("{url}/healthz")).call().is_err(), "nobody else trusts the certificate");
    assert!(client().get(format!("{}/healthz", relay.url)).call().is_err(), "no plain HTTP");
}

#[test]
fn redis_is_reached_over_tls_if_its_authority_is_trusted() {
    let Some((redis, convert)) = world(&[]) else { return };
    certify(&redis);
    let port = free_port();
    let files = ["tls-cert-file", "certificate", "tls-key-file", "key", "tls-ca-cert-file", "certificate"];
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg(&files).arg("tls-auth-clients").arg("no").arg("tls-port").arg(port);
    set.exec(&mut connection).unwrap();
    let mut by_mozilla = settings(&redis, &convert);
    by_mozilla.redis = Secret::new(format!("rediss://localhost:{port}/"));
    let mut trusting = by_mozilla.clone();
    trusting.redis_ca_file = Some(redis.folder.join("certificate"));
    let mut elsewhere = trusting.clone();
    elsewhere.redis = Secret::new(format!("rediss://127.0.0.1:{port}/"));
    for stranger in [by_mozilla, elsewhere] {
        let relay = Running::start(stranger);
        assert_eq!(relay.post(&exposure("v")).status, 503, "not Mozilla's, and not of this name");
    }
    let relay = Running::start(trusting);
    assert_eq!(relay.post(&exposure("v")).status, 200);
    let received = convert.wait_for_events(1, LONG).unwrap();
    assert_eq!(received.totals.events, 1);
}
