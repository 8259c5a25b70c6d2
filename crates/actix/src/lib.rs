//! Convert Experiences for actix-web 4: a middleware, an extractor, and a server with a graceful stop.
//!
//! - [`Convert`] defines how a request becomes a context: cookie, trusted header or own function, attributes,
//!   location.
//! - [`ConvertMiddleware`] wraps the app and sets a new visitor's cookie.
//! - [`Visitor`] is the extractor. It responds with 503 until the core is ready; `Option<Visitor>` continues without
//!   decisions.
//! - [`serve()`] stops within one deadline: open requests first, then the last delivery.
//!
//! The middleware costs a request one allocation, and nothing more unless a handler asks for the visitor. Decisions
//! are made on the worker's own thread, without a lock.
//!
//! A handler tested without a network, with the feature `testing` of `convert-sdk` among the
//! `dev-dependencies`:
//!
//! ```
//! use actix_web::{App, test, web};
//! use convert_sdk::testing::TestData;
//! use convert_sdk_actix::{Convert, ConvertMiddleware, Visitor, VisitorCookie};
//!
//! # #[actix_web::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async fn buy(visitor: Visitor) -> &'static str {
//!     visitor.track_conversion("purchase");
//!     "thank you"
//! }
//!
//! let test = TestData::new().goal("purchase").start()?;
//! let convert = Convert::new(test.clone(), VisitorCookie::plain());
//! let app = App::new().route("/buy", web::get().to(buy)).wrap(ConvertMiddleware::new(&convert));
//! let app = test::init_service(app).await;
//!
//! let request = test::TestRequest::get().uri("/buy").insert_header(("cookie", "convert_visitor=visitor-1"));
//! assert_eq!(test::call_service(&app, request.to_request()).await.status(), 200);
//! assert_eq!(test.conversions_of("visitor-1"), ["purchase"]);
//! # Ok(())
//! # }
//! ```

mod extract;
mod middleware;
mod request;
mod serve;

pub use convert_sdk_web::{InvalidCookie, RequestUrl, SameSite, VisitorCookie, VisitorError, stop_signal};
pub use extract::{Refused, Visitor};
pub use middleware::{ConvertFuture, ConvertMiddleware, ConvertService, ErrorWithCookie};
pub use request::Actix;
pub use serve::{ServeError, serve};

/// A core, and how an actix-web request becomes a context; hooks receive the [`HttpRequest`](actix_web::HttpRequest).
/// Here an outer authentication middleware stores the login in the request's extensions.
///
/// ```
/// use actix_web::HttpMessage;
/// use convert_sdk::attributes;
/// use convert_sdk_actix::{Convert, VisitorCookie};
///
/// # let core = convert_sdk::testing::TestData::new().start()?.clone();
/// let convert = Convert::new(core, VisitorCookie::signed(b"32 bytes or more, used for nothing else")?)
///     .visitor_id(|request| request.extensions().get::<String>().cloned())
///     .attributes(|request| attributes! { "beta" => request.path().starts_with("/beta") });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Convert = convert_sdk_web::Convert<Actix>;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
