//! Servers that respond as no HTTP library would. `crates/reqwest` tests its client with them too.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use convert_sdk::config::{TransportConfig, TransportConfigBuilder};
use flate2::Compression;
use flate2::write::GzEncoder;

/// Sends the same raw response to every request.
pub(crate) fn serve_raw(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.extend(byte);
            }
            // The client may have seen enough.
            let _ = stream.write_all(&answer);
        }
    });
    url
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// A config compressed in each of these invalid ways, and how fetching it must fail.
pub(crate) fn badly_packed(config: &str) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let answer = |coding: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let packed = gzip(config.as_bytes());
    let mut wrong_sum = packed.clone();
    let sum = wrong_sum.len() - 8;
    wrong_sum[sum] ^= 1;
    let bomb = gzip(&vec![b' '; 4 << 20]);
    vec![
        ("twice, said once", answer("gzip", &gzip(&packed)), "not_text"),
        ("twice, said twice", answer("gzip, gzip", &gzip(&packed)), "not_text"),
        ("a bomb in a bomb", answer("gzip", &gzip(&bomb)), "not_text"),
        ("cut", answer("gzip", &packed[..packed.len() / 2]), "broken"),
        ("without its end", answer("gzip", &packed[..packed.len() - 8]), "broken"),
        ("with a wrong sum", answer("gzip", &wrong_sum), "protocol"),
        ("not at all", answer("gzip", config.as_bytes()), "protocol"),
        ("a bomb behind a member", answer("gzip", &[packed, bomb].concat()), "too_large"),
    ]
}

pub(crate) fn over_loopback(url: &str) -> TransportConfigBuilder {
    let network = TransportConfig::builder().danger_allow_http_on_loopback(true);
    network.config_base_url(url).track_base_url(url).max_response_bytes(1 << 20)
}

/// Answers one request with an endless gzip body that decompresses to nothing; returns whether the client hung up
/// during it.
pub(crate) fn serve_nothing() -> (String, JoinHandle<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n").unwrap();
        stream.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]).unwrap();
        // Stored blocks of zero bytes.
        let empty = [0, 0, 0, 0xff, 0xff].repeat(10_000);
        (0_u64..).take_while(|_| stream.write_all(&empty).is_ok()).count() > 0
    });
    (url, server)
}

/// A proxy: forwards one connection, and returns the request lines it was sent.
pub(crate) fn tunnel(proxy: &TcpListener) -> Vec<String> {
    let (mut client, _) = proxy.accept().unwrap();
    let lines = BufReader::new(client.try_clone().unwrap()).lines().map(Result::unwrap);
    let asked: Vec<_> = lines.take_while(|line| !line.is_empty()).map(|line| line.to_lowercase()).collect();
    let target = asked[0].split(' ').nth(1).unwrap();
    let mut server = TcpStream::connect(target).unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut client, &mut server));
    std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
    asked
}
