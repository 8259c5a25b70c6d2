//! What is sent over the network, and what never is: certificates, plain HTTP, redirects, secrets.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convert_emulator::{Fault, FaultKind, Project, RouteKind, ServerCertificate};
use convert_sdk::config::TransportConfig;
use convert_sdk::error::{LoadError, PreviewError, RefreshError};
use convert_sdk::ports::TransportError;
use convert_sdk::{Core, FlushError, InitializeError, SdkConfig};

use crate::child;
use crate::raw::{badly_packed, over_loopback, serve_nothing, serve_raw, tunnel};
use crate::support::{
    KEY, ONCE, PATIENCE, Script, convert, direct, direct_to, keyed, keyed_over, network, serve,
    serve_project, shop, start, unready, visitor,
};

const SECRET: &str = "bearer-secret-of-7";

#[test]
fn an_untrusted_expired_or_wrong_host_certificate_is_rejected() {
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
fn a_closed_port_is_reported() {
    let mut emulator = serve();
    emulator.shutdown();
    let error = unready(keyed(&emulator)).initialize().unwrap_err();
    let place = emulator.https_url().replace("https://", "");
    assert_eq!(error, InitializeError::Load(LoadError::Fetch(TransportError::Unreachable(place.into()))));
}

/// The path has the SDK key; the proxy's URL has a password.
#[test]
fn an_unreachable_host_is_named_and_nothing_else_of_its_url() {
    let network = || TransportConfig::builder().config_base_url("https://nobody.invalid/base");
    let told = |network| unready(keyed_over(network)).initialize().unwrap_err().to_string();
    let error = told(network());
    assert!(error.ends_with("could not connect to nobody.invalid:443"), "{error}");
    let error = told(network().proxy("http://user:password@127.0.0.1:1"));
    assert!(error.ends_with("could not connect to nobody.invalid:443 through the proxy"), "{error}");
}

/// As long as nothing has been sent, a delivery's fate is known.
#[test]
fn an_unreachable_host_is_reported_and_has_received_nothing() {
    // One accepts and closes before the handshake; the other's name does not resolve.
    let closing = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("https://localhost:{}", closing.local_addr().unwrap().port());
    std::thread::spawn(move || closing.incoming().for_each(drop));
    let mut gone = serve();
    gone.shutdown();
    for url in ["https://nobody.invalid".to_owned(), gone.https_url(), closed.clone()] {
        let network = || TransportConfig::builder().config_base_url(&url).track_base_url(&url);
        let error = unready(keyed_over(network())).initialize().unwrap_err();
        if url != closed {
            let InitializeError::Load(LoadError::Fetch(cause)) = error else { panic!("{error:?}") };
            assert_eq!(cause.code(), "connect", "{url}");
        }
        let core = start(direct().transport(network().build().unwrap()));
        convert(&core, 0..1);
        let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("{url}") };
        assert_eq!(report.stats.last_error.unwrap().cause.code(), "connect", "{url}");
        assert_eq!(report.stats.fate_unknown, 0, "{url}");
    }
}

/// No network routes to this address, or nobody responds there.
#[test]
fn an_address_without_a_route_is_a_failure_to_connect() {
    let url = "https://[100::1]:9";
    let network = TransportConfig::builder().config_base_url(url).connect_timeout(Duration::from_millis(300));
    let error = unready(keyed_over(network)).initialize().unwrap_err();
    let InitializeError::Load(LoadError::Fetch(cause)) = error else { panic!("{error:?}") };
    let unreachable = TransportError::Unreachable("[100::1]:9".into());
    assert!(cause == unreachable || cause == TransportError::Timeout("connecting"), "{cause:?}");
}

/// `crates/reqwest` compares the other client with this one.
#[test]
fn a_truncated_response_is_reported_wherever_it_ends() {
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
fn a_badly_compressed_config_is_a_typed_error() {
    for (how, answer, code) in badly_packed(&shop().to_string()) {
        let core = unready(keyed_over(over_loopback(&serve_raw(answer))));
        let error = core.initialize().unwrap_err();
        let InitializeError::Load(LoadError::Fetch(cause)) = &error else { panic!("{how}: {error:?}") };
        assert_eq!(cause.code(), code, "{how}");
    }
}

#[test]
fn a_status_counts_even_if_the_body_never_ends() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::SlowDrip { bytes: 1, interval_ms: 3_600_000 }));
    let core = start(direct().transport(network(&emulator).total_timeout(10 * PATIENCE).build().unwrap()));
    convert(&core, 0..1);
    assert_eq!(core.flush(PATIENCE).map(|report| report.delivered), Ok(1));
}

