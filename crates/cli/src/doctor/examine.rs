//! The checks; each builds on the results of the previous ones.

use std::collections::BTreeSet;
use std::env;
use std::time::{Duration, SystemTime};

use convert_evaluation::config::{CompileOptions, EntityCounts, compile};
use convert_sdk::config::TransportConfig;
use convert_sdk::http::{config_request, delivery_request};
use convert_sdk::ports::{ConfigRequest, EventBatch};
use serde_json::Value;
use ureq::http::Uri;

use super::check::Check;
use super::probe::{Answer, Failed, connects, fetch, look_up};
use crate::chart::{NAME as NAME_LENGTH, short};

/// The smallest clock difference worth a warning: dates are in whole seconds, and a response takes a moment.
const SKEW: Duration = Duration::from_secs(30);

/// Proxy variables that other programs read.
const OTHER_PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The settings from the environment.
pub(super) struct Settings<'a> {
    pub(super) network: &'a TransportConfig,
    pub(super) key: String,
    pub(super) environment: Option<String>,
    /// A proxy variable that is set but not read.
    pub(super) unread_proxy: Option<&'static str>,
}

impl<'a> Settings<'a> {
    pub(super) fn of(network: &'a TransportConfig) -> Self {
        let is_set = |name: &&str| env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            network,
            key: env::var("CONVERT_SDK_KEY").unwrap_or_default(),
            environment: env::var("CONVERT_ENVIRONMENT").ok().filter(|name| !name.is_empty()),
            unread_proxy: OTHER_PROXIES.into_iter().find(is_set),
        }
    }

    /// The settings in one line, without the key and the proxy's password.
    pub(super) fn summary(&self) -> String {
        let environment = self
            .environment
            .as_deref()
            .map_or("all environments".to_owned(), |name| format!("environment {name}"));
        let authorities = match self.network.root_certificates().count() {
            0 => "the built-in certificate authorities".to_owned(),
            1 => "one certificate authority beside the built-in ones".to_owned(),
            more => format!("{more} certificate authorities beside the built-in ones"),
        };
        let proxy = if self.network.proxy_url().is_some() { "a proxy" } else { "no proxy" };
        format!("an SDK key, {environment}, {authorities}, {proxy}")
    }

    fn request(&self) -> ConfigRequest<'_> {
        let mut request = ConfigRequest::new(&self.key, self.network.total_timeout());
        request.environment = self.environment.as_deref();
        request
    }
}

/// Checks everything that can be checked without sending an event.
pub(super) fn examine(settings: &Settings<'_>, checks: &mut Vec<Check>) {
    let network = settings.network;
    if let Some(proxy) = network.proxy_url() {
        if !reach("proxy", proxy, network, "Check CONVERT_PROXY.", checks) {
            return;
        }
    } else if let Some(name) = settings.unread_proxy {
        let detail = format!("{name} is set, but the SDK does not use it unless told to");
        checks.push(Check::warning(
            "proxy",
            detail,
            "Set CONVERT_PROXY, or call `proxy_from_env`, if this machine needs a proxy.",
        ));
    }
    let url = config_request(network, &settings.request(), None).url().to_owned();
    // A proxy resolves the name itself.
    let is_direct = network.proxy_url().is_none();
    let advice = "Is CONVERT_CONFIG_ENDPOINT right, and does a firewall let this machine out?";
    if is_direct && !reach("endpoint", &url, network, advice, checks) {
        return;
    }
    match fetch(network, &settings.request(), true) {
        Ok(answer) => {
            let project = answered(settings, &answer, checks);
            if let Some(date) = answer.date {
                checks.push(clock(date, SystemTime::now()));
            }
            if let Some((account, project)) = project
                && is_direct
            {
                tracking(network, &account, &project, checks);
            }
        }
        Err(failed) => checks.push(unanswered(settings, failed)),
    }
}

