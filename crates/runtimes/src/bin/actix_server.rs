//! A long-running actix-web server: deliveries in the background, and a last one after its graceful stop.

use std::env;
use std::error::Error;
use std::fs;
use std::time::Duration;

use actix_web::error::ErrorNotFound;
use actix_web::{App, HttpServer, web};
use convert_sdk::{Core, SdkConfig};
use convert_sdk_actix::{Convert, ConvertMiddleware, Visitor, VisitorCookie, serve, stop_signal};

/// Shorter than the supervisor's grace period: 30 s on Kubernetes.
const GRACE: Duration = Duration::from_secs(20);

async fn order(visitor: Visitor, body: String) -> String {
    visitor.track_conversion("purchase");
    body
}

/// Reads a file, however long the disk takes.
async fn terms() -> Result<String, actix_web::Error> {
    let path = env::var_os("TERMS").ok_or_else(|| ErrorNotFound("no terms"))?;
    Ok(web::block(|| fs::read_to_string(path)).await??)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut stop = stop_signal()?;
    let config = SdkConfig::from_env()?.for_server();
    let convert = Convert::new(Core::new(config.build()?), VisitorCookie::plain());
    tokio::select! {
        ready = convert.initialize() => ready?,
        () = &mut stop => return Ok(()),
    }
    let around = ConvertMiddleware::new(&convert);
    let app = move || {
        App::new()
            .route("/order", web::post().to(order))
            .route("/terms", web::get().to(terms))
            .wrap(around.clone())
    };
    let server = HttpServer::new(app).workers(2).disable_signals().bind("127.0.0.1:0")?;
    println!("listening on {}", server.addrs()[0]);
    serve(server.run(), &convert, stop, GRACE).await?;
    Ok(())
}
