//! The reqwest client behaves like the built-in one, fault by fault.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind, Project, RouteKind, ServerCertificate};
use convert_sdk::config::{TransportConfig, TransportConfigBuilder};
use convert_sdk::error::LoadError;
use convert_sdk::ports::TransportError;
use convert_sdk::{Core, FlushError, InitializeError, SdkConfig, SdkConfigBuilder};
use convert_sdk_reqwest::ReqwestTransport;
use futures_executor::block_on;
use tokio::runtime::{Builder, Runtime};

use crate::raw::{badly_packed, over_loopback, serve_nothing, serve_raw, tunnel};
use crate::support::{KEY, ONCE, PATIENCE, convert, direct, network, serve, serve_project, shop};

const SECRET: &str = "bearer-secret-of-7";

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A core over reqwest.
fn adapted(runtime: &Runtime, config: SdkConfigBuilder, network: TransportConfigBuilder) -> Core {
    let network = network.build().unwrap();
    let transport = ReqwestTransport::new(network.clone(), runtime.handle().clone()).unwrap();
    let config = config.transport(network).build().unwrap();
    Core::builder(config).async_transport(transport).build().unwrap()
}

fn built_in(config: SdkConfigBuilder, network: TransportConfigBuilder) -> Core {
    Core::new(config.transport(network.build().unwrap()).build().unwrap())
}

fn keyed() -> SdkConfigBuilder {
    SdkConfig::builder().sdk_key(KEY)
}

/// How a fetch failed.
fn fetch_error(core: &Core) -> String {
    match core.initialize().unwrap_err() {
        // How much of a response was read when the connection broke is up to the client.
        InitializeError::Load(LoadError::Fetch(cause)) => format!("{} {:?}", cause.code(), cause.status()),
        error => format!("{error:?}"),
    }
}

/// How a delivery ended, and how many records are left.
fn delivery(core: &Core) -> (Option<&'static str>, u64, u64) {
    core.initialize().unwrap();
    convert(core, 0..2);
    let stats = match core.flush_with(ONCE) {
        Ok(report) => report.stats,
        Err(error) => error.stats().clone(),
    };
    (stats.last_error.map(|error| error.cause.code()), stats.delivered, stats.pending)
}

fn faults() -> Vec<FaultKind> {
    vec![
        FaultKind::status(503),
        FaultKind::status(404),
        FaultKind::too_many_requests(1),
        FaultKind::Redirect { to: "https://elsewhere.example/".to_owned() },
        FaultKind::Reset,
        FaultKind::ResetBeforeBody,
        FaultKind::ResetMidBody,
        FaultKind::TruncatedBody,
        FaultKind::GarbageBody,
        FaultKind::EmptyBody,
        FaultKind::HugeBody { bytes: 100_000 },
        FaultKind::Hang,
        FaultKind::SlowDrip { bytes: 1, interval_ms: 100 },
    ]
}

/// Waiting for a hanging or dripping server is futile; nothing else here may fail for being slow.
fn impatient_of_hangs(network: TransportConfigBuilder, fault: &FaultKind) -> TransportConfigBuilder {
    let hangs = matches!(fault, FaultKind::Hang | FaultKind::SlowDrip { .. });
    if hangs { network.total_timeout(Duration::from_millis(300)) } else { network }
}

#[test]
fn a_fetch_fails_as_with_the_built_in_client() {
    let (emulator, runtime) = (serve(), runtime());
    let network = || network(&emulator).max_response_bytes(50_000);
    for fault in faults() {
        emulator.inject(Fault::config(fault.clone()));
        let network = || impatient_of_hangs(network(), &fault);
        let expected = fetch_error(&built_in(keyed(), network()));
        let actual = fetch_error(&adapted(&runtime, keyed(), network()));
        assert_eq!(actual, expected, "{fault:?}");
        emulator.clear_faults();
    }
    for certificate in
        [ServerCertificate::OtherAuthority, ServerCertificate::Expired, ServerCertificate::WrongHost]
    {
        emulator.use_certificate(certificate).unwrap();
        assert_eq!(fetch_error(&adapted(&runtime, keyed(), network())), "tls None", "{certificate:?}");
    }
    emulator.go_offline();
    let actual = fetch_error(&adapted(&runtime, keyed(), network()));
    assert_eq!(actual, fetch_error(&built_in(keyed(), network())));
    let nobody = || TransportConfig::builder().config_base_url("https://nobody.invalid");
    assert_eq!(fetch_error(&adapted(&runtime, keyed(), nobody())), "connect None");
    for (how, answer, code) in badly_packed(&shop().to_string()) {
        let core = adapted(&runtime, keyed(), over_loopback(&serve_raw(answer)));
        assert_eq!(fetch_error(&core), format!("{code} None"), "{how}");
    }
}

