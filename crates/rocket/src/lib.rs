//! Convert Experiences for Rocket 0.5: a fairing, a request guard, and a launch with a graceful stop.
//!
//! - [`Convert`] defines how a request becomes a context: cookie, trusted header or own function, attributes,
//!   location.
//! - [`ConvertFairing`] initializes the core before the server launches, and sets a new visitor's cookie.
//! - [`Visitor`] is the guard. It fails with 503 until the core is ready; `Option<Visitor>` continues without
//!   decisions.
//! - [`launch()`] stops within one deadline: open requests first, then the last delivery. A shutdown fairing would
//!   run while requests are still open.
//!
//! The fairing costs a request one allocation, and nothing more unless a route asks for the visitor.
//! Decisions are made on the request's own thread, without a lock.
//!
//! A route tested without a network, with the feature `testing` of `convert-sdk` among the `dev-dependencies`:
//!
//! ```
//! use convert_sdk::testing::TestData;
//! use convert_sdk_rocket::{Convert, ConvertFairing, Visitor, VisitorCookie};
//! use rocket::http::Header;
//! use rocket::local::asynchronous::Client;
//! use rocket::{get, routes};
//!
//! #[get("/buy")]
//! fn buy(visitor: Visitor) -> &'static str {
//!     visitor.track_conversion("purchase");
//!     "thank you"
//! }
//!
//! # #[rocket::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let test = TestData::new().goal("purchase").start()?;
//! let convert = Convert::new(test.clone(), VisitorCookie::plain());
//! let app = rocket::build().mount("/", routes![buy]).attach(ConvertFairing::new(&convert));
//! let client = Client::untracked(app).await?;
//!
//! let request = client.get("/buy").header(Header::new("cookie", "convert_visitor=visitor-1"));
//! assert_eq!(request.dispatch().await.status().code, 200);
//! assert_eq!(test.conversions_of("visitor-1"), ["purchase"]);
//! # Ok(())
//! # }
//! ```

mod fairing;
mod guard;
mod launch;
mod request;

pub use convert_sdk_web::{InvalidCookie, RequestUrl, SameSite, VisitorCookie, VisitorError, stop_signal};
pub use fairing::ConvertFairing;
pub use guard::Visitor;
pub use launch::{LaunchError, launch};
pub use request::Rocket;

/// A core, and how a Rocket request becomes a context; hooks receive the [`Request`](rocket::Request). Here an
/// authentication fairing stores the login in the request's local cache.
///
/// ```
/// use convert_sdk::attributes;
/// use convert_sdk_rocket::{Convert, VisitorCookie};
///
/// # let core = convert_sdk::testing::TestData::new().start()?.clone();
/// let convert = Convert::new(core, VisitorCookie::signed(b"32 bytes or more, used for nothing else")?)
///     .visitor_id(|request| request.local_cache(|| None::<String>).clone())
///     .attributes(|request| attributes! { "beta" => request.uri().path().starts_with("/beta") });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Convert = convert_sdk_web::Convert<Rocket>;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
