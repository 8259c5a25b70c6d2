//! The fairing and the guard, without sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../web/tests/support/deliveries.rs"]
mod deliveries;
mod readme;
mod requests;
#[path = "../../../web/tests/support/store.rs"]
mod store;
