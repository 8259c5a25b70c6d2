//! The layer, the extractor and the server, with sockets only where sockets are the point.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../../web/tests/support/deliveries.rs"]
mod deliveries;
mod executor;
mod readme;
mod requests;
mod stop;
#[path = "../../../web/tests/support/store.rs"]
mod store;
