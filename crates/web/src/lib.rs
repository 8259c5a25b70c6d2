//! What the web framework helpers of `convert-sdk` share: who the visitor of a request is, how the
//! answer is kept in a first-party cookie, what the URL says, and the life cycle of a core in a server.
//!
//! Applications use it by way of `convert-sdk-axum`, `convert-sdk-actix` or `convert-sdk-rocket`, which
//! re-export all of it. A helper for another framework on tokio implements [`Framework`] and keeps one
//! [`Visit`] for each request. A program without a framework has [`run_until`] and [`stop_signal`].

mod convert;
mod cookie;
mod environment;
mod error;
mod framework;
mod stop;
pub mod testing;
mod visit;

pub use convert::Convert;
pub use cookie::{InvalidCookie, SameSite, VisitorCookie};
pub use environment::{EnvironmentError, config_from_env};
pub use error::VisitorError;
pub use framework::{Framework, RequestUrl};
pub use stop::{Stopping, run_until, stop_signal};
pub use visit::{SetCookie, Visit};
