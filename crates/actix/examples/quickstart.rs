//! A shop with an experiment: one page shows it, another one counts the purchase.

use std::error::Error;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use convert_sdk::{Core, SdkConfig, attributes};
use convert_sdk_actix::{Convert, ConvertMiddleware, Visitor, VisitorCookie, serve, stop_signal};

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
        .attributes(|request| attributes! { "mobile" => request.headers().contains_key("sec-ch-ua-mobile") });
    tokio::select! {
        ready = convert.initialize() => ready?,
        () = &mut stop => return Ok(()),
    }

    let around = ConvertMiddleware::new(&convert);
    let app = move || {
        App::new()
            .route("/", web::get().to(headline))
            .route("/purchase", web::post().to(purchase))
            .wrap(around.clone())
    };
    let server = HttpServer::new(app).workers(2).disable_signals().bind("127.0.0.1:0")?;
    println!("listening on {}", server.addrs()[0]);
    let report = serve(server.run(), &convert, stop, Duration::from_secs(8)).await?;
    println!("{} records delivered", report.stats.delivered);
    Ok(())
}

#[actix_web::main]
async fn main() {
    // Returned from here it would be printed for debugging.
    if let Err(error) = run().await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
