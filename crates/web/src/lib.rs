//! The shared parts of `convert-sdk`'s web framework helpers: identifying a request's visitor, the first-party
//! cookie, location attributes from the URL, and the life cycle of a core in a server.
//! Applications use it through `convert-sdk-axum`, `convert-sdk-actix` or `convert-sdk-rocket`, which re-export all
//! of it. A helper for another tokio-based framework implements [`Framework`] and keeps one [`Visit`] per request. A
//! program without a framework can use [`run_until`] and [`stop_signal`].

mod convert;
mod cookie;
mod error;
mod framework;
mod stop;
mod visit;

pub use convert::Convert;
pub use cookie::{InvalidCookie, SameSite, VisitorCookie};
pub use error::VisitorError;
pub use framework::{Framework, RequestUrl};
pub use stop::{Stopping, run_until, stop_signal};
pub use visit::{SetCookie, Visit};
