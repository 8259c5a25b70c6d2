//! What goes over the network, and what never does: certificates, plain HTTP, redirects, secrets.

use std::net::TcpListener;
use std::time::Duration;

use convert_emulator::{Fault, FaultKind, Project, RouteKind, ServerCertificate};
use convert_sdk::config::TransportConfig;
use convert_sdk::error::{LoadError, PreviewError, RefreshError};
use convert_sdk::ports::TransportError;
use convert_sdk::{Core, FlushError, InitializeError, SdkConfig};

use crate::raw::{badly_packed, over_loopback, serve_nothing, serve_raw};
use crate::support::{
    KEY, ONCE, PATIENCE, Script, convert, direct, direct_to, keyed, keyed_over, network, serve,
    serve_project, shop, start, unready, visitor,
};

const SECRET: &str = "bearer-secret-of-7";

#[test]
fn a_certificate_of_another_authority_date_or_host_is_refused() {
    for kind in [ServerCertificate::OtherAuthority, ServerCertificate::Expired, ServerCertificate::WrongHost]
    {
        let emulator = serve();
        emulator.use_certificate(kind).unwrap();
        let error = unready(keyed(&emulator)).initialize().unwrap_err();
        let InitializeError::Load(LoadError::Fetch(TransportError::Tls(_))) = error else {
            panic!("{kind:?}: {error:?}")
        };
        let core = start(direct_to(&emulator));
        convert(&core, 0..1);
        let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("{kind:?}") };
        assert_eq!(report.stats.last_error.unwrap().cause.code(), "tls", "{kind:?}");
        let totals = emulator.received().totals;
        assert_eq!(totals.requests, 0, "nothing is sent before the certificate is checked");
        assert!(totals.failed_handshakes > 0);
    }
}

#[test]
fn an_unknown_authority_is_not_trusted() {
    let emulator = serve();
    let network = TransportConfig::builder().config_base_url(emulator.config_url()).build().unwrap();
    let core = unready(SdkConfig::builder().sdk_key(KEY).transport(network));
    let error = core.initialize().unwrap_err();
    assert!(matches!(error, InitializeError::Load(LoadError::Fetch(TransportError::Tls(_)))), "{error:?}");
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let mut emulator = serve();
    emulator.shutdown();
    let error = unready(keyed(&emulator)).initialize().unwrap_err();
    assert_eq!(error, InitializeError::Load(LoadError::Fetch(TransportError::Connect)));
}

/// Until a delivery is sent its fate is known.
#[test]
fn a_host_that_cannot_be_reached_is_named_and_has_nothing() {
    // One accepts and closes before the handshake; nobody knows the other's name.
    let closing = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("https://localhost:{}", closing.local_addr().unwrap().port());
    std::thread::spawn(move || closing.incoming().for_each(drop));
    let mut gone = serve();
    gone.shutdown();
    for url in ["https://nobody.invalid".to_owned(), gone.https_url(), closed.clone()] {
        let network = || TransportConfig::builder().config_base_url(&url).track_base_url(&url);
        let error = unready(keyed_over(network())).initialize().unwrap_err();
        if url != closed {
            assert_eq!(error, InitializeError::Load(LoadError::Fetch(TransportError::Connect)), "{url}");
        }
        let core = start(direct().transport(network().build().unwrap()));
        convert(&core, 0..1);
        let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("{url}") };
        assert_eq!(report.stats.last_error.unwrap().cause.code(), "connect", "{url}");
        assert_eq!(report.stats.fate_unknown, 0, "{url}");
    }
}

/// Nothing is routed to this address (or it is answered by nobody), whatever network there is.
#[test]
fn an_address_without_a_route_is_a_failure_to_connect() {
    let url = "https://[100::1]:9";
    let network = TransportConfig::builder().config_base_url(url).connect_timeout(Duration::from_millis(300));
    let error = unready(keyed_over(network)).initialize().unwrap_err();
    let InitializeError::Load(LoadError::Fetch(cause)) = error else { panic!("{error:?}") };
    assert!(matches!(cause, TransportError::Connect | TransportError::Timeout("connecting")), "{cause:?}");
}

