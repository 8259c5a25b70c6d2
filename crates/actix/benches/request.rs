//! What the helper costs a request: the same handler without it, and with a visitor whose cookie is
//! known. Compare within one run.
//!
//!     cargo bench -p convert-sdk-actix

#[expect(dead_code, reason = "what it has received is for tests")]
#[path = "../../web/tests/support/deliveries.rs"]
mod deliveries;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::rt::System;
use actix_web::{App, Error, test, web};
use convert_sdk_actix::{Convert, ConvertMiddleware, Visitor, VisitorCookie};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
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

fn ask<F, B>(bencher: Bencher<'_, '_>, app: App<F>)
where
    F: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let system = System::new();
    let service = system.block_on(test::init_service(app));
    let request = || {
        let request = test::TestRequest::get().uri("/?a=1").insert_header(("host", "shop.example.com"));
        request.insert_header(("cookie", "convert_visitor=visitor-4")).to_request()
    };
    bencher
        .with_inputs(request)
        .bench_local_values(|request| system.block_on(black_box(&service).call(request)).is_ok());
}

#[divan::bench]
fn a_without_the_helper(bencher: Bencher<'_, '_>) {
    ask(bencher, App::new().route("/", web::get().to(plain)));
}

#[divan::bench]
fn b_with_a_known_visitor(bencher: Bencher<'_, '_>) {
    let Ok((core, _)) = deliveries::core(include_str!("../../../examples/shop.json")) else {
        unreachable!("the example config is valid")
    };
    let around = ConvertMiddleware::new(&Convert::new(core, VisitorCookie::plain()));
    ask(bencher, App::new().route("/", web::get().to(decided)).wrap(around));
}
