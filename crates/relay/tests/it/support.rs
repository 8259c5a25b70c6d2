//! Relays, Convert and clients for tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use convert_emulator::{Emulator, Project};
use convert_relay::{KeySettings, Relay, Secret, Settings};
use convert_sdk::config::TransportConfigBuilder;
use convert_sdk::{Context, Core, SdkConfig};
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::server::Redis;

/// Longer than anything takes; only failures wait this long.
pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const KEY: &str = Project::DEMO_SDK_KEY;

/// A relay on its own thread; stopped gracefully on drop.
pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) admin_url: String,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(settings: Settings) -> Self {
        let (told, tells) = channel();
        let (stop, stops) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let relay = Relay::start(settings).await.unwrap();
                told.send((relay.address(), relay.admin_address())).unwrap();
                let _ = tokio::task::spawn_blocking(move || stops.recv()).await;
                relay.stop().await;
            });
        });
        let (address, admin) = tells.recv().unwrap();
        let urls = (format!("http://{address}"), format!("http://{admin}"));
        Self { url: urls.0, admin_url: urls.1, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        answer(client().get(format!("{}{path}", self.url)).call().unwrap())
    }

    pub(crate) fn admin(&self, path: &str) -> Answer {
        answer(client().get(format!("{}{path}", self.admin_url)).call().unwrap())
    }

    pub(crate) fn post(&self, body: &str) -> Answer {
        self.post_as(body, &[])
    }

    pub(crate) fn post_as(&self, body: &str, headers: &[(&str, &str)]) -> Answer {
        self.post_to(KEY, body, headers)
    }

    pub(crate) fn post_to(&self, key: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = client()
            .post(format!("{}/v1/track/{key}", self.url))
            .header("content-type", "application/json")
            .header("user-agent", "ConvertAgent/1.0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send(body).unwrap())
    }

    /// The response to a raw request, up to the end of the connection.
    pub(crate) fn raw(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// The value of a metric, for the single key.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.metric_if_known(name).unwrap_or_else(|| panic!("{name}"))
    }

    pub(crate) fn metric_if_known(&self, name: &str) -> Option<u64> {
        let text = self.admin("/metrics").body;
        let line = text.lines().find(|line| line.starts_with(&format!("convert_relay_{name}{{")));
        Some(line?.rsplit(' ').next().unwrap().parse().unwrap())
    }

    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.is_ok());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// The SDK with these URLs, and a visitor of whom it has recorded an exposure.
pub(crate) fn shopping(network: TransportConfigBuilder) -> (Core, Context) {
    let config = SdkConfig::builder().sdk_key(KEY).transport(network.build().unwrap());
    let core = Core::new(config.build().unwrap());
    core.initialize().unwrap();
    let context = core.create_context("sdk-visitor", ()).unwrap();
    context.run_experience("homepage-headline").unwrap();
    (core, context)
}

/// The program, to be killed.
pub(crate) struct Program {
    pub(crate) process: Child,
    pub(crate) lines: BufReader<ChildStderr>,
    pub(crate) first_line: String,
    pub(crate) url: String,
}

impl Program {
    /// A relay with these settings in its file, after `[[keys]]` in the environment.
    pub(crate) fn start(redis: &Redis, convert: &Emulator, settings: &str) -> Self {
        let port = free_port();
        let file = redis.folder.join(format!("relay-{port}.toml"));
        let text = format!(
            "listen = '127.0.0.1:{port}'\nadmin_listen = '127.0.0.1:0'\nhttp_on_loopback = true\n\
             config_base_url = '{0}'\ntrack_base_url = '{0}/v1'\n{settings}\n",
            convert.http_url()
        );
        std::fs::write(&file, text).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_convert-relay"))
            .args(["--file".as_ref(), file.as_os_str()])
            .env("CONVERT_RELAY_REDIS", redis.url())
            .env("CONVERT_RELAY_KEYS", KEY)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut first_line = String::new();
        // Another line may come before it.
        while !first_line.contains("operators at ") {
            first_line.clear();
            assert_ne!(lines.read_line(&mut first_line).unwrap(), 0, "the program has ended");
        }
        Self { process, lines, first_line, url: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: String,
}

pub(crate) fn answer(mut response: Response<Body>) -> Answer {
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (etag, retry_after) = (header("etag"), header("retry-after"));
    Answer {
        status: response.status().as_u16(),
        etag,
        retry_after,
        body: response.body_mut().read_to_string().unwrap(),
    }
}

pub(crate) fn client() -> Agent {
    Agent::config_builder().http_status_as_error(false).timeout_global(Some(LONG)).build().into()
}

/// Serves its project under the key whatever its id becomes.
pub(crate) fn convert() -> Emulator {
    Emulator::builder().project(Project::demo().sdk_key(KEY)).start().unwrap()
}

/// Settings for tests: free ports, short waits.
pub(crate) fn settings(redis: &Redis, convert: &Emulator) -> Settings {
    let mut settings = Settings::default();
    settings.listen.set_port(0);
    settings.admin_listen.set_port(0);
    settings.redis = Secret::new(redis.url());
    settings.config_base_url = Some(convert.http_url());
    settings.track_base_url = Some(format!("{}/v1", convert.http_url()));
    settings.http_on_loopback = true;
    // Longer than a loaded machine delays a relay's touches.
    settings.takeover_ms = 5000;
    settings.backoff_ms = 20;
    settings.backoff_ceiling_ms = 200;
    settings.keys = vec![KeySettings::new(KEY)];
    settings
}

/// A redis-server and Convert, or `None` without redis-server.
pub(crate) fn world(redis: &[&str]) -> Option<(Redis, Emulator)> {
    Some((Redis::start(redis)?, convert()))
}

pub(crate) fn exposure(visitor: &str) -> String {
    envelope(
        visitor,
        r#"{"eventType":"bucketing","data":{"experienceId":"100320101","variationId":"100330103"}}"#,
    )
}

pub(crate) fn conversion(visitor: &str) -> String {
    envelope(visitor, r#"{"eventType":"conversion","data":{"goalId":"100370101"}}"#)
}

/// A request with these events of one visitor.
pub(crate) fn envelope(visitor: &str, event: &str) -> String {
    format!(
        r#"{{"accountId":"10035569","projectId":"10034190","enrichData":true,"source":"js-sdk","visitors":[{{"visitorId":"{visitor}","events":[{event}]}}]}}"#
    )
}
