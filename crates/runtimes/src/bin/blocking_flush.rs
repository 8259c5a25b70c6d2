//! An executor of one thread that stays free while a flush waits on another one.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use convert_sdk::Core;
use convert_sdk_axum::{Convert, ConvertLayer, Visitor, VisitorCookie, config_from_env, serve, stop_signal};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

const TIMEOUT: Duration = Duration::from_secs(20);

async fn order(visitor: Visitor) {
    visitor.track_conversion("purchase");
}

async fn flush(State(core): State<Core>) -> Result<String, (StatusCode, &'static str)> {
    match spawn_blocking(move || core.flush(TIMEOUT)).await {
        Ok(Ok(report)) => Ok(format!("{} delivered", report.delivered)),
        Ok(Err(error)) => Err((StatusCode::BAD_GATEWAY, error.code())),
        Err(_) => Err((StatusCode::SERVICE_UNAVAILABLE, "the runtime ends")),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = stop_signal()?;
    let core = Core::new(config_from_env()?.build()?);
    let convert = Convert::new(core.clone(), VisitorCookie::plain());
    convert.initialize().await?;
    let app = Router::new()
        .route("/order", post(order))
        .route("/flush", post(flush))
        .route("/alive", get(|| async { "alive" }))
        .layer(ConvertLayer::new(&convert))
        .with_state(core);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, app, &convert, stop, TIMEOUT).await?;
    Ok(())
}
