//! A shop with an experiment: one page shows it, another one counts the purchase.

use std::error::Error;
use std::time::Duration;

use axum::{Router, routing::get, routing::post};
use convert_sdk::{Core, SdkConfig, attributes};
use convert_sdk_axum::{Convert, ConvertLayer, Visitor, VisitorCookie, serve, stop_signal};
use tokio::net::TcpListener;

async fn headline(visitor: Visitor) -> String {
    let shown = visitor.run_experience("homepage-headline");
    shown.map_or("original", |it| it.variation_key()).to_owned()
}

async fn purchase(visitor: Visitor) -> &'static str {
    visitor.track_conversion("purchase");
    "thank you"
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut stop = stop_signal()?;
    let config = SdkConfig::from_env()?.for_server(); // fetches the config every 5 minutes, sends events within 5 s
    let convert = Convert::new(Core::new(config.build()?), VisitorCookie::plain())
        .attributes(|request| attributes! { "mobile" => request.headers.contains_key("sec-ch-ua-mobile") });
    tokio::select! {
        ready = convert.initialize() => ready?,
        () = &mut stop => return Ok(()),
    }

    let app = Router::new()
        .route("/", get(headline))
        .route("/purchase", post(purchase))
        .layer(ConvertLayer::new(&convert));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let report = serve(listener, app, &convert, stop, Duration::from_secs(8)).await?;
    println!("{} records delivered", report.stats.delivered);
    Ok(())
}

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(run());
    // Waits for no handler's `spawn_blocking`, as `#[tokio::main]` would.
    runtime.shutdown_background();
    if let Err(error) = ended {
        eprintln!("{error}");
        std::process::exit(1);
    }
    Ok(())
}
