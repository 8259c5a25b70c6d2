//! Invalid configuration values, each rejected by name before anything starts.

use std::io::{Error, ErrorKind, Read};
use std::path::PathBuf;
use std::time::Duration;

use convert_sdk::{
    InvalidOption, SdkConfig, SdkConfigBuilder,
    config::{RefreshConfig, TransportConfig, TransportConfigBuilder},
    delivery::{DeliveryConfig, DeliveryConfigBuilder},
    error::InvalidReason,
};

use crate::support::{direct, shop};

#[track_caller]
fn refused<T>(built: Result<T, InvalidOption>, field: &str, reason: &InvalidReason) {
    let Err(error) = built else { panic!("{field} should be rejected") };
    assert_eq!((error.field(), error.reason(), error.code()), (field, reason, "invalid_option"));
}

fn with_key(key: &str) -> SdkConfigBuilder {
    SdkConfig::builder().sdk_key(key)
}

fn network() -> TransportConfigBuilder {
    TransportConfig::builder()
}

#[test]
fn a_key_or_data_given_once_is_needed() {
    refused(SdkConfig::builder().build(), "source", &InvalidReason::NoSource);
    refused(direct().data_json("{}").build(), "source", &InvalidReason::SeveralSources);
    refused(
        SdkConfig::builder().data_file("a").data_reader(std::io::empty()).build(),
        "source",
        &InvalidReason::SeveralSources,
    );
    assert!(with_key("k").data(&shop()).build().is_ok(), "starts with the data, then follows the key");
    assert!(!with_key("k").build().unwrap().is_direct_config());
    assert!(direct().build().unwrap().is_direct_config());
}

#[test]
fn a_key_that_is_empty_or_changes_the_route_is_rejected() {
    for empty in ["", " ", "\t\n"] {
        refused(with_key(empty).build(), "sdk_key", &InvalidReason::Empty);
    }
    for broken in ["a b", "a\nb", "ü", "a?b", "a#b", "a%2fb", "a\\b", "a\u{0}", "a<b", "a>b", "a`b"] {
        refused(with_key(broken).build(), "sdk_key", &InvalidReason::IllegalCharacter);
    }
}

#[test]
fn empty_texts_are_rejected() {
    refused(with_key("k").environment(" ").build(), "environment", &InvalidReason::Empty);
    refused(with_key("k").debug_token("").build(), "debug_token", &InvalidReason::Empty);
    refused(network().auth_secret("").build(), "transport.auth_secret", &InvalidReason::Empty);
    refused(network().header("x-team", "").build(), "transport.header", &InvalidReason::Empty);
}

#[test]
fn numbers_out_of_range_are_rejected() {
    let batch = InvalidReason::OutOfRange("from 1 to 10,000");
    for count in [0, 10_001, usize::MAX] {
        refused(direct().batch_size(count).build(), "batch_size", &batch);
    }
    refused(direct().max_visitors(0).build(), "max_visitors", &InvalidReason::OutOfRange("at least 1"));
    let positive = InvalidReason::OutOfRange("more than zero");
    refused(direct().initialize_timeout(Duration::ZERO).build(), "initialize_timeout", &positive);
    refused(network().connect_timeout(Duration::ZERO).build(), "transport.connect_timeout", &positive);
    refused(network().total_timeout(Duration::ZERO).build(), "transport.total_timeout", &positive);
    refused(
        direct().auto_flush_interval(Duration::from_micros(999)).build(),
        "auto_flush_interval",
        &InvalidReason::OutOfRange("at least 1 ms"),
    );
    refused(
        network().max_response_bytes(1023).build(),
        "transport.max_response_bytes",
        &InvalidReason::OutOfRange("at least 1024"),
    );
}

#[test]
fn the_upkeep_of_a_config_needs_a_file_and_an_age() {
    for path in ["", "/", ".."] {
        refused(with_key("k").config_cache(path).build(), "config_cache", &InvalidReason::NotAFile);
    }
    let positive = InvalidReason::OutOfRange("more than zero");
    refused(with_key("k").max_stale(Duration::ZERO).build(), "max_stale", &positive);
}