/// `asynchronous::reqwest` compares the other client with this one.
#[test]
fn an_answer_that_breaks_off_is_called_broken_wherever_it_does() {
    let emulator = serve();
    for (fault, code) in [
        (FaultKind::Reset, "broken"),
        (FaultKind::ResetBeforeBody, "broken"),
        (FaultKind::ResetMidBody, "broken"),
        (FaultKind::TruncatedBody, "broken"),
        (FaultKind::GarbageBody, "not_text"),
        (FaultKind::status(410), "status"),
    ] {
        emulator.inject(Fault::config(fault.clone()).times(1));
        let error = unready(keyed(&emulator)).initialize().unwrap_err();
        let InitializeError::Load(LoadError::Fetch(cause)) = &error else { panic!("{fault:?}: {error:?}") };
        assert_eq!(cause.code(), code, "{fault:?}");
    }
}

#[test]
fn a_badly_packed_config_is_a_typed_error() {
    for (how, answer, code) in badly_packed(&shop().to_string()) {
        let core = unready(keyed_over(over_loopback(&serve_raw(answer))));
        let error = core.initialize().unwrap_err();
        let InitializeError::Load(LoadError::Fetch(cause)) = &error else { panic!("{how}: {error:?}") };
        assert_eq!(cause.code(), code, "{how}");
    }
}

/// What is on the wire is counted too: this body would never reach a bound on what it unpacks to.
#[test]
fn a_body_that_unpacks_to_nothing_is_not_read_for_ever() {
    let (url, server) = serve_nothing();
    let error = unready(keyed_over(over_loopback(&url))).initialize().unwrap_err();
    assert_eq!(error, InitializeError::Load(LoadError::Fetch(TransportError::TooLarge(1 << 20))));
    assert!(server.join().unwrap(), "the server was left while it sent");
}

/// Whoever has read it: what is too long is not parsed.
#[test]
fn what_a_transport_hands_over_has_the_bound_too() {
    let bytes = shop().to_string().len() as u64;
    let network = |limit| TransportConfig::builder().max_response_bytes(limit).build().unwrap();
    let handed = |limit| {
        let script = Script::new();
        let config = SdkConfig::builder().sdk_key(KEY).transport(network(limit)).build().unwrap();
        script.give_config(&shop(), "etag");
        let core = Core::builder(config).transport(script.transport()).build().unwrap();
        (core.initialize(), core, script)
    };
    let too_large = LoadError::Fetch(TransportError::TooLarge(bytes - 1));
    assert_eq!(handed(bytes - 1).0, Err(InitializeError::Load(too_large)));

    let (ready, core, script) = handed(bytes);
    ready.unwrap();
    let mut longer = shop();
    longer["more"] = "more".into();
    script.give_config(&longer, &"e".repeat(9_000));
    let preview = visitor(&core, "v").set_preview("77", "1");
    assert_eq!(preview, Err(PreviewError::Fetch(LoadError::Fetch(TransportError::TooLarge(bytes)))));
    // The fetch of the config had an ETag; the next one has the same, as this one's is too long.
    script.give_config(&shop(), &"e".repeat(9_000));
    core.refresh_now_within(PATIENCE).unwrap();
    script.configs.send(Err(TransportError::Other("r".repeat(5_000).into()))).unwrap();
    let refused = core.refresh_now_within(PATIENCE).unwrap_err();
    let RefreshError::Load(LoadError::Fetch(TransportError::Other(reason))) = refused else { panic!() };
    assert_eq!(reason.len(), 1024);
    let etags: Vec<_> = script.fetches.try_iter().map(|fetch| fetch.etag.is_some()).collect();
    assert_eq!(etags, [false, false, true, false]);
}