/// Whether a host resolves and accepts a connection.
fn reach(
    name: &'static str,
    url: &str,
    network: &TransportConfig,
    advice: &str,
    checks: &mut Vec<Check>,
) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return true };
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    let check = match look_up(host, port) {
        None => Check::failed(name, format!("the name {host} does not resolve"), advice),
        Some(addresses) if connects(&addresses, network.connect_timeout()) => {
            Check::ok(name, format!("{host}:{port} accepts connections"))
        }
        Some(_) => Check::failed(name, format!("{host}:{port} accepts no connection"), advice),
    };
    checks.push(check);
    checks.last().is_some_and(|check| check.advice.is_none())
}

/// Judges the status and the body; returns the account and the project of a config.
fn answered(settings: &Settings<'_>, answer: &Answer, checks: &mut Vec<Check>) -> Option<(String, String)> {
    let refused = |detail: &str, advice: &str| {
        Check::failed("config", format!("{detail} (status {})", answer.status), advice)
    };
    let Some(body) = &answer.body else {
        checks.push(if let Some(blocked) = blocked(settings) {
            blocked
        } else {
            match answer.status {
                401 => refused("the SDK key needs a secret", "Give it to the program with `TransportConfigBuilder::auth_secret`; this command takes none."),
                403 => refused("the SDK key was refused", "Is the key of this project still active?"),
                404 => refused(
                    "the SDK key was not found",
                    "Compare CONVERT_SDK_KEY with the project's settings.",
                ),
                407 => refused("the proxy asks for a user", "Put user:password@ into CONVERT_PROXY."),
                410 => {
                    refused("the SDK key is no longer valid", "Take a new key from the project's settings.")
                }
                300..=399 => {
                    refused("the endpoint redirects", "The SDK follows no redirect; set the final URL.")
                }
                500.. => refused("the endpoint fails", "Try again later; the SDK keeps its last config."),
                _ => refused("the endpoint refuses the request", "Is CONVERT_CONFIG_ENDPOINT right?"),
            }
        });
        return None;
    };
    match compile(body.clone(), &CompileOptions::default()) {
        Err(error) => {
            let advice = "Something between here and Convert may answer in its place.";
            checks.push(Check::failed("config", error.to_string(), advice));
            None
        }
        Ok(compiled) => {
            let EntityCounts { experiences, features, goals, .. } = compiled.snapshot.counts();
            let detail = format!(
                "{} bytes: experiences {experiences}, features {features}, goals {goals}",
                body.len()
            );
            checks.push(if experiences == 0 {
                let advice = "Nobody is in an experience: is one active in this project and environment?";
                Check::warning("config", detail, advice)
            } else {
                Check::ok("config", detail)
            });
            checks.extend(environment(settings, body));
            let mut flaws: Vec<String> = compiled.warnings.iter().map(ToString::to_string).collect();
            if compiled.more_warnings > 0 {
                flaws.push(format!("{} more warnings", compiled.more_warnings));
            }
            let advice = "Fix it in the Convert project. The rest of the config is used.";
            checks.extend(flaws.into_iter().map(|flaw| Check::warning("config", flaw, advice)));
            let ids = [compiled.snapshot.account_id(), compiled.snapshot.project_id()];
            let [account, project] = ids.map(str::to_owned);
            Some((account, project))
        }
    }
}

/// Whether the environment that is set, or that none is, is what was meant.
fn environment(settings: &Settings<'_>, served: &str) -> Option<Check> {
    const NAME: &str = "environment";
    let Some(set) = settings.environment.as_deref() else {
        let names = listed(&environments(served))?;
        let detail = format!("none is set, so the experiences of all are decided: {names}");
        return Some(Check::warning(NAME, detail, "Set CONVERT_ENVIRONMENT, unless that is meant."));
    };
    if environments(served).contains(set) {
        return None;
    }
    // The others are left out of what is served. Where no experience has one, any name will do.
    let whole = ConfigRequest::new(&settings.key, settings.network.total_timeout());
    let whole = environments(&fetch(settings.network, &whole, true).ok()?.body?);
    let names = listed(&whole).filter(|_| !whole.contains(set))?;
    let detail = format!("no experience is for the environment `{set}`, but there are some for: {names}");
    let advice = "A wrong name is no error: is CONVERT_ENVIRONMENT spelled as in Convert, case and all?";
    Some(Check::warning(NAME, detail, advice))
}

