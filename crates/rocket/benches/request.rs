//! What the helper costs a request: the same route without it, and with a visitor whose cookie is known,
//! through Rocket's local client. Compare within one run.
//!
//!     cargo bench -p convert-sdk-rocket

#[expect(dead_code, reason = "what it has received is for tests")]
#[path = "../../web/tests/support/deliveries.rs"]
mod deliveries;

use convert_sdk_rocket::{Convert, ConvertFairing, Visitor, VisitorCookie};
use divan::{Bencher, black_box};
use rocket::config::LogLevel;
use rocket::http::Header;
use rocket::local::blocking::Client;
use rocket::{Build, Config, Rocket, get, routes};

fn main() {
    divan::main();
}

#[get("/plain")]
fn plain() -> &'static str {
    "original"
}

#[get("/decided")]
fn decided(visitor: Visitor) -> &'static str {
    match visitor.run_experience("checkout") {
        Ok(_) => "one-page",
        Err(_) => "original",
    }
}

fn quiet() -> Rocket<Build> {
    rocket::custom(Config { log_level: LogLevel::Off, ..Config::debug_default() })
}

fn ask(bencher: Bencher<'_, '_>, app: Rocket<Build>, path: &'static str) {
    let Ok(client) = Client::untracked(app) else { unreachable!("the routes are sound") };
    let cookie = || Header::new("cookie", "convert_visitor=visitor-4");
    let host = || Header::new("host", "shop.example.com");
    bencher.bench_local(|| black_box(&client).get(path).header(host()).header(cookie()).dispatch().status());
}

#[divan::bench]
fn a_without_the_helper(bencher: Bencher<'_, '_>) {
    ask(bencher, quiet().mount("/", routes![plain]), "/plain");
}

#[divan::bench]
fn b_with_a_known_visitor(bencher: Bencher<'_, '_>) {
    let Ok((core, _)) = deliveries::core(include_str!("../../../examples/shop.json")) else {
        unreachable!("the example config is valid")
    };
    let fairing = ConvertFairing::new(&Convert::new(core, VisitorCookie::plain()));
    ask(bencher, quiet().mount("/", routes![decided]).attach(fairing), "/decided");
}
