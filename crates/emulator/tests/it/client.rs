//! A plain client that trusts one emulator, and the payloads it sends.

use std::time::Duration;

use convert_emulator::{Emulator, Project};
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// An SDK key with a slash that is not account and project id.
pub(crate) const KEY: &str = "demo/key";
/// Long enough that only a bug in the code under test exceeds it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const AGENT: &str = "ConvertAgent/1.0";

pub(crate) struct Client {
    agent: Agent,
}

/// A response that has been read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    head: Response<()>,
}

pub(crate) fn demo() -> Emulator {
    Emulator::builder().project(Project::demo().sdk_key(KEY)).start().unwrap()
}

/// Both base URLs of an emulator: what works over one must work over the other.
pub(crate) fn bases(emulator: &Emulator) -> [String; 2] {
    [emulator.https_url(), emulator.http_url()]
}

impl Client {
    pub(crate) fn of(emulator: &Emulator) -> Self {
        Self::trusting(&emulator.ca_pem())
    }

    pub(crate) fn trusting(pem: &str) -> Self {
        let roots = RootCerts::from([Certificate::from_pem(pem.as_bytes()).unwrap()]);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        Self { agent: config.build().into() }
    }

    pub(crate) fn get(&self, url: &str) -> Reply {
        self.get_with(url, &[])
    }

    pub(crate) fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Reply {
        let request =
            headers.iter().fold(self.agent.get(url), |request, (name, value)| request.header(*name, *value));
        Reply::read(request.call()).unwrap()
    }

    pub(crate) fn try_get(&self, url: &str) -> Result<Reply, ureq::Error> {
        Reply::read(self.agent.get(url).call())
    }

    pub(crate) fn options(&self, url: &str, headers: &[(&str, &str)]) -> Reply {
        let request = headers
            .iter()
            .fold(self.agent.options(url), |request, (name, value)| request.header(*name, *value));
        Reply::read(request.call()).unwrap()
    }

    pub(crate) fn delete(&self, url: &str) -> Reply {
        Reply::read(self.agent.delete(url).call()).unwrap()
    }

    pub(crate) fn post(&self, url: &str, body: &Value) -> Reply {
        self.try_post(url, body).unwrap()
    }

    pub(crate) fn try_post(&self, url: &str, body: &Value) -> Result<Reply, ureq::Error> {
        let headers = [("content-type", "application/json"), ("user-agent", AGENT)];
        self.try_post_with(url, &body.to_string(), &headers)
    }

    pub(crate) fn post_with(&self, url: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        self.try_post_with(url, body, headers).unwrap()
    }

    fn try_post_with(&self, url: &str, body: &str, headers: &[(&str, &str)]) -> Result<Reply, ureq::Error> {
        let request =
            headers.iter().fold(self.agent.post(url), |request, (name, value)| request.header(*name, *value));
        Reply::read(request.send(body))
    }
}

impl Reply {
    fn read(called: Result<Response<Body>, ureq::Error>) -> Result<Self, ureq::Error> {
        let (parts, mut body) = called?.into_parts();
        let bytes = body.with_config().limit(u64::MAX).read_to_vec()?;
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Self { status: parts.status.as_u16(), body, head: Response::from_parts(parts, ()) })
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The keys of the experiences in a config.
    pub(crate) fn experience_keys(&self) -> Vec<String> {
        let config = self.json();
        let experiences = config["experiences"].as_array().unwrap();
        experiences.iter().map(|experience| experience["key"].as_str().unwrap().to_owned()).collect()
    }
}

/// A payload of the demo project for these visitors.
pub(crate) fn envelope(visitors: Value) -> Value {
    json!({
        "accountId": "10035569", "projectId": "10034190", "enrichData": false, "source": "test",
        "visitors": visitors,
    })
}

pub(crate) fn bucketing() -> Value {
    json!({ "eventType": "bucketing", "data": { "experienceId": "100320101", "variationId": "100330102" } })
}

pub(crate) fn conversion() -> Value {
    json!({
        "eventType": "conversion",
        "data": {
            "goalId": "100370101",
            "goalData": [{ "key": "amount", "value": 10.3 }, { "key": "transactionId", "value": "t-1" }],
            "bucketingData": { "100320101": "100330102" },
        },
    })
}

/// A payload with one bucketing event of one visitor.
pub(crate) fn one_event(visitor: &str) -> Value {
    envelope(json!([{ "visitorId": visitor, "events": [bucketing()] }]))
}