#[test]
fn a_body_that_decompresses_to_nothing_is_not_read_for_ever() {
    let ((url, server), runtime) = (serve_nothing(), runtime());
    assert_eq!(fetch_error(&adapted(&runtime, keyed(), over_loopback(&url))), "too_large None");
    assert!(server.join().unwrap(), "the client hung up while the server was sending");
}

#[test]
fn a_delivery_fails_as_with_the_built_in_client() {
    let (emulator, runtime) = (serve(), runtime());
    for fault in faults() {
        emulator.inject(Fault::track(fault.clone()));
        // A delivery that drips has succeeded by its status.
        let network = || match fault {
            FaultKind::Hang => impatient_of_hangs(network(&emulator), &fault),
            _ => network(&emulator),
        };
        let expected = delivery(&built_in(direct(), network()));
        let actual = delivery(&adapted(&runtime, direct(), network()));
        assert_eq!(actual, expected, "{fault:?}");
        emulator.clear_faults();
    }
}

#[test]
fn a_status_counts_even_if_the_body_never_ends() {
    let (emulator, runtime) = (serve(), runtime());
    emulator.inject(Fault::track(FaultKind::SlowDrip { bytes: 1, interval_ms: 3_600_000 }));
    let core = adapted(&runtime, direct(), network(&emulator).total_timeout(Duration::from_secs(3_600)));
    core.initialize().unwrap();
    // More than the number of bodies drained at the same time.
    for visitor in 0..20 {
        convert(&core, visitor..visitor + 1);
        core.flush(PATIENCE).unwrap();
    }
    assert_eq!((core.stats().delivered, core.stats().requests), (20, 20));
    assert_eq!(emulator.received().totals.events, 20);
}

#[test]
fn requests_equal_those_of_the_built_in_client() {
    let runtime = runtime();
    let requests = |core: &dyn Fn(SdkConfigBuilder, TransportConfigBuilder) -> Core| {
        let emulator = serve_project(Project::from_json(shop()).secret(SECRET));
        let network = network(&emulator).auth_secret(SECRET).header("x-own", "7");
        let core = core(keyed().environment("staging").debug_token("token of 7"), network);
        core.initialize().unwrap();
        core.refresh_now_within(PATIENCE).unwrap();
        core.create_context("v", ()).unwrap().set_preview("9", "91").unwrap();
        convert(&core, 0..1);
        core.flush(PATIENCE).unwrap();
        let received = emulator.received();
        let headers = [
            "accept",
            "accept-encoding",
            "authorization",
            "content-type",
            "if-none-match",
            "user-agent",
            "x-own",
        ];
        let seen = |it: &convert_emulator::ReceivedRequest| {
            let named = headers.map(|name| it.header(name).map(str::to_owned));
            (it.method.clone(), it.path.clone(), it.query.clone(), named)
        };
        received.requests.iter().map(seen).collect::<Vec<_>>()
    };
    let expected = requests(&built_in);
    let actual = requests(&|config, network| adapted(&runtime, config, network));
    assert_eq!(expected.len(), 4);
    for (actual, expected) in actual.iter().zip(&expected) {
        assert_eq!(actual, expected);
    }
    assert_eq!(actual.len(), 4);
}

