//! Settings, valid and invalid, and what is shown of them.

use std::net::TcpListener;
use std::time::Duration;

use convert_sdk::ports::DataStore;
use convert_sdk_redis::{OpenError, RedisStore};

use crate::server::Redis;

#[test]
fn an_invalid_setting_is_an_error_that_hides_the_url() {
    let error = |url: &str| {
        let error = RedisStore::open(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        error
    };
    for url in ["", "hunter2", "http://u:hunter2@host/", "redis://u:hunter2@host/no-number", "redis://"] {
        assert_eq!(error(url), OpenError::Url, "{url}");
    }
    assert_eq!(error("rediss://u:hunter2@host/#insecure"), OpenError::Unverified);
    let build = |url, pem: &str| RedisStore::builder(url).root_certificates_pem(pem).build().map(drop);
    assert_eq!(build("redis://host", "any"), Err(OpenError::NoTls));
    assert_eq!(build("rediss://host", "no certificate"), Err(OpenError::Certificates));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(build("rediss://host", broken), Err(OpenError::Certificates));
    let key = RedisStore::builder("rediss://host").client_certificate_pem(broken, "no key").build();
    assert_eq!(key.map(drop), Err(OpenError::Certificates));
    let none = RedisStore::builder("redis://host").command_timeout(Duration::ZERO).build();
    assert_eq!(none.map(drop), Err(OpenError::ZeroTimeout("command timeout")));
}

#[test]
fn neither_store_nor_builder_shows_its_url() {
    let builder = RedisStore::builder("redis://someone:hunter2@inner.host/").prefix("p:");
    let mut shown = format!("{builder:?}");
    shown += &format!("{:?}", builder.build().unwrap());
    assert!(shown.contains("p:"), "{shown}");
    for hidden in ["someone", "hunter2", "inner.host"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[test]
fn user_password_and_database_come_from_the_url() {
    let Some(server) = Redis::start(&["--user", "some", "on", ">p@ss/w:rd", "~*", "+@all"]) else { return };
    let at = format!("127.0.0.1:{}/3", server.port);
    let store = RedisStore::open(&format!("redis://some:p%40ss%2Fw%3Ard@{at}")).unwrap();
    store.set("k", true.into(), None).unwrap();
    let keyspace: String = redis::cmd("INFO").arg("keyspace").query(&mut server.connect()).unwrap();
    assert!(keyspace.contains("db3:keys=1"), "{keyspace}");
    let wrong = RedisStore::open(&format!("redis://some:hunter2@{at}")).unwrap();
    assert_eq!(wrong.get("k").unwrap_err().to_string(), "data store: authentication failed");
}

#[cfg(unix)]
#[test]
fn a_unix_socket_works() {
    let path = std::env::temp_dir().join(format!("convert-redis-{}.sock", std::process::id()));
    let path = path.to_str().unwrap();
    let Some(_server) = Redis::start(&["--unixsocket", path]) else { return };
    let store = RedisStore::open(&format!("redis+unix://{path}")).unwrap();
    store.set("k", true.into(), None).unwrap();
    assert_eq!(store.has("k"), Ok(true));
}

#[test]
fn tls_verifies_the_server_and_presents_a_certificate() {
    let Some(server) = Redis::start(&[]) else { return };
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    std::fs::write(server.folder.join("certificate"), &certificate).unwrap();
    std::fs::write(server.folder.join("key"), &key).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut redis = redis::cmd("CONFIG");
    let files = ["tls-cert-file", "certificate", "tls-key-file", "key", "tls-ca-cert-file", "certificate"];
    redis.arg("SET").arg(&files);
    redis.arg("tls-auth-clients").arg("yes").arg("tls-port").arg(port).exec(&mut server.connect()).unwrap();
    let url = format!("rediss://localhost:{port}/");
    let builder = || RedisStore::builder(&url).reconnect_pause(Duration::ZERO);
    let trusting = || builder().root_certificates_pem(&*certificate);
    let known = trusting().client_certificate_pem(&*certificate, &*key).build().unwrap();
    known.set("k", true.into(), None).unwrap();
    assert_eq!(known.has("k"), Ok(true));
    assert!(trusting().build().unwrap().has("k").is_err(), "the server asks for a certificate");
    let by_mozilla = builder().client_certificate_pem(&*certificate, &*key).build().unwrap();
    assert!(by_mozilla.has("k").is_err(), "Mozilla's roots do not cover this server");
    let url = url.replace("localhost", "127.0.0.1");
    let elsewhere = RedisStore::builder(&url).root_certificates_pem(&*certificate);
    let elsewhere = elsewhere.client_certificate_pem(&*certificate, &*key).build().unwrap();
    assert!(elsewhere.has("k").is_err(), "the certificate is for another name");
}
