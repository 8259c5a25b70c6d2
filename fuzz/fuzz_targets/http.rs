//! Arbitrary bytes as a server's response, through the built-in transport and a real socket.
#![no_main]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use convert_fuzz::SHOP;
use convert_sdk::{
    Core, SdkConfig,
    config::{RefreshOutcome, TransportConfig},
    delivery::FlushOptions,
};
use libfuzzer_sys::fuzz_target;

/// Long enough that only a hang exceeds it: the server closes every connection after its response.
const PATIENCE: Duration = Duration::from_secs(20);
const ONCE: FlushOptions = FlushOptions::within(PATIENCE).single_attempt(true);
/// Small, so that a compressed body can exceed it.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;

/// The server's response.
static ANSWER: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The server, on a thread that lives as long as the process.
static ADDRESS: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that is gone needs no response.
            let _ = stream.and_then(serve);
        }
    });
    address
});

fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    while !is_whole(&request) {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&piece[..read]);
    }
    let answer = ANSWER.lock().unwrap().clone();
    stream.write_all(&answer)
}

/// Whether the head and the announced body of a request are complete: closing earlier would reset the response.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}

fn answer_with(bytes: &[u8]) {
    *ANSWER.lock().unwrap() = bytes.to_vec();
}

fuzz_target!(|data: &[u8]| {
    let address = *ADDRESS;
    let network = TransportConfig::builder()
        .config_base_url(format!("http://{address}"))
        .track_base_url(format!("http://{address}/v1"))
        .danger_allow_http_on_loopback(true)
        .total_timeout(PATIENCE)
        .max_response_bytes(MAX_RESPONSE_BYTES);
    let network = network.build().expect("valid network options");
    let config = SdkConfig::builder().sdk_key("10035569/10034190").transport(network);
    let core = Core::new(config.build().expect("valid options"));

    let head = "HTTP/1.1 200 OK\r\netag: \"1\"\r\nconnection: close\r\n";
    answer_with(format!("{head}content-length: {}\r\n\r\n{SHOP}", SHOP.len()).as_bytes());
    core.initialize_within(PATIENCE).expect("a good config");
    let before = core.current_config().expect("a config in place");

    answer_with(data);
    let outcome = core.refresh_now_within(PATIENCE);
    let after = core.current_config().expect("a config in place");
    if matches!(outcome, Ok(RefreshOutcome::Updated(_))) {
        assert_eq!((after.account_id(), after.project_id()), (before.account_id(), before.project_id()));
    } else {
        assert!(Arc::ptr_eq(&before, &after), "a bad answer replaced the config");
    }

    let visitor = core.create_context("visitor-1", ()).expect("the core is ready");
    if visitor.track_conversion("purchase").tracked() && core.flush_with(ONCE).is_ok() {
        assert!(data.windows(2).any(|pair| pair == b" 2"), "delivered, and no status of 2xx");
    }
    let stats = core.close();
    assert!(stats.is_balanced() && stats.pending == 0, "{stats:?}");
    // One of the flush, and a few more if the random delays after it are short.
    assert!(stats.requests < 10, "the endpoint is flooded with requests: {stats:?}");
});
