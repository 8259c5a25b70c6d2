//! A long-running axum server: deliveries in the background, and a last one in the graceful stop.

use std::env;
use std::error::Error;
use std::fs;
use std::time::Duration;

use axum::{Router, http::StatusCode, routing::get, routing::post};
use convert_sdk::{Core, SdkConfig};
use convert_sdk_axum::{Convert, ConvertLayer, Visitor, VisitorCookie, serve, stop_signal};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::spawn_blocking;

/// Shorter than the supervisor's grace period: 30 s on Kubernetes.
const GRACE: Duration = Duration::from_secs(20);

async fn order(visitor: Visitor, body: String) -> String {
    visitor.track_conversion("purchase");
    body
}

/// Reads a file, however long the disk takes.
async fn terms() -> Result<String, StatusCode> {
    let path = env::var_os("TERMS").ok_or(StatusCode::NOT_FOUND)?;
    let text = spawn_blocking(|| fs::read_to_string(path)).await;
    text.ok().and_then(Result::ok).ok_or(StatusCode::NOT_FOUND)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut stop = stop_signal()?;
    let config = SdkConfig::from_env()?.for_server();
    let convert = Convert::new(Core::new(config.build()?), VisitorCookie::plain());
    tokio::select! {
        ready = convert.initialize() => ready?,
        () = &mut stop => return Ok(()),
    }
    let app = Router::new()
        .route("/order", post(order))
        .route("/terms", get(terms))
        .layer(ConvertLayer::new(&convert));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, app, &convert, stop, GRACE).await?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(run());
    // Unlike `#[tokio::main]`, does not wait for a handler's `spawn_blocking`.
    runtime.shutdown_background();
    ended
}
