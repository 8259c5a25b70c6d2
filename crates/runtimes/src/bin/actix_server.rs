//! A long-lived actix-web server: deliveries in the background, and a last one after its graceful stop.

use std::error::Error;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use convert_sdk::Core;
use convert_sdk_actix::{Convert, ConvertMiddleware, Visitor, VisitorCookie, config_from_env};

/// How late an event may be while the server runs.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);
/// Seconds that open requests get; together with the last delivery below what the supervisor leaves.
const GRACE: u64 = 10;
/// What the last delivery may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

async fn order(visitor: Visitor, body: String) -> String {
    visitor.track_conversion("purchase");
    body
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let core = Core::new(config_from_env()?.auto_flush_interval(FLUSH_INTERVAL).build()?);
    let convert = Convert::new(core, VisitorCookie::plain());
    convert.initialize().await?;
    let around = ConvertMiddleware::new(&convert);
    let app = move || App::new().route("/order", web::post().to(order)).wrap(around.clone());
    let server = HttpServer::new(app).workers(2).shutdown_timeout(GRACE).bind("127.0.0.1:0")?;
    println!("listening on {}", server.addrs()[0]);
    server.run().await?;
    convert.shutdown(SHUTDOWN_TIMEOUT).await?;
    Ok(())
}
