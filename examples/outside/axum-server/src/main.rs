//! A server on axum: the visitor of a request is an argument of its handler.

use std::{error::Error, time::Duration};

use axum::{Router, routing::get};
use convert_sdk::{Core, SdkConfig};
use convert_sdk_axum::{Convert, ConvertLayer, Visitor, VisitorCookie, serve, stop_signal};
use tokio::{net::TcpListener, runtime::Runtime};

async fn headline(visitor: Visitor) -> String {
    visitor.track_conversion("purchase");
    let shown = visitor.run_experience("homepage-headline");
    shown.map_or("original", |it| it.variation_key()).to_owned()
}

async fn run() -> Result<(), Box<dyn Error>> {
    let stop = stop_signal()?;
    let core = Core::new(SdkConfig::from_env()?.for_server().build()?);
    let convert = Convert::new(core, VisitorCookie::plain());
    convert.initialize().await?;
    let app = Router::new().route("/{visitor}", get(headline)).layer(ConvertLayer::new(&convert));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let report = serve(listener, app, &convert, stop, Duration::from_secs(8)).await?;
    println!("{} delivered", report.stats.delivered);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    Runtime::new()?.block_on(run())
}