#[test]
fn a_refresh_policy_must_be_consistent() {
    let policy = RefreshConfig::builder;
    let second = Duration::from_secs(1);
    let refuse = |built, field, range| refused(built, field, &InvalidReason::OutOfRange(range));
    refuse(policy().interval(Duration::ZERO).build(), "refresh.interval", "more than zero");
    refuse(policy().interval(second).build(), "refresh.jitter", "at most the interval");
    for factor in [0.5, -1.0, f64::NAN, f64::INFINITY] {
        let built = policy().backoff_factor(factor).build();
        refuse(built, "refresh.backoff_factor", "a number of at least 1");
    }
    let built = policy().backoff_ceiling(second).build();
    refuse(built, "refresh.backoff_ceiling", "at least the interval");
}

#[test]
fn a_base_url_is_absolute_https_and_nothing_more() {
    let table = [
        ("", InvalidReason::NotAUrl),
        ("cdn.example.com", InvalidReason::NotAUrl),
        ("/api", InvalidReason::NotAUrl),
        ("https://", InvalidReason::NotAUrl),
        ("not a url", InvalidReason::NotAUrl),
        ("https://cdn.example.com:", InvalidReason::NotAUrl),
        ("https://cdn.example.com:0", InvalidReason::NotAUrl),
        ("https://cdn.example.com:65536", InvalidReason::NotAUrl),
        ("https://9:99999/v1", InvalidReason::NotAUrl),
        ("http://cdn.example.com", InvalidReason::NotHttps),
        ("http://127.0.0.1:80", InvalidReason::NotHttps),
        ("ftp://cdn.example.com", InvalidReason::NotHttps),
        ("https://cdn.example.com?key=1", InvalidReason::ExtraUrlParts),
        ("https://cdn.example.com/#x", InvalidReason::ExtraUrlParts),
        ("https://user:password@cdn.example.com", InvalidReason::ExtraUrlParts),
    ];
    for (url, reason) in table {
        refused(network().config_base_url(url).build(), "transport.config_base_url", &reason);
        refused(network().track_base_url(url).build(), "transport.track_base_url", &reason);
    }
    for url in ["https://[project_id].example.com/v1/", "HTTPS://[::1]:65535"] {
        assert!(network().track_base_url(url).build().is_ok(), "{url}");
    }
}

#[test]
fn plain_http_needs_the_opt_in_and_a_loopback_address() {
    for host in ["localhost:1", "LOCALHOST", "127.0.0.1", "127.9.9.9:8080", "[::1]:1"] {
        let url = format!("http://{host}");
        let opted_in = network().danger_allow_http_on_loopback(true).config_base_url(&url);
        assert!(opted_in.track_base_url(&url).build().is_ok(), "{url}");
        let built = network().config_base_url(&url).build();
        refused(built, "transport.config_base_url", &InvalidReason::NotHttps);
    }
    for host in
        ["0.0.0.0", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "[::2]", "128.0.0.1"]
    {
        let opted_in = network().danger_allow_http_on_loopback(true);
        let built = opted_in.config_base_url(format!("http://{host}")).build();
        refused(built, "transport.config_base_url", &InvalidReason::NotHttps);
    }
}

#[test]
fn the_sdks_own_headers_and_invalid_ones_are_rejected() {
    let reserved = [
        "Authorization",
        "user-agent",
        "ACCEPT",
        "accept-encoding",
        "If-None-Match",
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "content-type",
    ];
    for name in reserved {
        refused(network().header(name, "x").build(), "transport.header", &InvalidReason::ReservedHeader);
    }
    for (name, value) in [("x team", "x"), ("", "x"), ("x-team", "a\nb"), ("x-team", "a\u{7f}")] {
        let built = network().header(name, value).build();
        refused(built, "transport.header", &InvalidReason::IllegalCharacter);
    }
    let broken = network().auth_secret("a\r\nb").build();
    refused(broken, "transport.auth_secret", &InvalidReason::IllegalCharacter);
}

#[test]
fn an_invalid_certificate_or_proxy_is_rejected() {
    let field = "transport.root_certificate_pem";
    for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        refused(network().root_certificate_pem(pem).build(), field, &InvalidReason::NotACertificate);
    }
    for proxy in [
        "not a proxy",
        "socks4://localhost:1",
        "socks5://localhost:1",
        "localhost:65536",
        "http://u:p@localhost:0",
        "http://localhost:",
    ] {
        refused(network().proxy(proxy).build(), "transport.proxy", &InvalidReason::NotAUrl);
    }
    assert!(network().proxy("http://u:p@localhost:65535").build().is_ok());
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(Error::from(ErrorKind::PermissionDenied))
    }
}

