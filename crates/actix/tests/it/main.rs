//! The middleware, the extractor and the server, without sockets but where sockets are the point.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod readme;
mod requests;
mod stop;
#[path = "../../../web/tests/support/store.rs"]
mod store;
