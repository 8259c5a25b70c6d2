//! What a page in a browser needs of the two public routes.

use convert_relay::Secret;

use crate::support::{KEY, LONG, Running, exposure, settings, world};

/// The head of the answer to a request of a page.
fn head(relay: &Running, line: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\norigin: https://shop.example\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    );
    let answer = String::from_utf8(relay.raw(request.as_bytes())).unwrap();
    answer.split("\r\n\r\n").next().unwrap().to_lowercase()
}

const OPEN: &str = "access-control-allow-origin: *";

#[test]
fn a_page_may_ask_and_read_on_both_routes() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut closed = settings(&redis, &convert);
    (closed.client_secret, closed.client_secret_for_events) = (Some(Secret::new("mine")), true);
    let relay = Running::start(closed);
    let (config, track) = (format!("/api/v1/config/{KEY}"), format!("/v1/track/{KEY}"));
    for (path, method) in [(&config, "GET"), (&track, "POST")] {
        let asks = format!(
            "access-control-request-method: {method}\r\n\
             access-control-request-headers: authorization,content-type\r\n"
        );
        let may = head(&relay, &format!("OPTIONS {path}"), &asks, "");
        assert!(may.starts_with("http/1.1 204") && may.contains(OPEN), "without a secret: {may}");
        assert!(may.contains(&format!("access-control-allow-methods: {}", method.to_lowercase())), "{may}");
        for header in ["authorization", "content-type", "if-none-match", "convert-batch-id"] {
            let line = may.lines().find(|line| line.starts_with("access-control-allow-headers:")).unwrap();
            assert!(line.contains(header), "{line}");
        }
        let refused = head(&relay, &format!("{method} {path}"), "", "");
        assert!(refused.starts_with("http/1.1 401") && refused.contains(OPEN), "{refused}");
    }
    let secret = "authorization: Bearer mine\r\ncontent-type: application/json\r\n";
    let served = head(&relay, &format!("GET {config}"), secret, "");
    assert!(served.starts_with("http/1.1 200") && served.contains(OPEN), "{served}");
    assert!(served.contains("access-control-expose-headers: etag"), "{served}");
    let taken = head(&relay, &format!("POST {track}"), secret, &exposure("v"));
    assert!(taken.starts_with("http/1.1 200") && taken.contains(OPEN), "{taken}");
}

#[test]
fn a_beacon_is_taken_though_it_calls_its_json_text() {
    let Some((redis, convert)) = world(&[]) else { return };
    let relay = Running::start(settings(&redis, &convert));
    let post = |kind: &str, visitor: &str| {
        let kind = format!("content-type: {kind}\r\n");
        head(&relay, &format!("POST /v1/track/{KEY}"), &kind, &exposure(visitor))
    };
    let taken = post("text/plain;charset=UTF-8", "beacon");
    assert!(taken.starts_with("http/1.1 200"), "{taken}");
    let refused = post("application/x-www-form-urlencoded", "form");
    assert!(refused.starts_with("http/1.1 415"), "{refused}");
    let received = convert.wait_for_events(1, LONG).unwrap();
    assert_eq!((received.events[0].visitor_id.as_str(), received.totals.flawed), ("beacon", 0));
}

#[test]
fn pages_read_nothing_of_the_operators() {
    let Some((redis, convert)) = world(&[]) else { return };
    let mut relay = Running::start(settings(&redis, &convert));
    relay.url.clone_from(&relay.admin_url);
    for path in ["/status", "/metrics", "/readyz"] {
        for method in ["GET", "OPTIONS"] {
            let answer = head(&relay, &format!("{method} {path}"), "", "");
            assert!(!answer.contains("access-control"), "{answer}");
        }
    }
}