#[test]
fn an_unreadable_file_or_reader_is_rejected() {
    let built = SdkConfig::builder().data_file("no/such/file.json").build();
    let path = PathBuf::from("no/such/file.json");
    refused(built, "data_file", &InvalidReason::UnreadableFile { path, kind: ErrorKind::NotFound });
    let error = SdkConfig::builder().data_file("no/such/file.json").build().unwrap_err();
    assert_eq!(error.to_string(), "data_file: no/such/file.json could not be read (entity not found)");
    let built = SdkConfig::builder().data_reader(Broken).build();
    refused(built, "data_reader", &InvalidReason::Unreadable(ErrorKind::PermissionDenied));
    let built = SdkConfig::builder().data_reader(&b"\xff\xfe"[..]).build();
    refused(built, "data_reader", &InvalidReason::Unreadable(ErrorKind::InvalidData));
}

#[test]
fn delivery_limits_out_of_range_are_rejected() {
    type Change = fn(DeliveryConfigBuilder) -> DeliveryConfigBuilder;
    let cases: [(&str, &str, Change); 15] = [
        ("delivery.queue_capacity", "from 1 to 1,048,576", |it| it.queue_capacity(0)),
        ("delivery.queue_capacity", "from 1 to 1,048,576", |it| it.queue_capacity((1 << 20) + 1)),
        ("delivery.max_queued_bytes", "at least 1", |it| it.max_queued_bytes(0)),
        ("delivery.max_pending_records", "at least 1", |it| it.max_pending_records(0)),
        ("delivery.max_pending_bytes", "at least 1", |it| it.max_pending_bytes(0)),
        ("delivery.max_request_events", "from 1 to 10,000", |it| it.max_request_events(0)),
        ("delivery.max_request_events", "from 1 to 10,000", |it| it.max_request_events(10_001)),
        ("delivery.max_request_bytes", "at least 1", |it| it.max_request_bytes(0)),
        ("delivery.lanes", "from 1 to 16", |it| it.lanes(0)),
        ("delivery.lanes", "from 1 to 16", |it| it.lanes(17)),
        ("delivery.max_age", "at least 1 s", |it| it.max_age(Duration::from_millis(999))),
        ("delivery.backoff", "more than zero", |it| it.backoff(Duration::ZERO)),
        ("delivery.backoff_ceiling", "at least the backoff", |it| {
            it.backoff_ceiling(Duration::from_millis(999))
        }),
        ("delivery.breaker_threshold", "at least 1", |it| it.breaker_threshold(0)),
        ("delivery.first_timeout", "more than zero", |it| it.first_timeout(Duration::ZERO)),
    ];
    for (field, range, change) in cases {
        refused(change(DeliveryConfig::builder()).build(), field, &InvalidReason::OutOfRange(range));
    }
    assert!(DeliveryConfig::builder().build().is_ok());
}

#[test]
fn debug_says_how_many_certificates_there_are() {
    let authority = convert_emulator::CertificateAuthority::generate().unwrap();
    let transport = network().root_certificate_pem(authority.pem()).build().unwrap();
    let shown = format!("{:?}", with_key("k").transport(transport).build().unwrap());
    assert!(shown.contains("root_certificates: 1,"), "{shown}");
}

#[test]
fn the_server_preset_refreshes_flushes_and_fills_batches() {
    let shown = |builder: SdkConfigBuilder| format!("{:?}", builder.build().unwrap());
    let server = shown(SdkConfig::server("k"));
    for part in
        ["auto_flush_interval: Some(5s)", "batch_size: 100", "interval: 300s", "first_timeout: Some(2s)"]
    {
        assert!(server.contains(part), "{part}: {server}");
    }
    assert_eq!(server, shown(SdkConfig::builder().for_server().sdk_key("k")));
    assert!(
        shown(SdkConfig::server("k").batch_size(7)).contains("batch_size: 7"),
        "each setting can be overridden"
    );
}
