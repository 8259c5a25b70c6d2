//! Local endpoints with one fault each.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use convert_sdk::config::TransportConfig;

use super::check::{Check, Finding};
use super::examine::{Settings, examine};

const CONFIG: &str = include_str!("../../../../tests/it/small.json");

/// Answers each request with what `answer` makes of its head, until the test ends.
fn serve(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            // A connection that is only a probe sends nothing.
            if !head.is_empty() {
                let _ = stream.write_all(answer(&head.join("\n").to_ascii_lowercase()).as_bytes());
            }
        }
    });
    url
}

fn response(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn checks(url: &str, unread_proxy: Option<&'static str>) -> Vec<Check> {
    checks_in(url, None, unread_proxy)
}

fn checks_in(url: &str, environment: Option<&str>, unread_proxy: Option<&'static str>) -> Vec<Check> {
    let network = TransportConfig::builder()
        .config_base_url(url)
        .track_base_url(url)
        .danger_allow_http_on_loopback(true)
        .build()
        .unwrap();
    let key = "hidden/key".to_owned();
    let settings =
        Settings { network: &network, key, environment: environment.map(str::to_owned), unread_proxy };
    let mut checks = Vec::new();
    examine(&settings, &mut checks);
    checks
}

fn find<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{checks:?}"))
}

#[test]
fn a_healthy_endpoint_has_no_finding() {
    let checks = checks(&serve(|_| response(200, "", CONFIG)), None);
    assert!(checks.iter().all(|check| check.result == Finding::Ok), "{checks:?}");
    let names: Vec<_> = checks.iter().map(|check| check.name).collect();
    assert_eq!(names, ["endpoint", "config", "tracking"]);
    assert!(find(&checks, "config").detail.ends_with("experiences 1, features 1, goals 1"));
}

#[test]
fn a_reference_to_nothing_is_a_warning() {
    let config = CONFIG.replace("\"audiences\": [\"4001\"]", "\"audiences\": [\"4999\"]");
    let checks = checks(&serve(move |_| response(200, "", &config)), None);
    let warning = checks.iter().find(|check| check.result == Finding::Warning).unwrap();
    assert_eq!(
        warning.detail,
        "experiences[0].audiences[0]: restricts nobody: no audience or segment has the id \"4999\""
    );
}

#[test]
fn an_environment_that_nobody_meant_is_a_warning() {
    let staged =
        CONFIG.replace("\"key\": \"checkout\",", "\"key\": \"checkout\", \"environment\": \"staging\",");
    let url = serve(move |head| {
        let is_other = head.contains("environment=") && !head.contains("environment=staging");
        let config = if is_other { staged.replace("\"staging\"", "null") } else { staged.clone() };
        response(200, "", &config)
    });
    for (set, detail) in [
        (None, "none is set, so the experiences of all are decided: staging"),
        (Some("stagin"), "no experience is for the environment `stagin`, but there are some for: staging"),
    ] {
        let checks = checks_in(&url, set, None);
        let found = find(&checks, "environment");
        assert_eq!((found.result, found.detail.as_str()), (Finding::Warning, detail));
    }
    for (url, set) in [(url, "staging"), (serve(|_| response(200, "", CONFIG)), "any name will do")] {
        let checks = checks_in(&url, Some(set), None);
        assert!(checks.iter().all(|check| check.result == Finding::Ok), "{set}: {checks:?}");
    }
}

#[test]
fn a_config_without_experiences_is_a_warning() {
    let empty = r#"{"account_id":"1","project":{"id":"2"},"experiences":[]}"#;
    let checks = checks(&serve(move |_| response(200, "", empty)), None);
    assert_eq!(find(&checks, "config").result, Finding::Warning);
}

#[test]
fn a_wrong_clock_is_measured_by_the_servers_date() {
    for (date, result) in [
        (SystemTime::now() - Duration::from_secs(3_600), Finding::Warning),
        (SystemTime::now() + Duration::from_secs(3_600), Finding::Warning),
        (SystemTime::now(), Finding::Ok),
    ] {
        let date = format!("date: {}\r\n", httpdate::fmt_http_date(date));
        let checks = checks(&serve(move |_| response(200, &date, CONFIG)), None);
        assert_eq!(find(&checks, "clock").result, result, "{checks:?}");
    }
}

#[test]
fn a_blocked_user_agent_is_told_from_a_bad_key() {
    let picky = serve(|head| match head.contains("user-agent: convertagent/1.0") {
        true => response(403, "", "blocked"),
        false => response(200, "", CONFIG),
    });
    assert_eq!(find(&checks(&picky, None), "user agent").result, Finding::Failed);
    let strict = serve(|_| response(403, "", "no"));
    assert!(find(&checks(&strict, None), "config").detail.starts_with("the SDK key was refused"));
}

#[test]
fn what_answers_in_converts_place_is_noticed() {
    let portal = checks(&serve(|_| response(200, "", "<html>Please log in</html>")), None);
    assert_eq!(find(&portal, "config").result, Finding::Failed);
    let redirect = checks(&serve(|_| response(302, "location: https://login.example/\r\n", "")), None);
    assert!(find(&redirect, "config").detail.contains("redirects"));
}

#[test]
fn a_proxy_variable_that_is_not_read_is_named() {
    let checks = checks(&serve(|_| response(200, "", CONFIG)), Some("HTTPS_PROXY"));
    assert!(find(&checks, "proxy").detail.starts_with("HTTPS_PROXY is set"));
}

#[test]
fn no_check_shows_the_key() {
    for status in [200, 401, 404, 500] {
        let checks = checks(&serve(move |head| response(status, "", head)), None);
        assert!(!format!("{checks:?}").contains("hidden"), "{checks:?}");
    }
}