#[test]
fn a_redirect_takes_nothing_to_another_host() {
    let (emulator, other, runtime) = (serve(), serve(), runtime());
    let to = format!("{}/api/v1/config/{KEY}", other.https_url());
    emulator.inject(Fault::both(FaultKind::Redirect { to }));
    let network = network(&emulator).root_certificate_pem(other.ca_pem());
    let error = adapted(&runtime, keyed(), network).initialize().unwrap_err();
    assert_eq!(error, InitializeError::Load(LoadError::Fetch(TransportError::Status(307))));
    assert_eq!(other.received().totals.requests, 0);
}

#[test]
fn ids_made_of_dots_do_not_change_a_requests_path() {
    let (emulator, runtime) = (serve(), runtime());
    let mut config = shop();
    config["project"]["id"] = "..".into();
    let core = adapted(&runtime, SdkConfig::builder().data(&config), network(&emulator));
    core.initialize().unwrap();
    convert(&core, 0..1);
    let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("it is refused") };
    assert_eq!(report.stats.dropped.rejected.total(), 1);
    assert_eq!(emulator.received().totals.requests, 0);
}

#[test]
fn both_clients_go_through_the_configured_proxy() {
    let (emulator, runtime) = (serve(), runtime());
    let adapted = |config, network| adapted(&runtime, config, network);
    let clients: [&dyn Fn(SdkConfigBuilder, TransportConfigBuilder) -> Core; 2] = [&built_in, &adapted];
    for client in clients {
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = proxy.local_addr().unwrap();
        let asked = std::thread::spawn(move || tunnel(&proxy));
        let core = client(keyed(), network(&emulator).proxy(format!("http://user:word@{address}")));
        core.initialize().unwrap();
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("connect "), "{asked:?}");
        // `user:word`
        assert!(asked.contains(&"proxy-authorization: basic dxnlcjp3b3jk".to_owned()), "{asked:?}");
    }
    assert_eq!(emulator.received().totals.config_requests, 2);
}

#[test]
fn both_clients_send_a_secret_that_changes() {
    let (emulator, runtime) = (serve_project(Project::from_json(shop()).secret(SECRET)), runtime());
    let adapted = |config, network| adapted(&runtime, config, network);
    let clients: [&dyn Fn(SdkConfigBuilder, TransportConfigBuilder) -> Core; 2] = [&built_in, &adapted];
    for client in clients {
        let told = Arc::new(Mutex::new("a\r\nb".to_owned()));
        let now = Arc::clone(&told);
        let network = network(&emulator).auth_secret_with(move || Some(now.lock().unwrap().clone()));
        let core = client(keyed(), network);
        let refused = InitializeError::Load(LoadError::Fetch(TransportError::InvalidRequest));
        assert_eq!(core.initialize(), Err(refused));
        SECRET.clone_into(&mut told.lock().unwrap());
        core.initialize().unwrap();
    }
    assert_eq!(emulator.received().totals.config_requests, 2);
}

fn on_loopback(emulator: &Emulator) -> TransportConfigBuilder {
    TransportConfig::builder()
        .danger_allow_http_on_loopback(true)
        .config_base_url(emulator.http_url())
        .track_base_url(emulator.http_url())
}

#[test]
fn a_single_threaded_runtime_delivers_while_it_flushes() {
    let emulator = serve();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let core = adapted(&runtime, keyed(), on_loopback(&emulator)).to_async();
    runtime.block_on(async {
        core.initialize().await.unwrap();
        convert(&core.to_sync(), 0..5);
        assert_eq!(core.shutdown(PATIENCE).await.unwrap().delivered, 5);
    });
    assert_eq!(emulator.received().totals.events, 5);
    assert!(emulator.received().requests_on(RouteKind::Track).all(|request| !request.https));
}

#[test]
fn without_its_runtime_a_request_fails_but_records_are_kept() {
    let (emulator, runtime) = (serve(), runtime());
    let core = adapted(&runtime, keyed(), network(&emulator));
    core.initialize().unwrap();
    convert(&core, 0..2);
    runtime.shutdown_background();
    let Err(FlushError::Incomplete(report)) = block_on(core.to_async().flush_with(ONCE)) else {
        panic!("there is no runtime")
    };
    assert_eq!((report.pending, report.stats.last_error.unwrap().cause.code()), (2, "other"));
    assert_eq!(report.stats.fate_unknown, 0, "no task was run");
}
