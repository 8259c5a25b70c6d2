//! A long-lived axum server: deliveries in the background, and a last one in the graceful stop.

use std::error::Error;
use std::time::Duration;

use axum::{Router, routing::post};
use convert_sdk::Core;
use convert_sdk_axum::{Convert, ConvertLayer, Visitor, VisitorCookie, config_from_env, serve, stop_signal};
use tokio::net::TcpListener;

/// How late an event may be while the server runs.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);
/// Below what the supervisor leaves: 30 s on Kubernetes.
const GRACE: Duration = Duration::from_secs(20);

async fn order(visitor: Visitor, body: String) -> String {
    visitor.track_conversion("purchase");
    body
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = stop_signal()?;
    let core = Core::new(config_from_env()?.auto_flush_interval(FLUSH_INTERVAL).build()?);
    let convert = Convert::new(core, VisitorCookie::plain());
    convert.initialize().await?;
    let app = Router::new().route("/order", post(order)).layer(ConvertLayer::new(&convert));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, app, &convert, stop, GRACE).await?;
    Ok(())
}