#[test]
fn a_redirect_is_not_followed_and_takes_no_secret_to_another_host() {
    let other = serve();
    for to in [other.https_url(), other.http_url()] {
        let emulator = serve_project(Project::from_json(shop()).secret(SECRET));
        let to = format!("{to}/api/v1/config/{KEY}");
        emulator.inject(Fault::both(FaultKind::Redirect { to }));
        let network = network(&emulator).auth_secret(SECRET).root_certificate_pem(other.ca_pem());
        let error = unready(keyed_over(network)).initialize().unwrap_err();
        assert_eq!(error, InitializeError::Load(LoadError::Fetch(TransportError::Status(307))));
        let core = start(direct_to(&emulator));
        convert(&core, 0..1);
        let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("no redirect") };
        assert_eq!((report.pending, report.delivered), (1, 0));
    }
    let totals = other.received().totals;
    assert_eq!((totals.requests, totals.failed_handshakes), (0, 0));
}

#[test]
fn the_secret_goes_with_config_fetches_alone_and_over_https_alone() {
    let emulator = serve_project(Project::from_json(shop()).secret(SECRET));
    let core = start(keyed_over(network(&emulator).auth_secret(SECRET)));
    convert(&core, 0..1);
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1);
    let received = emulator.received();
    let sent = |route| {
        let requests: Vec<_> =
            received.requests_on(route).map(|request| request.header("authorization")).collect();
        requests
    };
    let bearer = format!("Bearer {SECRET}");
    assert_eq!(sent(RouteKind::Config), [Some(bearer.as_str())]);
    assert_eq!(sent(RouteKind::Track), [None]);

    emulator.clear();
    let plain = TransportConfig::builder()
        .danger_allow_http_on_loopback(true)
        .config_base_url(emulator.http_url())
        .track_base_url(emulator.http_url())
        .auth_secret(SECRET);
    let error = unready(keyed_over(plain)).initialize().unwrap_err();
    assert_eq!(error, InitializeError::Load(LoadError::Fetch(TransportError::Status(401))));
    let received = emulator.received();
    assert_eq!(received.requests.len(), 1);
    assert_eq!(received.requests[0].header("authorization"), None);
}

#[test]
fn a_missing_or_wrong_secret_is_named() {
    let emulator = serve_project(Project::from_json(shop()).secret(SECRET));
    let status = |network| unready(keyed_over(network)).initialize().unwrap_err();
    let refused = |code| InitializeError::Load(LoadError::Fetch(TransportError::Status(code)));
    assert_eq!(status(network(&emulator)), refused(401));
    assert_eq!(status(network(&emulator).auth_secret("another")), refused(403));
}

#[test]
fn loopback_http_works_after_the_opt_in() {
    let emulator = serve();
    let plain = TransportConfig::builder()
        .danger_allow_http_on_loopback(true)
        .config_base_url(emulator.http_url())
        .track_base_url(format!("{}/v1/", emulator.http_url()));
    let core = start(keyed_over(plain));
    convert(&core, 0..1);
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1);
    assert!(emulator.received().requests.iter().all(|request| !request.https));
}

#[test]
fn a_server_that_drips_ends_with_the_requests_timeout() {
    let emulator = serve();
    emulator.inject(Fault::config(FaultKind::SlowDrip { bytes: 1, interval_ms: 20 }));
    let core = unready(keyed_over(network(&emulator).total_timeout(Duration::from_millis(200))));
    let error = core.initialize().unwrap_err();
    let InitializeError::Load(LoadError::Fetch(cause)) = error else { panic!("{error:?}") };
    assert_eq!(cause.code(), "timeout");
}

#[test]
fn every_character_that_a_key_may_hold_reaches_the_server() {
    let emulator = serve();
    for character in ('!'..='~').filter(|c| !matches!(c, '?' | '#' | '%' | '\\' | '<' | '>' | '`')) {
        let key = format!("k{character}k");
        let config = SdkConfig::builder().sdk_key(key).transport(network(&emulator).build().unwrap());
        let error = unready(config).initialize().unwrap_err();
        let answered = InitializeError::Load(LoadError::Fetch(TransportError::Status(404)));
        assert_eq!(error, answered, "{character:?}");
    }
}

#[test]
fn a_connection_serves_many_requests() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    for round in 0..3 {
        convert(&core, round..round + 1);
        assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1);
    }
    let received = emulator.received();
    let mut connections: Vec<_> = received.requests.iter().map(|request| request.connection).collect();
    connections.dedup();
    assert_eq!(connections.len(), 1, "{connections:?}");
}
