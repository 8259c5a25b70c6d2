//! What the helper costs a request: the same handler without it, with the layer alone, with a visitor
//! whose cookie is known, and with a new one. Compare within one run.
//!
//!     cargo bench -p convert-sdk-axum

#[expect(dead_code, reason = "what it has received is for tests")]
#[path = "../../web/tests/support/deliveries.rs"]
mod deliveries;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use convert_sdk::Core;
use convert_sdk_axum::{Convert, ConvertLayer, Visitor, VisitorCookie};
use divan::{Bencher, black_box};
use tower::ServiceExt;

fn main() {
    divan::main();
}

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

fn core() -> Core {
    let Ok((core, _)) = deliveries::core(include_str!("../../../examples/shop.json")) else {
        unreachable!("the example config is valid")
    };
    core
}

async fn plain() -> &'static str {
    "original"
}

async fn decided(visitor: Visitor) -> &'static str {
    match visitor.run_experience("checkout") {
        Ok(_) => "one-page",
        Err(_) => "original",
    }
}

/// A request with this cookie, through the layer.
fn with_helper(cookie: VisitorCookie, routes: Router) -> Router {
    routes.layer(ConvertLayer::new(&Convert::new(core(), cookie)))
}

fn ask(bencher: Bencher<'_, '_>, app: Router, cookie: &str) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
        unreachable!("a runtime without drivers")
    };
    let request = || Request::get("/?a=1").header("host", "shop.example.com").header("cookie", cookie);
    bencher.with_inputs(|| (app.clone(), request().body(Body::empty()))).bench_local_values(
        |(app, request)| {
            let Ok(request) = request else { unreachable!("a valid request") };
            runtime.block_on(black_box(app).oneshot(request))
        },
    );
}

#[divan::bench]
fn a_without_the_helper(bencher: Bencher<'_, '_>) {
    ask(bencher, Router::new().route("/", get(plain)), "convert_visitor=visitor-4");
}

#[divan::bench]
fn b_with_the_layer_alone(bencher: Bencher<'_, '_>) {
    let app = with_helper(VisitorCookie::plain(), Router::new().route("/", get(plain)));
    ask(bencher, app, "convert_visitor=visitor-4");
}

#[divan::bench]
fn c_with_a_known_visitor(bencher: Bencher<'_, '_>) {
    let app = with_helper(VisitorCookie::plain(), Router::new().route("/", get(decided)));
    ask(bencher, app, "convert_visitor=visitor-4");
}

#[divan::bench]
fn d_with_a_signed_visitor(bencher: Bencher<'_, '_>) {
    let Ok(cookie) = VisitorCookie::signed(SECRET) else { unreachable!("a long secret") };
    let set = cookie.write("visitor-4");
    let app = with_helper(cookie, Router::new().route("/", get(decided)));
    ask(bencher, app, set.split(';').next().unwrap_or_default());
}

#[divan::bench]
fn e_with_a_new_visitor(bencher: Bencher<'_, '_>) {
    let app = with_helper(VisitorCookie::plain(), Router::new().route("/", get(decided)));
    ask(bencher, app, "");
}
