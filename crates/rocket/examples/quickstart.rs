//! A shop with an experiment: one page shows it, another one counts the purchase.

use std::error::Error;
use std::time::Duration;

use convert_sdk::{Core, SdkConfig, attributes};
use convert_sdk_rocket::{Convert, ConvertFairing, Visitor, VisitorCookie, launch, stop_signal};
use rocket::{get, post, routes};

#[get("/")]
fn headline(visitor: Visitor) -> String {
    let shown = visitor.run_experience("homepage-headline");
    shown.map_or("original", |it| it.variation_key()).to_owned()
}

#[post("/purchase")]
fn purchase(visitor: Visitor) -> &'static str {
    visitor.track_conversion("purchase");
    "thank you"
}

async fn run() -> Result<(), Box<dyn Error>> {
    let config = SdkConfig::from_env()?.for_server(); // fetches the config every 5 minutes, sends events within 5 s
    let convert = Convert::new(Core::new(config.build()?), VisitorCookie::plain())
        .attributes(|request| attributes! { "mobile" => request.headers().contains("sec-ch-ua-mobile") });

    let app = rocket::build().mount("/", routes![headline, purchase]).attach(ConvertFairing::new(&convert));
    let report = launch(app, &convert, stop_signal()?, Duration::from_secs(8)).await?;
    println!("{} records delivered", report.stats.delivered);
    Ok(())
}

#[rocket::main]
async fn main() {
    // Returned from here it would be printed for debugging.
    if let Err(error) = run().await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
