//! A server on single-threaded tokio: decisions in the handler, delivery without blocking it.
//!
//! `GET /shop?visitor=ID` decides and records, `POST /flush/native` awaits [`AsyncCore::flush`], `POST /flush/thread`
//! runs the blocking [`Core::flush`](convert_sdk::Core::flush) on a thread for blocking calls, `GET /alive` answers at
//! once. `SIGTERM` ends it within one deadline, with everything delivered or an error that counts what is not; a second
//! one ends it at once.
//!
//! Talks to `CONVERT_CONFIG_ENDPOINT` and `CONVERT_TRACK_ENDPOINT` with `CONVERT_SDK_KEY`, and trusts `CONVERT_CA_FILE`
//! too.

use std::env;
use std::error::Error;
use std::io::Write as _;
use std::process;
use std::time::Duration;

use convert_sdk::{
    AsyncCore, FlushError, SdkConfig,
    config::{RefreshConfig, TransportConfig},
    delivery::FlushReport,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// How long a flush requested over HTTP may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// From SIGTERM to the end: half for open requests, the rest for the last delivery.
const GRACE: Duration = Duration::from_secs(8);
/// Larger than any request of this example.
const MAX_HEAD_BYTES: usize = 8 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(run());
    // Unlike `#[tokio::main]`, does not wait for a handler's `spawn_blocking`.
    runtime.shutdown_background();
    ended
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let core = AsyncCore::new(configure()?);
    tokio::select! {
        ready = core.initialize() => ready?,
        _ = terminated.recv() => return Ok(()),
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let core = core.clone();
                requests.spawn(async move {
                    if let Err(error) = serve(stream, &core).await {
                        eprintln!("{error}");
                    }
                });
            }
            Some(_) = requests.join_next() => {}
            _ = terminated.recv() => break,
        }
    }
    drop(listener);
    let end = async {
        let since = Instant::now();
        let answered = async { while requests.join_next().await.is_some() {} };
        // Requests still open by then are abandoned.
        let _ = timeout(GRACE / 2, answered).await;
        core.shutdown(GRACE.saturating_sub(since.elapsed())).await
    };
    let report = tokio::select! {
        // As text, because `main` prints errors with `Debug`.
        report = end => report.map_err(|error| error.to_string())?,
        _ = terminated.recv() => process::exit(143),
    };
    println!("{} of {} records delivered", report.stats.delivered, report.stats.recorded);
    Ok(())
}

fn configure() -> Result<SdkConfig, Box<dyn Error>> {
    let transport = TransportConfig::builder()
        .config_base_url(env::var("CONVERT_CONFIG_ENDPOINT")?)
        .track_base_url(env::var("CONVERT_TRACK_ENDPOINT")?)
        .root_certificate_pem(std::fs::read(env::var("CONVERT_CA_FILE")?)?);
    // So large that only a flush sends a batch, for the sake of the test.
    let config = SdkConfig::builder().sdk_key(env::var("CONVERT_SDK_KEY")?).batch_size(1_000);
    // Without a refresh, a stopped experience keeps running here until the next start.
    let config = config.refresh(RefreshConfig::default());
    Ok(config.transport(transport.build()?).build()?)
}

async fn serve(mut stream: TcpStream, core: &AsyncCore) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split(' ');
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET"), Some("/alive")) => (200, "alive".to_owned()),
        (Some("GET"), Some(path)) if path.starts_with("/shop?visitor=") => {
            shop(core, &path["/shop?visitor=".len()..]).await?
        }
        (Some("POST"), Some("/flush/native")) => told(core.flush(PATIENCE).await),
        (Some("POST"), Some("/flush/thread")) => {
            let core = core.to_sync();
            told(tokio::task::spawn_blocking(move || core.flush(PATIENCE)).await?)
        }
        _ => (404, "not found".to_owned()),
    };
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

/// Decides and records; only a context with a data store waits.
async fn shop(core: &AsyncCore, visitor: &str) -> Result<(u16, String), Box<dyn Error + Send + Sync>> {
    let visitor = core.create_context(visitor, ()).await?;
    let shown: Vec<String> = visitor
        .run_experiences()
        .iter()
        .map(|it| format!("{}={}", it.experience_key(), it.variation_key()))
        .collect();
    for goal in visitor.config().goal_keys() {
        visitor.track_conversion(goal);
    }
    Ok((200, shown.join("\n")))
}

fn told(flushed: Result<FlushReport, FlushError>) -> (u16, String) {
    match flushed {
        Ok(report) => (200, format!("{} delivered", report.stats.delivered)),
        Err(error) => (503, format!("{}: {} pending", error.code(), error.stats().pending)),
    }
}