/// What is on the wire is counted too: this body would never reach a limit on its decompressed size.
#[test]
fn a_body_that_decompresses_to_nothing_is_not_read_for_ever() {
    let (url, server) = serve_nothing();
    let error = unready(keyed_over(over_loopback(&url))).initialize().unwrap_err();
    assert_eq!(error, InitializeError::Load(LoadError::Fetch(TransportError::TooLarge(1 << 20))));
    assert!(server.join().unwrap(), "the client hung up while the server was sending");
}

/// Whichever client has read it: an oversized config is not parsed.
#[test]
fn a_custom_transports_bodies_are_bounded_too() {
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
    // The first fetch had an ETag; the next one sends the same, as this response is too large.
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
fn a_redirect_takes_no_secret_to_another_host() {
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
fn the_secret_is_sent_only_with_config_fetches_over_https() {
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
fn a_missing_or_wrong_secret_is_reported() {
    let emulator = serve_project(Project::from_json(shop()).secret(SECRET));
    let status = |network| unready(keyed_over(network)).initialize().unwrap_err();
    let refused = |code| InitializeError::Load(LoadError::Fetch(TransportError::Status(code)));
    assert_eq!(status(network(&emulator)), refused(401));
    assert_eq!(status(network(&emulator).auth_secret("another")), refused(403));
}

#[test]
fn a_secret_can_change_while_the_program_runs() {
    let emulator = serve_project(Project::from_json(shop()).secret(SECRET));
    let told = Arc::new(Mutex::new(Some(SECRET.to_owned())));
    let now = Arc::clone(&told);
    let core = start(keyed_over(network(&emulator).auth_secret_with(move || now.lock().unwrap().clone())));
    let refreshed = |secret: Option<&str>| {
        *told.lock().unwrap() = secret.map(str::to_owned);
        match core.refresh_now_within(PATIENCE) {
            Err(RefreshError::Load(LoadError::Fetch(cause))) => Err(cause),
            refreshed => Ok(refreshed.unwrap()),
        }
    };
    assert_eq!(refreshed(Some("another")), Err(TransportError::Status(403)));
    assert_eq!(refreshed(None), Err(TransportError::Status(401)));
    assert_eq!(refreshed(Some("")), Err(TransportError::Status(401)));
    assert_eq!(refreshed(Some("a\r\nb")), Err(TransportError::InvalidRequest));
    assert!(refreshed(Some(SECRET)).is_ok());
    assert_eq!(
        emulator.received().requests.back().unwrap().header("authorization"),
        Some(&*format!("Bearer {SECRET}"))
    );
    assert!(!format!("{core:?}").contains(SECRET));
}

/// One that panics fails the fetch, and nothing else.
#[test]
fn a_secret_that_panics_is_contained() {
    let emulator = serve();
    let core = unready(keyed_over(network(&emulator).auth_secret_with(|| panic!("planted"))));
    assert!(matches!(core.initialize(), Err(InitializeError::Load(LoadError::Fetch(_)))));
    assert_eq!(emulator.received().totals.requests, 0);
}

/// Each needs variables of its own, and so a process.
#[test]
fn the_environments_proxy_is_used_by_choice_alone() {
    let nobody = "http://127.0.0.1:1".to_owned();
    let variables = [("HTTPS_PROXY", nobody.clone())];
    child::finish(child::spawn("network::in_a_child", "not chosen", &variables), "not chosen");
    let variables = [("HTTPS_PROXY", nobody), ("NO_PROXY", "localhost".to_owned())];
    child::finish(child::spawn("network::in_a_child", "left out", &variables), "left out");

    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let variables = [("ALL_PROXY", proxy.local_addr().unwrap().to_string())];
    let asked = std::thread::spawn(move || tunnel(&proxy));
    child::finish(child::spawn("network::in_a_child", "chosen", &variables), "chosen");
    let asked = asked.join().unwrap();
    assert!(asked[0].starts_with("connect localhost:"), "{asked:?}");
}

#[test]
#[ignore = "runs in a process of its own"]
fn in_a_child() {
    let Some(case) = child::case() else { return };
    let emulator = serve();
    let network = network(&emulator);
    let network = if case == "not chosen" { network } else { network.proxy_from_env() };
    start(keyed_over(network));
    assert_eq!(emulator.received().totals.config_requests, 1, "{case}");
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
fn a_dripping_server_ends_at_the_request_timeout() {
    let emulator = serve();
    emulator.inject(Fault::config(FaultKind::SlowDrip { bytes: 1, interval_ms: 20 }));
    let core = unready(keyed_over(network(&emulator).total_timeout(Duration::from_millis(200))));
    let error = core.initialize().unwrap_err();
    let InitializeError::Load(LoadError::Fetch(cause)) = error else { panic!("{error:?}") };
    assert_eq!(cause.code(), "timeout");
}

#[test]
fn every_character_allowed_in_a_key_reaches_the_server() {
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
