//! Convert Experiences for axum 0.8: a tower layer, an extractor, and a server with a graceful stop.
//!
//! - [`Convert`] defines how a request becomes a context: cookie, trusted header or own function, attributes,
//!   location.
//! - [`ConvertLayer`] wraps the router and sets a new visitor's cookie.
//! - [`Visitor`] is the extractor. It responds with 503 until the core is ready; `Option<Visitor>` continues without
//!   decisions.
//! - [`serve()`] stops within one deadline: open requests first, then the last delivery.
//!
//! The layer costs a request one allocation, and nothing more unless a handler asks for the visitor. Decisions are
//! made on the request's own thread, without a lock.
//!
//! A handler tested without a network, with the feature `testing` of `convert-sdk` among the
//! `dev-dependencies`:
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use convert_sdk::testing::TestData;
//! use convert_sdk_axum::{Convert, ConvertLayer, Visitor, VisitorCookie};
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! async fn buy(visitor: Visitor) -> &'static str {
//!     visitor.track_conversion("purchase");
//!     "thank you"
//! }
//!
//! let test = TestData::new().goal("purchase").start()?;
//! let convert = Convert::new(test.clone(), VisitorCookie::plain());
//! let app = Router::new().route("/buy", get(buy)).layer(ConvertLayer::new(&convert));
//!
//! let request = Request::get("/buy").header("cookie", "convert_visitor=visitor-1").body(Body::empty())?;
//! assert_eq!(app.oneshot(request).await?.status(), 200);
//! assert_eq!(test.conversions_of("visitor-1"), ["purchase"]);
//! # Ok(())
//! # }
//! ```

mod extract;
mod layer;
mod request;
mod serve;

pub use convert_sdk_web::{InvalidCookie, RequestUrl, SameSite, VisitorCookie, VisitorError, stop_signal};
pub use extract::{Refused, Visitor};
pub use layer::{ConvertFuture, ConvertLayer, ConvertService};
pub use request::Axum;
pub use serve::{ServeError, serve};

/// A core, and how an axum request becomes a context; hooks receive the request's
/// [`Parts`](axum::http::request::Parts). Here an outer authentication layer stores the login in the request's
/// extensions.
///
/// ```
/// use convert_sdk::attributes;
/// use convert_sdk_axum::{Convert, VisitorCookie};
///
/// # let core = convert_sdk::testing::TestData::new().start()?.clone();
/// let convert = Convert::new(core, VisitorCookie::signed(b"32 bytes or more, used for nothing else")?)
///     .visitor_id(|request| request.extensions.get::<String>().cloned())
///     .attributes(|request| attributes! { "beta" => request.uri.path().starts_with("/beta") });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Convert = convert_sdk_web::Convert<Axum>;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
