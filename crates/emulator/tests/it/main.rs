//! Integration tests over real sockets.
#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

use convert_emulator::*;
use std::time::Duration;

#[test]
fn smoke() {
    let emulator = Emulator::builder()
        .project(Project::demo().sdk_key("1/2"))
        .log_to(|l| eprintln!("{l}"))
        .start()
        .unwrap();
    let cert = ureq::tls::Certificate::from_pem(emulator.ca_pem().as_bytes()).unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::from([cert])).build())
        .build()
        .into();
    let url = format!("{}/api/v1/config/1/2", emulator.config_url());
    let mut r = agent.get(&url).call().unwrap();
    eprintln!("{}", r.body_mut().read_to_string().unwrap());
    for kind in [
        FaultKind::Reset,
        FaultKind::ResetBeforeBody,
        FaultKind::ResetMidBody,
        FaultKind::TruncatedBody,
        FaultKind::GarbageBody,
        FaultKind::EmptyBody,
        FaultKind::HugeBody { bytes: 100_000 },
        FaultKind::SlowDrip { bytes: 10, interval_ms: 1 },
        FaultKind::Redirect { to: "/x".into() },
        FaultKind::DropAfterRecording,
        FaultKind::too_many_requests(3),
    ] {
        emulator.inject(Fault::config(kind.clone()).times(1));
        for url in [
            url.clone(),
            url.replace("https://localhost", "http://127.0.0.1")
                .replace(&emulator.https_url()[17..], &emulator.http_url()[16..]),
        ] {
            let r = agent.get(&url).call();
            match r {
                Err(e) => eprintln!("{url} {kind:?} ERR {e:?}"),
                Ok(mut r) => {
                    eprintln!(
                        "{url} {kind:?} {:?} {:?}",
                        r.status(),
                        r.body_mut().read_to_string().map(|t| t.len())
                    );
                }
            }
        }
    }
    emulator.wait_for_requests(3, Duration::from_secs(1)).unwrap();
}
