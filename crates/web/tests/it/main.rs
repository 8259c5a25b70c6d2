//! The parts that every helper shares, without a framework.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cookie;
#[path = "../support/deliveries.rs"]
mod deliveries;
mod lifecycle;
mod visit;
