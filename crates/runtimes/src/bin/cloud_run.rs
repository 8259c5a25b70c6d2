//! Cloud Run: a flush before each response, and the program's own SIGTERM handler.
//!
//! Without requests the instance gets next to no CPU, so what a request records is delivered before its response.
//! SIGTERM comes 10 s before SIGKILL; open requests are answered and events delivered in that time.

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::{Router, routing::post};
use convert_sdk::{Core, SdkConfig, config::RefreshConfig};
use convert_sdk_axum::{Convert, ConvertLayer, Visitor, VisitorCookie, serve, stop_signal};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The most that the delivery may add to a response.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Shorter than the 10 s that Cloud Run grants.
const GRACE: Duration = Duration::from_secs(8);

async fn checkout(visitor: Visitor) -> &'static str {
    visitor.track_conversion("purchase");
    "thank you"
}

async fn deliver(State(convert): State<Convert>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Err(error) = convert.flush(FLUSH_TIMEOUT).await {
        eprintln!("{}: {error}", error.code());
    }
    response
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut stop = stop_signal()?;
    // Without a refresh, a stopped experience keeps running here until the next start.
    let config = SdkConfig::from_env()?.refresh(RefreshConfig::default()).build()?;
    let convert = Convert::new(Core::new(config), VisitorCookie::plain());
    tokio::select! {
        ready = convert.initialize() => ready?,
        () = &mut stop => return Ok(()),
    }
    let app = Router::new()
        .route("/checkout", post(checkout))
        .layer(from_fn_with_state(convert.clone(), deliver))
        .layer(ConvertLayer::new(&convert));
    let host = env::var("HOST").unwrap_or_else(|_| "0.0.0.0".to_owned());
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned()).parse()?;
    let listener = TcpListener::bind((host, port)).await?;
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