/// The environments that experiences of a config are for.
fn environments(config: &str) -> BTreeSet<String> {
    let config: Value = serde_json::from_str(config.trim_start_matches('\u{feff}')).unwrap_or_default();
    let experiences = config["experiences"].as_array().into_iter().flatten();
    let named = experiences.filter_map(|experience| experience["environment"].as_str());
    named.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The first few names; `None` if there are none.
fn listed(names: &BTreeSet<String>) -> Option<String> {
    let shown: Vec<_> = names.iter().take(5).map(|name| short(name, NAME_LENGTH)).collect();
    let more = if names.len() > shown.len() { ", \u{2026}" } else { "" };
    (!shown.is_empty()).then(|| shown.join(", ") + more)
}

/// Whether the config can be fetched with another user agent.
fn blocked(settings: &Settings<'_>) -> Option<Check> {
    let answer = fetch(settings.network, &settings.request(), false).ok()?;
    let advice = "Have the firewall or the proxy in between allow ConvertAgent/1.0.";
    let detail = "the SDK's user agent is blocked: the same request with another one gets the config";
    answer.body.map(|_| Check::failed("user agent", detail, advice))
}

fn unanswered(settings: &Settings<'_>, failed: Failed) -> Check {
    match failed {
        Failed::Name => {
            Check::failed("endpoint", "the name does not resolve", "Is CONVERT_CONFIG_ENDPOINT right?")
        }
        Failed::Connect => {
            Check::failed("endpoint", "it accepts no connection", "Does a firewall let this machine out?")
        }
        Failed::Proxy(reason) => {
            let advice = "Does the proxy let this machine out, and does it ask for user:password@?";
            Check::failed("proxy", format!("it does not connect to the endpoint: {reason}"), advice)
        }
        Failed::Certificate(reason) => Check::failed("certificate", reason.as_str(), authority(&reason)),
        Failed::Timeout => {
            let detail = format!("no answer within {} s", settings.network.total_timeout().as_secs());
            Check::failed("config", detail, "Does a firewall let answers in?")
        }
        Failed::Broken => blocked(settings).unwrap_or_else(|| {
            Check::failed("config", "the connection broke", "Does something in between cut it?")
        }),
        Failed::Unusable(what) => Check::failed("config", format!("unusable: {what}"), "Who answers there?"),
    }
}

/// What to do about a certificate.
fn authority(reason: &str) -> String {
    let reason = reason.to_ascii_lowercase();
    let has = |text: &str| reason.contains(text);
    if has("expired") || has("not valid yet") {
        let now = httpdate::fmt_http_date(SystemTime::now());
        format!("It has expired or is not valid yet, or this machine's clock is wrong: it says {now}.")
    } else if has("unknownissuer") || has("badsignature") {
        "Its authority is not trusted. If a proxy inspects TLS, name its authority's PEM file in CONVERT_CA_FILE."
            .to_owned()
    } else if has("name") {
        "It belongs to another host. Is CONVERT_CONFIG_ENDPOINT right?".to_owned()
    } else {
        "Does something in between speak TLS in the endpoint's place?".to_owned()
    }
}

/// The difference between this machine's clock and the server's.
fn clock(server: SystemTime, here: SystemTime) -> Check {
    let (skew, side) = match here.duration_since(server) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    let detail = match skew.as_secs() {
        0 => "the same as the server's".to_owned(),
        seconds => format!("{seconds} s {side} the server's"),
    };
    if skew <= SKEW {
        return Check::ok("clock", detail);
    }
    Check::warning("clock", detail, "Synchronize it (NTP): certificates look expired or not valid yet.")
}

/// Whether events would get through, without sending any.
fn tracking(network: &TransportConfig, account: &str, project: &str, checks: &mut Vec<Check>) {
    let route = format!("{account}/{project}");
    let batch = EventBatch::new(&route, project, 0, b"", network.total_timeout());
    if let Ok(request) = delivery_request(network, &batch) {
        let advice = "Is CONVERT_TRACK_ENDPOINT right, and does a firewall let this machine out?";
        reach("tracking", request.url(), network, advice, checks);
    }
}
